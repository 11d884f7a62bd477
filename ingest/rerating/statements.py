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
AMOUNTS = {f"{owner}_{name}": "numeric" for owner in ("charged", "listed") for name in (*BUCKETS, "request")}
RATED_COLUMNS = {
    "least": "bigint", "most": "bigint", "price_id": "bigint", "term_id": "bigint", "price_currency": "text", "exchange_rate": "numeric", "is_at_list": "boolean",
    **AMOUNTS,
}
KIND = f"""
    e.provider, e.model_reported, e.model, e.maker, e.tier, e.currency, CASE WHEN %(by_team)s THEN coalesce(e.team_id, 0) ELSE 0 END AS team,
    e.billing_mode = 'metered' AS is_metered, {_part_of_tags("said_keys")} AS said, width_bucket(e.occurred_at, %(turns)s::timestamptz[]) AS span,
    (e.units IS NULL OR e.units = '{{}}') AND (e.input_tokens IS NOT NULL OR e.output_tokens IS NOT NULL)
        AND coalesce(e.reasoning_tokens, 0) <= coalesce(e.output_tokens, 0)
        AND greatest({", ".join(f"e.{name}" for name in BUCKETS)}) <= {MOST_TOKENS}
        AND NOT EXISTS (
            SELECT FROM unnest(%(closed_from)s::timestamptz[], %(closed_to)s::timestamptz[]) AS c (begins, ends)
            WHERE coalesce(e.counted_at, e.occurred_at) >= c.begins AND coalesce(e.counted_at, e.occurred_at) < c.ends
        ) AS is_plain"""
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
CHOSEN = sql.unnest("k", KIND_COLUMNS | RATED_COLUMNS)
# What the sums group calls by.
ALIKE = ("api_key_id", "session", "member_id", *DIMENSIONS, "model_reported", "task", "environment", "tags", "quarter")


def _amount(owner: str) -> str:
    """A call's cost to the last digit, and that to 15 places, half to even."""
    terms = " + ".join(f"coalesce(p.{name}, 0) * k.{owner}_{name}" for name in BUCKETS)
    return f"{terms} + k.{owner}_request"


def _rounded(amount: str) -> str:
    down = f"trunc({amount}, 15)"
    return f"CASE WHEN {amount} - {down} = 5e-16 AND {down} * 1e15 %% 2 = 0 THEN {down} ELSE round({amount}, 15) END"


def _page(*, is_locked: bool) -> str:
    """The page's calls with what they come to by the rows of their kinds. Locked: in the order in which everybody locks them."""
    return f"""
WITH page AS MATERIALIZED (
    SELECT e.occurred_at, e.id, {KIND}, {CONTEXT} AS context_tokens, {", ".join(f"e.{name}" for name in BUCKETS)},
        e.cost, e.list_cost, e.price_id, e.term_id, e.exchange_rate, e.price_currency, e.counted_at,
        e.api_key_id, e.session, e.member_id, e.team_id, e.project_id, e.harness, e.gateway, e.role, e.task_class, e.billing_mode,
        CASE WHEN %(looks_task)s THEN e.task ELSE '' END AS task, CASE WHEN %(looks_environment)s THEN e.environment ELSE '' END AS environment,
        {_part_of_tags("looks_tags")} AS tags
    FROM usage_event e WHERE {UNTIL} ORDER BY e.occurred_at, e.id LIMIT %(limit)s{" FOR NO KEY UPDATE OF e" if is_locked else ""}
), exact AS (
    SELECT p.*, k.is_at_list, {_amount("charged")} AS charged, CASE WHEN NOT k.is_at_list THEN {_amount("listed")} END AS listed,
        k.price_id AS new_price_id, k.term_id AS new_term_id, k.exchange_rate AS new_exchange_rate, k.price_currency AS new_price_currency
    FROM page p JOIN {CHOSEN} ON {IS_OF_KIND}
), rated AS (
    SELECT x.*, {_rounded("x.charged")} AS new_cost, CASE WHEN x.is_at_list THEN {_rounded("x.charged")} ELSE {_rounded("x.listed")} END AS new_list_cost FROM exact x
), changed AS MATERIALIZED (
    SELECT * FROM rated r WHERE r.new_cost IS NOT NULL
        AND (r.new_cost, r.new_list_cost, r.new_price_id, r.new_term_id, r.new_exchange_rate) IS DISTINCT FROM (r.cost, r.list_cost, r.price_id, r.term_id, r.exchange_rate)
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
    FROM changed c WHERE e.organization_id = %(organization)s AND e.occurred_at = c.occurred_at AND e.id = c.id
        AND e.occurred_at BETWEEN %(first_at)s AND %(last_at)s
), kept AS (
    INSERT INTO event_amendment (
        organization_id, cause_id, at, occurred_at, event_id, old_cost, new_cost, old_price_id, new_price_id, old, new, is_removed, is_posted
    )
    SELECT %(organization)s, %(cause)s, %(at)s, c.occurred_at, c.id, c.cost, c.new_cost, c.price_id, c.new_price_id, {_others("")}, {_others("new_")}, false, false
    FROM changed c
)"""  # noqa: S608 - built from constants


@lru_cache(maxsize=8)
def rest(also: tuple[str, ...], *, is_locked: bool = False) -> str:
    """The calls of the page that no row speaks for, with these columns besides what sums look at; locked in the order in which everybody locks them."""
    return f"""
WITH page AS MATERIALIZED (
    SELECT e.occurred_at, e.id, {KIND}, {CONTEXT} AS context_tokens FROM usage_event e WHERE {UNTIL} ORDER BY e.occurred_at, e.id
)
SELECT {selected(also)} FROM page p
JOIN usage_event e ON e.organization_id = %(organization)s AND e.occurred_at = p.occurred_at AND e.id = p.id AND e.occurred_at BETWEEN %(first_at)s AND %(last_at)s
WHERE NOT EXISTS (SELECT FROM {CHOSEN} WHERE {IS_OF_KIND}) ORDER BY e.occurred_at, e.id {"FOR NO KEY UPDATE OF e" if is_locked else ""}
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
MONTH = "date_trunc('month', c.occurred_at AT TIME ZONE %(zone)s)::date"


def _groups(*, by_month: bool) -> str:
    """What the changes come to, by what calls are added up by; with the page's own counts, also where nothing changes."""
    names = ", ".join(f"c.{name}" for name in ALIKE[:-1])
    at = "coalesce(c.counted_at, c.occurred_at)"
    month = f", {MONTH} AS month" if by_month else ""
    return f"""
, groups AS (
    SELECT {names}, floor(extract(epoch FROM {at}) / 900)::bigint AS quarter{month}, min({at}) AS at, count(*) AS calls,
        count(*) FILTER (WHERE c.cost IS NULL) AS priced, coalesce(sum(c.cost), 0) AS cost_before, sum(c.new_cost) AS cost_after,
        -count(*) FILTER (WHERE c.cost IS NULL) AS unpriced_calls,
        CASE WHEN c.is_metered THEN sum(c.new_cost - coalesce(c.cost, 0)) ELSE 0 END AS cost,
        CASE WHEN c.is_metered THEN 0 ELSE sum(c.new_cost - coalesce(c.cost, 0)) END AS notional_cost,
        CASE WHEN c.is_metered THEN sum(coalesce(c.new_list_cost, c.new_cost) - CASE WHEN c.cost IS NULL THEN 0 ELSE coalesce(c.list_cost, c.cost) END)
            ELSE 0 END AS list_cost,
        coalesce(sum({UNKNOWN_NOW} - {UNKNOWN_BEFORE}) FILTER (WHERE {IS_LESS_KNOWN}), 0)::bigint AS unknown_calls,
        min(c.occurred_at) FILTER (WHERE {IS_LESS_KNOWN}) AS unknown_first_at, max(c.occurred_at) FILTER (WHERE {IS_LESS_KNOWN}) AS unknown_last_at
    FROM changed c GROUP BY {names}, c.is_metered, floor(extract(epoch FROM {at}) / 900){f", {MONTH}" if by_month else ""}
)
SELECT found.seen, found.rated, g.* FROM (SELECT (SELECT count(*) FROM page) AS seen, (SELECT count(*) FROM rated) AS rated) found LEFT JOIN groups g ON true
"""  # noqa: S608 - built from constants


GROUPS = _page(is_locked=True) + WRITTEN + _groups(by_month=False)
GROUPS_FORESEEN = _page(is_locked=False) + _groups(by_month=True)
