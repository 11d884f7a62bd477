"""Authorizations are asked for: an estimate is held against every budget that applies, all or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.budgets.models import Authorization, Budget
from governance.budgets.reach import FREEZES_OVER_CALL, IS_ANY_SESSION_FROZEN, is_among_freezes, note_among_freezes
from governance.budgets.rules import Rule, rules_of, rules_remembered
from governance.budgets.services.asking import (
    Asked,
    AuthorizationIn,
    as_attributed,
    asked_of,
    call_asked,
    estimate_of,
    is_attributed,
    with_defaults,
)
from governance.budgets.services.counting import refusals_note
from governance.budgets.services.endings import amount_checked, holds_expire_some
from governance.budgets.services.freezes import refusal_note
from governance.budgets.services.links import links_note
from governance.budgets.services.periods import KEY_COLUMNS, SAME_KEY, are_seen, key_arrays, note_seen, periods_ensure
from governance.budgets.services.refusals import LARGEST_SUM, binding_order, budget_facts, freeze_refusal, left_of, refusal_of
from governance.budgets.services.rolling import periods_slide
from governance.errors import Conflict, Invalid, PaymentRequired
from governance.ids import hash16, uuid7
from governance.tenancy.access import Actor
from governance.tenancy.authentication import KeyMoved, Remembered
from governance.tenancy.directory import directory_of
from governance.tenancy.models import ApiKey, Organization
from governance.tenancy.services import LOCK_CONFIGURATION
from governance.tenancy.standing import Parts, as_remembered, parts_of


@dataclass(frozen=True, slots=True)
class Held:
    """An authorization that was granted, and what its tightest hard budget has left (None: no hard budget applies)."""

    authorization: Authorization
    left: Decimal | None
    is_new: bool
    # False: neither an amount was given nor could one be told from model and tokens, so that a placeholder, or nothing, is held.
    is_priced: bool = True
    # Where less was granted than asked for: the budget that had no more.
    bound_by: Mapping[str, Any] | None = None
    tokens: int | None = None


# Of the freezes of the session and of those above it the one that the refusal tells of: its own, if any.
FREEZE_OVER_CALL = f"SELECT o.id FROM {FREEZES_OVER_CALL} o ORDER BY o.session_key <> o.reached, o.id LIMIT 1"  # noqa: S608
CONFIGURATION = f"""
SELECT o.config_version, s.team_id, s.project_id, s.member_id, s.key IS NOT NULL AS is_known, f.id AS freeze_id
FROM organization o
LEFT JOIN session s ON s.organization_id = o.id AND s.key = %(session)s AND %(session)s <> ''
LEFT JOIN ({FREEZE_OVER_CALL}) f ON true
WHERE o.id = %(organization)s
"""  # noqa: S608


# How the periods of an authorization stand without what it holds itself, and whether its session, or one above it, was frozen otherwise.
STANDING = f"""
SELECT p.id, p.budget_id, p.session_key, p.task_key, p.starts_at, p.ends_at, p.is_hard, p.is_hard AS is_enforced, p.limit_amount, p.topup, p.spent,
    p.held - u.asked AS held, u.asked, p.frozen_at, b.measure, p.frozen_at IS NOT NULL AND (p.ends_at IS NULL OR p.ends_at > %(now)s) AS is_frozen, f.id AS freeze_id, o.config_version
FROM organization o
LEFT JOIN unnest(%(periods)s::bigint[], %(amounts)s::numeric[]) AS u(period_id, asked) ON true
LEFT JOIN budget_period p ON p.organization_id = %(organization)s AND p.id = u.period_id
LEFT JOIN budget b ON b.organization_id = %(organization)s AND b.id = p.budget_id
LEFT JOIN ({FREEZE_OVER_CALL}) f ON true
WHERE o.id = %(organization)s
"""  # noqa: S608


class AuthorizationOver(Conflict):
    """The id is that of an authorization which has ended: its call may not be made on it again."""

    code = "authorization_over"


HOLD_COLUMNS = {**KEY_COLUMNS, "held": "numeric", "is_enforced": "boolean"}
# Takes the locks of the periods asked of, in id order, and says of each whether what is asked for fits.
LOCKED = f"""
    SELECT p.id, p.budget_id, p.session_key, p.task_key, p.starts_at, p.ends_at, p.is_hard, p.limit_amount, p.topup, p.spent, p.held, p.frozen_at,
        x.held AS asked, x.is_enforced,
        p.frozen_at IS NULL AND p.spent + p.held + x.held <= {LARGEST_SUM}
            AND (NOT x.is_enforced OR p.spent + p.held + x.held <= p.limit_amount + p.topup) AS fits
    FROM {sql.unnest("x", HOLD_COLUMNS)}
    JOIN budget_period p ON p.organization_id = %(organization)s AND {SAME_KEY}
    ORDER BY p.id FOR NO KEY UPDATE OF p
"""  # noqa: S608 - built from constants
# As LOCKED, granting of what is asked for as much as fits every budget of its measure, where that is not less than the least.
LOCKED_IN_PART = f"""
    SELECT id, budget_id, session_key, task_key, starts_at, ends_at, is_hard, limit_amount, topup, spent, held, frozen_at,
        CASE WHEN bool_and(does_fit) OVER () THEN granted ELSE wanted END AS asked, is_enforced, does_fit AS fits
    FROM (
        SELECT *, frozen_at IS NULL AND granted <= room AND least <= room AS does_fit
        FROM (
            SELECT *, CASE WHEN wanted > least THEN least(wanted, min(room) OVER (PARTITION BY measure)) ELSE wanted END AS granted
            FROM (
                SELECT p.*, x.held AS wanted, x.is_enforced, x.least, x.measure,
                    CASE WHEN x.is_enforced THEN least({LARGEST_SUM}, p.limit_amount + p.topup) ELSE {LARGEST_SUM} END - p.spent - p.held AS room
                FROM {sql.unnest("x", {**HOLD_COLUMNS, "least": "numeric", "measure": "text"})}
                JOIN budget_period p ON p.organization_id = %(organization)s AND {SAME_KEY}
                ORDER BY p.id FOR NO KEY UPDATE OF p
            ) rooms
        ) grants
    ) fitting
"""  # noqa: S608 - built from constants


def _deciding(first: str = "true", *, locked: str = LOCKED, amount: str = "%(amount)s") -> str:
    """`first` is asked before the periods are locked, which they are until the commit: everybody's calls wait for some of them."""
    return f"""
WITH locked AS ({locked}), made AS (
    INSERT INTO budget_authorization (id, organization_id, idempotency_key, request_hash, session_key, model, amount, currency,
                                      periods, amounts, state, created_at, expires_at, is_lease)
    SELECT %(id)s, %(organization)s, %(idempotency_key)s, %(request_hash)s, %(session)s, %(model)s, {amount}, %(currency)s,
        coalesce((SELECT array_agg(id ORDER BY id) FROM locked), '{{}}'), coalesce((SELECT array_agg(asked ORDER BY id) FROM locked), '{{}}'),
        'held', %(now)s, %(expires_at)s, %(is_lease)s
    WHERE {first} AND NOT EXISTS (SELECT FROM locked WHERE NOT fits)
    ON CONFLICT (organization_id, idempotency_key) DO NOTHING
    RETURNING id
), taken AS (
    UPDATE budget_period p SET held = p.held + l.asked, refused_at = NULL, refused_amount = NULL FROM locked l, made
    WHERE p.organization_id = %(organization)s AND p.id = l.id
)
SELECT (SELECT count(*) FROM made) AS made, l.* FROM (SELECT 1) one LEFT JOIN locked l ON true
"""  # noqa: S608 - built from constants


DECIDE = _deciding()
DECIDE_IN_PART = _deciding(locked=LOCKED_IN_PART, amount="coalesce((SELECT min(asked) FROM locked WHERE budget_id = ANY(%(in_money)s::bigint[])), %(amount)s)")


@lru_cache
def decide_at_once(parts: Parts, *, is_among_freezes: bool) -> str:
    """As DECIDE, where nothing has to be looked at first: budgets and wide freezes are those in memory, and nothing froze the session or one above it.

    Not among freezes, only while no session of the organization is frozen.
    """
    frozen = f"EXISTS (SELECT FROM {FREEZES_OVER_CALL} o)" if is_among_freezes else IS_ANY_SESSION_FROZEN
    return _deciding(f"""{as_remembered(parts)}
    AND NOT {frozen}
    AND (SELECT count(*) FROM locked) = cardinality(%(budget_id)s::bigint[])""")  # noqa: S608 - built from constants


def authorization_hold(
    *, actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, now: datetime | None = None, unconfirmed: Remembered | None = None
) -> Held:
    """Holds the estimate against every budget that applies.

    Raises PaymentRequired (402) naming the binding budget or the freeze, and Conflict when the id was used for
    another request. The same request under the same id gets the authorization made first. Raises KeyMoved, with nothing
    held, where a key that is `unconfirmed` has to be looked up first: it changed, or the case is not the usual one.
    """
    request, now = with_defaults(request_checked(request), api_key), now or timezone.now()
    request_hash = hash16(msgspec.json.encode(request).decode())
    try:
        held = _hold_at_once(actor, api_key, request, request_hash=request_hash, now=now, unconfirmed=unconfirmed)
        if held is None and unconfirmed is not None:
            raise KeyMoved
        if held is None:
            held = _held_or_refused(actor, api_key, request, request_hash=request_hash, now=now)
            held = replace(held, is_priced=is_priced(actor.organization, api_key, request, now))
    except PaymentRequired as refusal:
        refusals_note(organization_id=actor.organization.pk, refusals=[refusal], now=now)
        links_note(organization_id=actor.organization.pk, requests=[request], now=now)
        raise
    links_note(organization_id=actor.organization.pk, requests=[request], now=now)
    return held


def is_priced(organization: Organization, api_key: ApiKey | None, request: AuthorizationIn, now: datetime) -> bool:
    """Whether what was held is an amount that was given, or that model and tokens told: by the configuration that it was held by."""
    rules = rules_remembered(organization.pk)
    if request.amount is not None or rules is None:
        return request.amount is not None
    labelled, who = as_attributed(rules, request, api_key, now=now)
    return estimate_of(labelled, now, directory=rules.directory, who=who).amount is not None


def _held_or_refused(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime
) -> Held:
    if request.id and (earlier := earlier_of(actor, api_key, request, request_hash=request_hash, now=now)):
        return earlier
    verdict = _decide(actor, api_key, request, request_hash=request_hash, now=now)
    # What is over need not wait for the task that sweeps it: nobody is refused for a hold that no longer counts.
    if isinstance(verdict, PaymentRequired) and room_make(actor, now):
        verdict = _decide(actor, api_key, request, request_hash=request_hash, now=now)
    if isinstance(verdict, PaymentRequired):
        raise verdict
    if verdict is None:  # another process used the same id between the look-up and the insert
        earlier = earlier_of(actor, api_key, request, request_hash=request_hash, now=now)
        if earlier is None:
            raise Conflict("The same id is being used right now. Try again.")
        return earlier
    return verdict


def room_make(actor: Actor, now: datetime) -> bool:
    """Whether holds whose time is over were given back, or rolling windows moved on."""
    expired = holds_expire_some(organization_id=actor.organization.pk, now=now)
    return bool(periods_slide(actor=actor, now=now) or expired)


def earlier_of(actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime) -> Held | None:
    """The authorization made by the same request before. Raises Conflict for another request's or one that is over, and PaymentRequired once frozen."""
    found = Authorization.objects.filter(organization=actor.organization, idempotency_key=request.id).first()
    if found is None:
        return None
    if found.request_hash != request_hash:
        raise Conflict("This id was used for another authorization.", field="id", authorization=found.pk)
    state = Authorization.State.EXPIRED if found.state == Authorization.State.HELD and found.expires_at <= now else found.state
    if state != Authorization.State.HELD:
        raise AuthorizationOver("The authorization with this id holds nothing for a call any more. Ask under a new id.", state=state, authorization=found.pk)
    rows = sql.rows(STANDING, {
        "organization": actor.organization.pk, "session": found.session_key, "parent": request.parent_session, "periods": found.periods,
        "amounts": found.amounts, "now": now,
    })
    if refusal := _refusal_since(actor, api_key, request, rows=rows, now=now):
        raise refusal
    left = [row.limit_amount + row.topup - row.spent - row.held - row.asked for row in rows if row.is_hard and row.measure == Budget.Measure.MONEY]
    sql.ensure_on_disk()
    return Held(found, min(left, default=None), is_new=False)


def _refusal_since(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, rows: Sequence[Any], now: datetime
) -> PaymentRequired | None:
    """Why a call that was held for may not go on any more: whoever asks again may not have made it yet. Its hold stays."""
    organization = actor.organization
    rules = rules_of(directory_of(organization, rows[0].config_version))
    if not rules.switches and rows[0].freeze_id is None and not any(row.is_frozen for row in rows):
        return None
    state = sql.rows(CONFIGURATION, {"organization": organization.pk, "session": request.session, "parent": request.parent_session})[0]
    labelled, who = as_attributed(rules, request, api_key, now=now, state=state)
    call = call_asked(labelled, who, api_key, estimate_of(labelled, now, directory=rules.directory, who=who))
    if refusal := freeze_refusal(actor, rules, request=request, call=call, freeze_id=state.freeze_id):
        return refusal
    binding = min((row for row in rows if row.is_frozen and row.budget_id in rules.by_id), key=binding_order, default=None)
    return None if binding is None else refusal_of(organization, rules, binding, request=request, who=who)


def _hold_at_once(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime, unconfirmed: Remembered | None
) -> Held | None:
    """What was held, in one round trip: the usual case. None when it takes a second look; then nothing is held.

    The statements of a pipeline are one transaction, so that the rows of budgets everybody calls against are locked for as
    long as the database takes, and not while we are busy.
    """
    organization, rules = actor.organization, rules_remembered(actor.organization.pk)
    if rules is None:
        return None
    labelled, who = as_attributed(rules, request, api_key, now=now)
    estimate = estimate_of(labelled, now, directory=rules.directory, who=who)
    call = call_asked(labelled, who, api_key, estimate)
    if rules.switch_over(call, named_model=request.model) is not None:
        return None
    asked = asked_of(rules, call, estimate, now)
    if request.session and not is_attributed(request, who):
        return None
    keys, version = list(asked.keys), rules.directory.version
    parts, remembered = parts_of([unconfirmed])
    parameters = parameters_of(organization, request, asked, request_hash=request_hash, now=now)
    with sql.pipeline(unlocks_early=True):
        # A statement of its own: the snapshot that the version is read from must not predate the lock.
        sql.send(LOCK_CONFIGURATION, [organization.pk])
        # The deciding statement holds nothing where one of them is missing.
        if not are_seen(organization.pk, keys):
            periods_ensure(organization_id=organization.pk, rules=rules, keys=keys, now=now, version=version)
        deciding = sql.send(decide_at_once(parts, is_among_freezes=is_among_freezes(organization.pk)), {**parameters, "version": version, **remembered})
    rows = deciding.fetchall()
    if not rows[0].made:
        note_among_freezes(organization.pk)
        return None
    note_seen(organization.pk, keys)
    return replace(held_of(parameters, rows, organization, asked), is_priced=estimate.amount is not None)


@transaction.atomic
def _decide(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime
) -> Held | PaymentRequired | None:
    """One try: what was held, why it is refused, or None when the id was used by somebody else just now."""
    organization = actor.organization
    with sql.pipeline():
        sql.send(LOCK_CONFIGURATION, [organization.pk])
        reading = sql.send(CONFIGURATION, {"organization": organization.pk, "session": request.session, "parent": request.parent_session})
    state = reading.fetchall()[0]
    rules = rules_of(directory_of(organization, state.config_version))
    labelled, who = as_attributed(rules, request, api_key, now=now, state=state)
    estimate = estimate_of(labelled, now, directory=rules.directory, who=who)
    call = call_asked(labelled, who, api_key, estimate)
    if refusal := freeze_refusal(actor, rules, request=request, call=call, freeze_id=state.freeze_id):
        return refusal
    asked = asked_of(rules, call, estimate, now)
    parameters = parameters_of(organization, request, asked, request_hash=request_hash, now=now)
    with sql.pipeline():
        periods_ensure(organization_id=organization.pk, rules=rules, keys=asked.keys, now=now)
        deciding = sql.send(DECIDE_IN_PART if request.allow_partial else DECIDE, parameters)
    rows = deciding.fetchall()
    refusing = [row for row in rows if row.id is not None and not row.fits]
    if refusing:
        binding = min(refusing, key=binding_order)
        refusal_note(organization_id=organization.pk, period_id=binding.id, amount=binding.asked, now=now)
        return refusal_of(organization, rules, binding, request=request, who=who)
    if not rows[0].made:
        return None
    return held_of(parameters, rows, organization, asked)


def parameters_of(organization: Organization, request: AuthorizationIn, asked: Asked, *, request_hash: UUID, now: datetime) -> dict[str, Any]:
    """What the deciding statement is told."""
    return {
        "organization": organization.pk, **key_arrays(asked.keys), "held": asked.held, "is_enforced": asked.is_enforced, "amount": asked.amount,
        "id": uuid7(), "idempotency_key": request.id,
        "request_hash": request_hash, "session": request.session, "parent": request.parent_session, "model": request.model, "currency": organization.currency,
        "now": now, "expires_at": _expires_at(request, asked, now), "is_lease": request.lease, "least": asked.least,
        "measure": [rule.measure for rule in asked.rules], "in_money": [rule.id for rule in asked.rules if rule.is_money],
    }


def _expires_at(request: AuthorizationIn, asked: Asked, now: datetime) -> datetime:
    """When the hold is over unless it ends before. A lease ends with the first of its windows: calls in the next are not held for."""
    ends = [key.ends_at for key in asked.keys if key.ends_at is not None] if request.lease else []
    return min([now + timedelta(seconds=request.ttl_seconds), *ends])


# What a new row has in columns that are not named, in the order of the columns.
_BLANK = {field.attname: field.get_default() for field in Authorization._meta.concrete_fields}


def held_of(parameters: Mapping[str, Any], rows: Sequence[Any], organization: Organization, asked: Asked) -> Held:
    by_id = {rule.id: rule for rule in asked.rules}
    taken = sorted((row for row in rows if row.id is not None), key=lambda row: row.id)
    amount = min((row.asked for row in taken if by_id[row.budget_id].is_money), default=parameters["amount"])
    facts = _BLANK | {
        "id": parameters["id"], "organization_id": organization.pk, "idempotency_key": parameters["idempotency_key"], "request_hash": parameters["request_hash"],
        "session_key": parameters["session"], "model": parameters["model"], "amount": amount, "currency": parameters["currency"],
        "periods": [row.id for row in taken], "amounts": [row.asked for row in taken], "created_at": parameters["now"],
        "expires_at": parameters["expires_at"], "is_lease": parameters["is_lease"],
    }  # fmt: skip
    authorization = Authorization.from_db(None, list(facts), list(facts.values()))
    left = [row.limit_amount + row.topup - row.spent - row.held - row.asked for row in taken if row.is_hard and by_id[row.budget_id].is_money]
    return Held(authorization, min(left) if left else None, is_new=True, bound_by=_bound_by(taken, asked, by_id), tokens=_tokens(taken, by_id))


def _bound_by(taken: Sequence[Any], asked: Asked, by_id: Mapping[int, Rule]) -> Mapping[str, Any] | None:
    """Of a grant in part, the budget that has no more."""
    wanted = {rule.id: held for rule, held in zip(asked.rules, asked.held, strict=True)}
    bound = [row for row in taken if row.asked < wanted[row.budget_id]]
    return budget_facts(by_id[(row := min(bound, key=left_of)).budget_id], row) if bound else None


def _tokens(taken: Sequence[Any], by_id: Mapping[int, Rule]) -> int | None:
    """How many tokens were granted, where a budget counts them."""
    return min((int(row.asked) for row in taken if by_id[row.budget_id].measure == Budget.Measure.TOKENS), default=None)


def request_checked(request: AuthorizationIn) -> AuthorizationIn:
    """The request with its amounts as they are stored. Raises Invalid."""
    if request.calls != 1 and not request.lease:
        raise Invalid("Several calls are asked for with a lease.", field="calls")
    if request.min_amount is not None and not request.allow_partial:
        raise Invalid("The least amount goes with `allow_partial`.", field="min_amount")
    if request.amount is None and request.min_amount is None:
        return request
    amount = None if request.amount is None else amount_checked(request.amount)
    least = None if request.min_amount is None else amount_checked(request.min_amount, field="min_amount")
    if amount is not None and least is not None and least > amount:
        raise Invalid("The least amount is more than the amount asked for.", field="min_amount")
    return msgspec.structs.replace(request, amount=amount, min_amount=least)

