"""Authorizations decided together: many that fit by one statement, others one by one under locks taken in id order before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction

from governance import sql
from governance.budgets.calls import Call
from governance.budgets.models import Authorization
from governance.budgets.reach import IS_ANY_SESSION_FROZEN, is_among_freezes, note_among_freezes, session_freezes
from governance.budgets.rules import PeriodKey, Rules, rules_of, rules_remembered
from governance.budgets.services.asking import (
    Asked,
    AuthorizationIn,
    Estimate,
    as_attributed,
    asked_of,
    call_asked,
    estimate_of,
    is_attributed,
    with_defaults,
)
from governance.budgets.services.counting import refusals_note
from governance.budgets.services.freezes import refusal_note
from governance.budgets.services.holds import (
    DECIDE,
    DECIDE_IN_PART,
    HOLD_COLUMNS,
    Held,
    earlier_of,
    held_of,
    is_priced,
    parameters_of,
    request_checked,
    room_make,
)
from governance.budgets.services.links import links_note
from governance.budgets.services.periods import KEY_COLUMNS, SAME_KEY, are_seen, key_arrays, note_seen, periods_ensure
from governance.budgets.services.refusals import LARGEST_SUM, binding_order, freeze_refusal, refusal_of
from governance.errors import Conflict, DomainError, PaymentRequired
from governance.ids import hash16
from governance.tenancy.access import Actor
from governance.tenancy.authentication import Remembered
from governance.tenancy.directory import Attribution, directory_of
from governance.tenancy.models import ApiKey, Organization
from governance.tenancy.services import LOCK_CONFIGURATION
from governance.tenancy.standing import Parts, as_remembered, parts_of

ZERO = Decimal(0)
ENTRY_COLUMNS = {
    "entry": "bigint", "id": "uuid", "idempotency_key": "text", "request_hash": "uuid", "session": "text", "model": "text", "amount": "numeric",
    "currency": "text", "expires_at": "timestamptz", "is_lease": "boolean",
}
PLACE_COLUMNS = {"place_entry": "bigint", **HOLD_COLUMNS}
LINES = "SELECT line.session::varchar, line.above::varchar FROM unnest(%(line)s::text[], %(above)s::text[]) AS line(session, above)"


@lru_cache
def together(parts: Parts, *, is_among_freezes: bool) -> str:
    """The statement that decides about a group. Not among freezes, only while no session of the organization is frozen."""
    frozen = f"EXISTS (SELECT FROM {session_freezes(first=LINES)} o)" if is_among_freezes else IS_ANY_SESSION_FROZEN
    return TOGETHER.replace("{frozen}", frozen).replace("{as_remembered}", as_remembered(parts))


# All or none: where the sum of what is asked for fits everywhere, each is made; rows are inserted in the order of their keys, like locks are taken in id order.
TOGETHER = f"""
WITH place AS (
    SELECT x.place_entry, p.id, x.held AS asked, x.is_enforced
    FROM {sql.unnest("x", PLACE_COLUMNS)}
    CROSS JOIN LATERAL (SELECT p.id FROM budget_period p WHERE p.organization_id = %(organization)s AND {SAME_KEY} OFFSET 0) p
), total AS (
    SELECT id, sum(asked) AS asked, bool_or(is_enforced) AS is_enforced FROM place GROUP BY id
), locked AS (
    SELECT p.id, p.budget_id, p.starts_at, p.session_key, p.task_key, p.is_hard, p.limit_amount, p.topup, p.spent, p.held,
        p.frozen_at IS NULL AND p.spent + p.held + t.asked <= {LARGEST_SUM}
            AND (NOT t.is_enforced OR p.spent + p.held + t.asked <= p.limit_amount + p.topup) AS fits
    FROM budget_period p JOIN total t ON t.id = p.id WHERE p.organization_id = %(organization)s
    ORDER BY p.id FOR NO KEY UPDATE OF p
), asked AS (
    SELECT * FROM {sql.unnest("e", ENTRY_COLUMNS)}
), made AS (
    INSERT INTO budget_authorization (id, organization_id, idempotency_key, request_hash, session_key, model, amount, currency,
                                      periods, amounts, state, created_at, expires_at, is_lease)
    SELECT e.id, %(organization)s, e.idempotency_key, e.request_hash, e.session, e.model, e.amount, e.currency,
        coalesce(h.periods, '{{}}'), coalesce(h.amounts, '{{}}'), 'held', %(now)s, e.expires_at, e.is_lease
    FROM asked e LEFT JOIN (
        SELECT place_entry, array_agg(id ORDER BY id) AS periods, array_agg(asked ORDER BY id) AS amounts FROM place GROUP BY place_entry
    ) h ON h.place_entry = e.entry
    WHERE {{as_remembered}}
        AND NOT {{frozen}}
        AND NOT EXISTS (SELECT FROM locked WHERE NOT fits)
        AND (SELECT count(*) FROM place) = cardinality(%(budget_id)s::bigint[])
    ORDER BY e.idempotency_key, e.entry
    ON CONFLICT (organization_id, idempotency_key) DO NOTHING
    RETURNING id
), taken AS (
    UPDATE budget_period p SET held = p.held + t.asked, refused_at = NULL, refused_amount = NULL
    FROM (
        SELECT pl.id, sum(pl.asked) AS asked FROM place pl JOIN asked e ON e.entry = pl.place_entry JOIN made m ON m.id = e.id GROUP BY pl.id
    ) t
    WHERE p.organization_id = %(organization)s AND p.id = t.id
)
SELECT (SELECT array_agg(id) FROM made) AS made, l.* FROM (SELECT 1) one LEFT JOIN locked l ON true
"""  # noqa: S608 - built from constants
# Whom the calls of known sessions belong to.
SESSIONS = """
SELECT s.key, s.team_id, s.project_id, s.member_id, true AS is_known FROM session s
WHERE s.organization_id = %(organization)s AND s.key = ANY(%(line)s::text[])
"""
FROZEN = f"SELECT o.reached, o.id FROM {session_freezes(first=LINES)} o ORDER BY o.session_key <> o.reached, o.id"  # noqa: S608
VERSION = "SELECT config_version FROM organization WHERE id = %s"
LOCK_PERIODS = f"""
SELECT p.id FROM {sql.unnest("x", KEY_COLUMNS)}
CROSS JOIN LATERAL (SELECT p.id FROM budget_period p WHERE p.organization_id = %(organization)s AND {SAME_KEY} OFFSET 0) k
JOIN budget_period p ON p.organization_id = %(organization)s AND p.id = k.id
ORDER BY p.id FOR NO KEY UPDATE OF p
"""  # noqa: S608 - built from constants


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One authorization that is asked for: by whom, with which key, and the request with its defaults."""

    actor: Actor
    api_key: ApiKey | None
    request: AuthorizationIn
    request_hash: UUID
    unconfirmed: Remembered | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """What one of those decided together asks of which budgets."""

    asked: Asked
    parameters: dict[str, Any]
    is_priced: bool


@dataclass(frozen=True, slots=True)
class _Case:
    """One that is decided by itself: the budgets' rules, and whose call it is."""

    ask: Ask
    rules: Rules
    who: Attribution
    entry: _Entry


def ask_of(actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, unconfirmed: Remembered | None = None) -> Ask:
    """The request as it is decided. Raises Invalid."""
    request = with_defaults(request_checked(request), api_key)
    return Ask(actor, api_key, request, hash16(msgspec.json.encode(request).decode()), unconfirmed)


def authorizations_hold(
    *, actor: Actor, api_key: ApiKey | None, requests: Sequence[AuthorizationIn | DomainError], now: datetime
) -> list[Held | DomainError]:
    """Answers each request as `authorization_hold` would, in order: what was held, or why not. Each is held in every budget that applies or in none.

    What cannot be read comes as the error that it is answered with. Earlier entries take what later ones find gone.
    """
    verdicts: dict[int, Held | DomainError] = {}
    asks: dict[int, Ask] = {}
    for index, request in enumerate(requests):
        try:
            if isinstance(request, DomainError):
                raise request
            asks[index] = ask_of(actor, api_key, request)
        except DomainError as error:
            verdicts[index] = error
    links_note(organization_id=actor.organization.pk, requests=[ask.request for ask in asks.values()], now=now)
    known = _known(actor.organization, [ask.request.id for ask in asks.values() if ask.request.id is not None])
    fresh = {index: ask for index, ask in asks.items() if ask.request.id is None or ask.request.id not in known}
    verdicts |= _decided(actor, fresh, now)
    for index, ask in asks.items():
        if index not in verdicts:
            verdicts[index] = _known_verdict(ask, now)
    refused = [verdict for verdict in verdicts.values() if isinstance(verdict, PaymentRequired)]
    refusals_note(organization_id=actor.organization.pk, refusals=refused, now=now)
    return [verdicts[index] for index in range(len(requests))]


def _known(organization: Organization, ids: Sequence[str]) -> set[str | None]:
    if not ids:
        return set()
    return set(Authorization.objects.filter(organization=organization, idempotency_key__in=ids).values_list("idempotency_key", flat=True))


def _known_verdict(ask: Ask, now: datetime) -> Held | DomainError:
    """The answer to a request whose id was used before, by an earlier entry perhaps."""
    try:
        held = earlier_of(ask.actor, ask.api_key, ask.request, request_hash=ask.request_hash, now=now)
    except DomainError as error:
        return error
    if held is None:
        return Conflict("The same id is being used right now. Try again.")
    return replace(held, is_priced=is_priced(ask.actor.organization, ask.api_key, ask.request, now))


def _decided(actor: Actor, asks: dict[int, Ask], now: datetime) -> dict[int, Held | DomainError]:
    """The verdicts on requests that are new; those whose id somebody used meanwhile are left out."""
    organization, listed = actor.organization, list(asks.items())
    at_once = hold_together(organization=organization, asks=[ask for _, ask in listed], now=now)
    if at_once is not None:
        return {index: held for (index, _), held in zip(listed, at_once, strict=True) if held is not None}
    verdicts = _decide_each(organization, listed, now)
    refused = [(index, asks[index]) for index, verdict in verdicts.items() if isinstance(verdict, PaymentRequired)]
    if refused and room_make(actor, now):
        verdicts |= _decide_each(organization, refused, now)
    return verdicts


def hold_together(*, organization: Organization, asks: Sequence[Ask], now: datetime) -> list[Held | None] | None:
    """Holds for all of them in one round trip, where all fit. None when not; then nothing is held. One whose id was used already is None by itself."""
    rules = rules_remembered(organization.pk)
    if rules is None or not asks:
        return None
    entries = []
    for ask in asks:
        entry = _entry_at_once(rules, ask, now)
        if entry is None:
            return None
        entries.append(entry)
    keys = [key for entry in entries for key in entry.asked.keys]
    parts, remembered = parts_of([ask.unconfirmed for ask in asks])
    with sql.pipeline(unlocks_early=True):
        sql.send(LOCK_CONFIGURATION, [organization.pk])
        if not are_seen(organization.pk, keys):
            periods_ensure(organization_id=organization.pk, rules=rules, keys=keys, now=now, version=rules.directory.version)
        deciding = sql.send(together(parts, is_among_freezes=is_among_freezes(organization.pk)), {
            **_arrays(entries, organization, asks), **remembered, "version": rules.directory.version, "now": now,
        })
    rows = deciding.fetchall()
    if rows[0].made is None:
        note_among_freezes(organization.pk)
        return None
    note_seen(organization.pk, keys)
    return _held_each(organization, entries, rows)


def _entry_at_once(rules: Rules, ask: Ask, now: datetime) -> _Entry | None:
    """What is asked for by the budgets in memory; None when that takes a second look."""
    request, api_key = ask.request, ask.api_key
    labelled, who = as_attributed(rules, request, api_key, now=now)
    try:
        estimate = estimate_of(labelled, now, directory=rules.directory, who=who)
    except DomainError:
        return None
    call = call_asked(labelled, who, api_key, estimate)
    if rules.switch_over(call, named_model=request.model) is not None or (request.session and not is_attributed(request, who)):
        return None
    return _entry(rules, ask, call, estimate=estimate, now=now)


def _entry(rules: Rules, ask: Ask, call: Call, *, estimate: Estimate, now: datetime) -> _Entry:
    asked = asked_of(rules, call, estimate, now)
    parameters = parameters_of(ask.actor.organization, ask.request, asked, request_hash=ask.request_hash, now=now)
    return _Entry(asked, parameters, estimate.amount is not None)


def _arrays(entries: Sequence[_Entry], organization: Organization, asks: Sequence[Ask]) -> dict[str, Any]:
    """The entries and what they ask of each period, as the arrays that TOGETHER unnests."""
    numbered = list(enumerate(entries))
    names = [name for name in ENTRY_COLUMNS if name != "entry"]
    return {
        "organization": organization.pk, "entry": [number for number, _ in numbered],
        **{name: [entry.parameters[name] for entry in entries] for name in names},
        "place_entry": [number for number, entry in numbered for _ in entry.asked.keys],
        **key_arrays([key for entry in entries for key in entry.asked.keys]),
        "held": [held for entry in entries for held in entry.asked.held],
        "is_enforced": [enforced for entry in entries for enforced in entry.asked.is_enforced],
        **_lines(asks),
    }


def _lines(asks: Sequence[Ask]) -> dict[str, list[str]]:
    """Each session beside itself and beside the one that is said to be above it."""
    pairs = sorted({(ask.request.session, above) for ask in asks for above in (ask.request.session, ask.request.parent_session) if ask.request.session and above})
    return {"line": [session for session, _ in pairs], "above": [above for _, above in pairs]}


def _held_each(organization: Organization, entries: Sequence[_Entry], rows: Sequence[Any]) -> list[Held | None]:
    """What each holds, and what was left after it in the order in which they were asked for."""
    made, taken = set(rows[0].made), dict[Any, Decimal]()
    periods = {(row.budget_id, row.starts_at, row.session_key, row.task_key): row for row in rows if row.id is not None}
    found: list[Held | None] = []
    for entry in entries:
        if entry.parameters["id"] not in made:
            found.append(None)
            continue
        stood = []
        for key, held in zip(entry.asked.keys, entry.asked.held, strict=True):
            row = periods[_place(key)]
            before = taken.get(row.id, ZERO)
            taken[row.id] = before + held
            stood.append(SimpleNamespace(**row._asdict() | {"held": row.held + before, "asked": held}))
        found.append(replace(held_of(entry.parameters, stood, organization, entry.asked), is_priced=entry.is_priced))
    return found


def _place(key: PeriodKey) -> tuple[Any, ...]:
    return key.budget_id, key.starts_at, key.session_key, key.task_key


def _decide_each(organization: Organization, asks: Sequence[tuple[int, Ask]], now: datetime) -> dict[int, Held | DomainError]:
    """Decides one after the other, in one transaction and two round trips. Those whose id somebody used meanwhile are left out."""
    with transaction.atomic():
        verdicts, cases = _cases(organization, asks, now)
        decided = _decide_cases(organization, cases, now)
    for index, rows in decided.items():
        case = cases[index]
        refusing = [row for row in rows if row.id is not None and not row.fits]
        if refusing:
            binding = min(refusing, key=binding_order)
            refusal_note(organization_id=organization.pk, period_id=binding.id, amount=binding.asked, now=now)
            verdicts[index] = refusal_of(organization, case.rules, binding, request=case.ask.request, who=case.who)
        elif rows[0].made:
            held = held_of(case.entry.parameters, rows, organization, case.entry.asked)
            verdicts[index] = replace(held, is_priced=case.entry.is_priced)
    return verdicts


def _cases(
    organization: Organization, asks: Sequence[tuple[int, Ask]], now: datetime
) -> tuple[dict[int, Held | DomainError], dict[int, _Case]]:
    """Those that a freeze refuses or that cannot be decided, and the others with what they ask for; the configuration is held still from here on."""
    lines = {"organization": organization.pk, **_lines([ask for _, ask in asks])}
    with sql.pipeline():
        sql.send(LOCK_CONFIGURATION, [organization.pk])
        reading = sql.send(VERSION, [organization.pk])
        looking = sql.send(SESSIONS, lines)
        freezing = sql.send(FROZEN, lines)
    rules = rules_of(directory_of(organization, reading.fetchall()[0].config_version))
    sessions = {row.key: row for row in looking.fetchall()}
    frozen: dict[str, int] = {}
    for row in freezing.fetchall():
        frozen.setdefault(row.reached, row.id)
    unknown = SimpleNamespace(is_known=False, team_id=None, project_id=None, member_id=None)
    verdicts: dict[int, Held | DomainError] = {}
    cases: dict[int, _Case] = {}
    for index, ask in asks:
        request = ask.request
        labelled, who = as_attributed(rules, request, ask.api_key, now=now, state=sessions.get(request.session, unknown))
        try:
            estimate = estimate_of(labelled, now, directory=rules.directory, who=who)
        except DomainError as error:
            verdicts[index] = error
            continue
        call = call_asked(labelled, who, ask.api_key, estimate)
        if refusal := freeze_refusal(ask.actor, rules, request=request, call=call, freeze_id=frozen.get(request.session)):
            verdicts[index] = refusal
            continue
        cases[index] = _Case(ask, rules, who, _entry(rules, ask, call, estimate=estimate, now=now))
    return verdicts, cases


def _decide_cases(organization: Organization, cases: dict[int, _Case], now: datetime) -> dict[int, list[Any]]:
    """How the periods of each stood, and whether it was made: one statement each, sent together, so that no lock waits for us."""
    if not cases:
        return {}
    keys = list(dict.fromkeys(key for case in cases.values() for key in case.entry.asked.keys))
    rules = next(iter(cases.values())).rules
    with sql.pipeline():
        periods_ensure(organization_id=organization.pk, rules=rules, keys=keys, now=now)
        sql.send(LOCK_PERIODS, {"organization": organization.pk, **key_arrays(keys)})
        deciding = {
            index: sql.send(DECIDE_IN_PART if case.ask.request.allow_partial else DECIDE, case.entry.parameters)
            for index, case in cases.items()
        }
    return {index: found.fetchall() for index, found in deciding.items()}
