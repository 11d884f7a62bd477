"""The SQL that rates a page of calls at once, built once: what kinds of calls there are in it, and what becomes of those of each kind.

Only calls that are plain are rated so: they used nothing but tokens, of known size, and their month is open. A kind's row says what its
calls cost by token (`governance.pricing.linear`); whatever has no row is left to `rating`.
"""

from functools import lru_cache

from governance import sql
from governance.pricing.linear import MOST_TOKENS
from ingest.rerating.scope import SCOPE
from ingest.services.amend_statements import selected
from ingest.services.sums import DIMENSIONS
from ingest.verify import CONTEXT

BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")


def _part_of_tags(names: str) -> str:
    """Those of a call's tags that matter, which is none of most calls'."""
    return f"""CASE WHEN jsonb_exists_any(e.tags, %({names})s::text[]) THEN
        (SELECT jsonb_object_agg(t.key, t.value) FROM jsonb_each(e.tags) t WHERE t.key = ANY(%({names})s::text[])) ELSE '{{}}' END"""  # noqa: S608 - built from constants


# What a kind of call is told by: what it was reported as, what it is stored as, and when it was made, by the price book's turns.
KIND_COLUMNS = {
    "provider": "text", "model_reported": "text", "model": "text", "maker": "text", "tier": "text", "currency": "text", "team": "bigint",
    "is_metered": "boolean", "said": "jsonb", "span": "int",
}
OWNERS = ("charged", "listed")
AMOUNTS = tuple(f"{owner}_{name}" for owner in OWNERS for name in (*BUCKETS, "request"))
RATED_COLUMNS = {
    "least": "bigint", "most": "bigint", "price_id": "bigint", "term_id": "bigint", "price_currency": "text", "exchange_rate": "numeric", "is_at_list": "boolean",
    **{f"{owner}_unit": "numeric" for owner in OWNERS},
}
KIND = f"""
    e.provider, e.model_reported, e.model, e.maker, e.tier, e.currency, CASE WHEN %(by_team)s THEN coalesce(e.team_id, 0) ELSE 0 END AS team,
    e.billing_mode = 'metered' AS is_metered, {_part_of_tags("said_keys")} AS said, width_bucket(e.occurred_at, %(turns)s::timestamptz[]) AS span,
    (e.units IS NULL OR e.units = '{{}}') AND (e.input_tokens IS NOT NULL OR e.output_tokens IS NOT NULL)
        AND coalesce(e.reasoning_tokens, 0) <= coalesce(e.output_tokens, 0)
        AND greatest({", ".join(f"e.{name}" for name in BUCKETS)}) <= {MOST_TOKENS}
        AND width_bucket(coalesce(e.counted_at, e.occurred_at), %(closed)s::timestamptz[]) %% 2 = 0 AS is_plain"""
AFTER = f"{SCOPE} AND (e.occurred_at, e.id) > (%(from)s, %(after)s)"
# The kinds of calls in the next page, with its last call.
KINDS = f"""
WITH page AS MATERIALIZED (
    SELECT e.occurred_at, e.id, e.authorization_id, {KIND} FROM usage_event e WHERE {AFTER} ORDER BY e.occurred_at, e.id LIMIT %(limit)s
), last AS (SELECT occurred_at, id FROM page ORDER BY occurred_at DESC, id DESC LIMIT 1)
SELECT {", ".join(KIND_COLUMNS)}, is_plain, count(*) AS calls, count(authorization_id) AS authorized, min(occurred_at) AS first_at,
    (SELECT occurred_at FROM last) AS last_at, (SELECT id FROM last) AS last_id
FROM page GROUP BY {", ".join(KIND_COLUMNS)}, is_plain
"""  # noqa: S608 - built from constants

UNTIL = f"{AFTER} AND e.occurred_at <= %(last_at)s AND (e.occurred_at, e.id) <= (%(last_at)s, %(last_id)s)"
IS_OF_KIND = "p.is_plain AND " + " AND ".join(f"p.{name} = k.{name}" for name in KIND_COLUMNS) + " AND p.context_tokens BETWEEN k.least AND k.most"
CHOSEN = sql.unnest("k", KIND_COLUMNS | {"least": "bigint", "most": "bigint"})
# What the sums group calls by.
ALIKE = ("api_key_id", "session", "member_id", *DIMENSIONS, "model_reported", "task", "environment", "tags", "quarter_at")


def rated_kinds(*, is_whole: bool) -> str:
    """The kinds with what their calls cost: `whole` amounts are whole numbers of a unit, which is a power of ten."""
    return sql.unnest("k", KIND_COLUMNS | RATED_COLUMNS | dict.fromkeys(AMOUNTS, "bigint" if is_whole else "numeric"))


def exact_cost(owner: str, *, is_whole: bool) -> str:
    """A call's cost to the last digit: in numeric's arithmetic, or, many times quicker, in that of whole numbers."""
    amounts = " + ".join(f"coalesce(p.{name}, 0) * k.{owner}_{name}" for name in BUCKETS) + f" + k.{owner}_request"
    return f"({amounts}) * k.{owner}_unit" if is_whole else amounts


def rounded_cost(amount: str, *, is_whole: bool) -> str:
    """That to 15 places, half to even. Where amounts are whole, no unit is smaller than the last of the places: nothing is to be rounded."""
    down = f"trunc({amount}, 15)"
    return amount if is_whole else f"CASE WHEN {amount} - {down} = 5e-16 AND {down} * 1e15 %% 2 = 0 THEN {down} ELSE round({amount}, 15) END"


def _page(*, is_locked: bool, is_whole: bool) -> str:
    """The page's calls with what they come to by the rows of their kinds. Locked: in the order in which everybody locks them.

    OFFSET 0 keeps the planner from writing an expression out, and so reckoning it, wherever its name is used.
    """
    charged, listed = (rounded_cost(f"x.{owner}", is_whole=is_whole) for owner in OWNERS)
    return f"""
WITH rated AS MATERIALIZED (
    SELECT c.*, c.new_cost IS NOT NULL AND (c.new_cost, c.new_list_cost, c.new_price_id, c.new_term_id, c.new_exchange_rate)
        IS DISTINCT FROM (c.cost, c.list_cost, c.price_id, c.term_id, c.exchange_rate) AS is_changed
    FROM (
        SELECT x.*, {charged} AS new_cost, CASE WHEN x.is_at_list THEN {charged} ELSE {listed} END AS new_list_cost FROM (
            SELECT p.*, k.span IS NOT NULL AS is_rated, k.is_at_list, {exact_cost("charged", is_whole=is_whole)} AS charged,
                CASE WHEN NOT k.is_at_list THEN {exact_cost("listed", is_whole=is_whole)} END AS listed,
                k.price_id AS new_price_id, k.term_id AS new_term_id, k.exchange_rate AS new_exchange_rate, k.price_currency AS new_price_currency
            FROM (
                SELECT e.occurred_at, e.id, {KIND}, {CONTEXT} AS context_tokens, {", ".join(f"e.{name}" for name in BUCKETS)},
                    e.cost, e.list_cost, e.price_id, e.term_id, e.exchange_rate, e.price_currency, e.counted_at,
                    e.api_key_id, e.session, e.member_id, e.team_id, e.project_id, e.harness, e.gateway, e.role, e.task_class, e.billing_mode,
                    CASE WHEN %(looks_task)s THEN e.task ELSE '' END AS task, CASE WHEN %(looks_environment)s THEN e.environment ELSE '' END AS environment,
                    {_part_of_tags("looks_tags")} AS tags
                FROM usage_event e WHERE {UNTIL} ORDER BY e.occurred_at, e.id LIMIT %(limit)s{" FOR NO KEY UPDATE OF e" if is_locked else ""}
            ) p LEFT JOIN {rated_kinds(is_whole=is_whole)} ON {IS_OF_KIND} OFFSET 0
        ) x OFFSET 0
    ) c
)"""  # noqa: S608 - built from constants


def _others(owner: str) -> str:
    """What of a call changes besides its cost and price row, as the amendments keep it: {} where nothing does."""
    def value(name: str) -> str:
        column = f"c.{owner}{name}"
        return f"{column}::text" if name in ("list_cost", "exchange_rate") else column

    parts = [
        f"CASE WHEN c.new_{name} IS DISTINCT FROM c.{name} THEN jsonb_build_object('{name}', {value(name)}) ELSE '{{}}' END"
        for name in ("list_cost", "term_id", "exchange_rate", "price_currency")
    ]
    return f"nullif({' || '.join(parts)}, '{{}}')"


WRITTEN = f""", written AS (
    UPDATE usage_event e SET cost = c.new_cost, list_cost = c.new_list_cost, price_id = c.new_price_id, term_id = c.new_term_id,
        exchange_rate = c.new_exchange_rate, price_currency = c.new_price_currency
    FROM rated c WHERE c.is_changed AND e.organization_id = %(organization)s AND e.occurred_at = c.occurred_at AND e.id = c.id
        AND e.occurred_at BETWEEN %(first_at)s AND %(last_at)s
), kept AS (
    INSERT INTO event_amendment (
        organization_id, cause_id, at, occurred_at, event_id, old_cost, new_cost, old_price_id, new_price_id, old, new, is_removed, is_posted
    )
    SELECT %(organization)s, %(cause)s, %(at)s, c.occurred_at, c.id, c.cost, c.new_cost, c.price_id, c.new_price_id, {_others("")}, {_others("new_")}, false, false
    FROM rated c WHERE c.is_changed
)"""  # noqa: S608 - built from constants


@lru_cache(maxsize=8)
def rest(also: tuple[str, ...], *, is_locked: bool = False) -> str:
    """The calls of the page that no row speaks for, with these columns besides what sums look at; locked in the order in which everybody locks them.

    They are found before they are read: the planner takes a page that is joined with the events for one call, and would compare each call with each kind.
    """
    return f"""
WITH page AS MATERIALIZED (
    SELECT e.occurred_at, e.id, {KIND}, {CONTEXT} AS context_tokens FROM usage_event e WHERE {UNTIL} ORDER BY e.occurred_at, e.id
), rest AS MATERIALIZED (
    SELECT p.occurred_at, p.id FROM page p WHERE NOT EXISTS (SELECT FROM {CHOSEN} WHERE {IS_OF_KIND})
)
SELECT {selected(also)} FROM rest p
JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = p.occurred_at AND e.id = p.id AND e.occurred_at BETWEEN %(first_at)s AND %(last_at)s
ORDER BY e.occurred_at, e.id {"FOR NO KEY UPDATE OF e" if is_locked else ""}
"""  # noqa: S608 - built from constants


# What the calls of authorizations that were just changed cost more or less.
AUTHORIZED = """
SELECT e.authorization_id, e.occurred_at, sum(coalesce(a.new_cost, 0) - coalesce(a.old_cost, 0)) AS amount
FROM event_amendment a JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = a.occurred_at AND e.id = a.event_id
WHERE a.organization_id = %(organization)s AND a.cause_id = %(cause)s AND a.occurred_at BETWEEN %(first_at)s AND %(last_at)s
    AND e.occurred_at BETWEEN %(first_at)s AND %(last_at)s AND e.authorization_id IS NOT NULL
GROUP BY 1, 2
"""
POSTED_WITHIN = """
SELECT EXISTS (
    SELECT FROM event_amendment WHERE organization_id = %(organization)s AND occurred_at BETWEEN %(first_at)s AND %(last_at)s AND is_posted
) AS is_posted
"""
UNKNOWN_NOW = "(c.new_price_id IS NULL AND c.new_term_id IS NULL)::int"
UNKNOWN_BEFORE = "(c.price_id IS NULL AND c.term_id IS NULL)::int"
IS_LESS_KNOWN = f"c.model_reported <> '' AND {UNKNOWN_NOW} <> {UNKNOWN_BEFORE}"
AT = "coalesce(c.counted_at, c.occurred_at)"
QUARTER = f"date_bin('15 minutes', {AT}, 'epoch')"
MONTH = "date_trunc('month', c.occurred_at AT TIME ZONE %(zone)s)::date"


def _groups(*, by_month: bool) -> str:
    """What the changes come to, by what calls are added up by; with the page's own counts, also where nothing changes."""
    names = ", ".join(f"c.{name}" for name in ALIKE[:-1])
    month = f", {MONTH} AS month" if by_month else ""
    return f"""
, groups AS (
    SELECT {names}, {QUARTER} AS quarter_at{month}, min({AT}) AS at, count(*) AS calls,
        count(*) FILTER (WHERE c.cost IS NULL) AS priced, coalesce(sum(c.cost), 0) AS cost_before, sum(c.new_cost) AS cost_after,
        -count(*) FILTER (WHERE c.cost IS NULL) AS unpriced_calls,
        CASE WHEN c.is_metered THEN sum(c.new_cost - coalesce(c.cost, 0)) ELSE 0 END AS cost,
        CASE WHEN c.is_metered THEN 0 ELSE sum(c.new_cost - coalesce(c.cost, 0)) END AS notional_cost,
        CASE WHEN c.is_metered THEN sum(coalesce(c.new_list_cost, c.new_cost) - CASE WHEN c.cost IS NULL THEN 0 ELSE coalesce(c.list_cost, c.cost) END)
            ELSE 0 END AS list_cost,
        coalesce(sum({UNKNOWN_NOW} - {UNKNOWN_BEFORE}) FILTER (WHERE {IS_LESS_KNOWN}), 0)::bigint AS unknown_calls,
        min(c.occurred_at) FILTER (WHERE {IS_LESS_KNOWN}) AS unknown_first_at, max(c.occurred_at) FILTER (WHERE {IS_LESS_KNOWN}) AS unknown_last_at
    FROM rated c WHERE c.is_changed GROUP BY {names}, c.is_metered, {QUARTER}{f", {MONTH}" if by_month else ""}
)
SELECT found.*, g.* FROM (SELECT count(*) AS seen, count(*) FILTER (WHERE is_rated) AS rated FROM rated) found LEFT JOIN groups g ON true
"""  # noqa: S608 - built from constants


# By whether all amounts are whole.
GROUPS = {is_whole: _page(is_locked=True, is_whole=is_whole) + WRITTEN + _groups(by_month=False) for is_whole in (True, False)}
GROUPS_FORESEEN = {is_whole: _page(is_locked=False, is_whole=is_whole) + _groups(by_month=True) for is_whole in (True, False)}
