"""Authorizations are extended: more time, and more of every budget they hold against or of none, for streams and leases that go on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.db import transaction
from django.utils import timezone
from msgspec import Meta

from governance import sql
from governance.budgets.calls import Call
from governance.budgets.models import Authorization, AuthorizationExtension, BudgetPeriod
from governance.budgets.rules import PeriodKey, Rules, rules_of
from governance.budgets.services.asking import AuthorizationIn, Count, KeyName, Ttl
from governance.budgets.services.counting import refusals_note
from governance.budgets.services.endings import LARGEST_HOLD, amount_checked
from governance.budgets.services.freezes import refusal_note
from governance.budgets.services.holds import CONFIGURATION, LOCKED, AuthorizationOver, Held, room_make
from governance.budgets.services.periods import key_arrays, periods_ensure
from governance.budgets.services.refusals import binding_order, freeze_refusal, refusal_of
from governance.errors import Conflict, Invalid, NotFound, PaymentRequired
from governance.ids import hash16
from governance.pricing.book import current_book
from governance.tenancy.access import Actor
from governance.tenancy.directory import Attribution, directory_of
from governance.tenancy.models import ApiKey
from governance.tenancy.services import LOCK_CONFIGURATION

ZERO = Decimal(0)
State = Authorization.State


class ExtensionIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """More time from now, and in addition to what was granted so much money, so many tokens and, of a lease, so many calls."""

    ttl_seconds: Ttl | None = None
    amount: Decimal | None = None
    tokens: Count = 0
    calls: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    id: KeyName | None = None


@dataclass(frozen=True, slots=True)
class _More:
    """What an extension asks of each budget, as it counts now."""

    rules: Rules
    keys: Sequence[PeriodKey]
    held: Sequence[Decimal]
    is_enforced: Sequence[bool]


# The periods are those of now: where a window has ended since, the addition is held in the next one, where it will be spent.
EXTEND = f"""
WITH locked AS ({LOCKED}), extended AS (
    UPDATE budget_authorization a SET amount = a.amount + %(amount)s, expires_at = %(expires_at)s, (periods, amounts) = (
        SELECT coalesce(array_agg(s.id ORDER BY s.id), '{{}}'), coalesce(array_agg(s.amount ORDER BY s.id), '{{}}')
        FROM (
            SELECT u.id, sum(u.amount) AS amount FROM (
                SELECT id, amount FROM unnest(a.periods, a.amounts) AS one(id, amount) UNION ALL SELECT id, asked FROM locked
            ) u GROUP BY u.id
        ) s)
    WHERE a.organization_id = %(organization)s AND a.id = %(id)s
        AND NOT EXISTS (SELECT FROM locked WHERE NOT fits AND NOT (asked = 0 AND frozen_at IS NULL))
    RETURNING a.id, a.amount, a.expires_at, a.periods, a.amounts
), noted AS (
    INSERT INTO budget_authorization_extension (organization_id, authorization_id, idempotency_key, request_hash, amount, expires_at, created_at)
    SELECT %(organization)s, id, %(idempotency_key)s, %(request_hash)s, %(amount)s, expires_at, %(now)s FROM extended
), taken AS (
    UPDATE budget_period p SET held = p.held + l.asked, refused_at = NULL, refused_amount = NULL FROM locked l, extended
    WHERE p.organization_id = %(organization)s AND p.id = l.id
)
SELECT e.id AS made, e.amount AS amount_now, e.expires_at, e.periods, e.amounts, l.*
FROM (SELECT 1) one LEFT JOIN extended e ON true LEFT JOIN locked l ON true
"""  # noqa: S608 - built from constants


def authorization_extend(
    *, actor: Actor, api_key: ApiKey | None, authorization_id: UUID, request: ExtensionIn, now: datetime | None = None
) -> Held:
    """Gives a hold more time, more money or both, in every budget it holds against or in none; refused, it stays as it is.

    The same request under the same id changes nothing more. Raises NotFound, Invalid, PaymentRequired as a hold does, and
    Conflict for one that has ended or for an id that was used with another request.
    """
    request, now = _checked(request), now or timezone.now()
    verdict = _extend(actor, api_key, authorization_id, request, now=now)
    if isinstance(verdict, PaymentRequired) and room_make(actor, now):
        verdict = _extend(actor, api_key, authorization_id, request, now=now)
    if isinstance(verdict, PaymentRequired):
        refusals_note(organization_id=actor.organization.pk, refusals=[verdict], now=now)
        raise verdict
    return verdict


def _checked(request: ExtensionIn) -> ExtensionIn:
    if request.ttl_seconds is None and not request.amount and not request.tokens and not request.calls:
        raise Invalid("Say what to extend by: `ttl_seconds`, `amount`, `tokens` or `calls`.", field="ttl_seconds")
    return request if request.amount is None else msgspec.structs.replace(request, amount=amount_checked(request.amount))


@transaction.atomic
def _extend(
    actor: Actor, api_key: ApiKey | None, authorization_id: UUID, request: ExtensionIn, *, now: datetime
) -> Held | PaymentRequired:
    """One try. Only the authorization's own row is locked while we wait; the periods are locked by the statement that moves them."""
    organization = actor.organization
    sql.execute(LOCK_CONFIGURATION, [organization.pk])
    found = _locked(actor, authorization_id, request, now)
    state = sql.rows(CONFIGURATION, {"organization": organization.pk, "session": found.session_key, "parent": ""})[0]
    rules, asked = rules_of(directory_of(organization, state.config_version)), AuthorizationIn(session=found.session_key, model=found.model)
    who = Attribution(state.team_id, state.project_id, state.member_id)
    if refusal := freeze_refusal(actor, rules, request=asked, call=_call(found, who, api_key, now), freeze_id=state.freeze_id):
        return refusal
    earlier = None if request.id is None else AuthorizationExtension.objects.filter(
        organization=organization, authorization=found, idempotency_key=request.id
    ).first()
    request_hash = hash16(msgspec.json.encode(request).decode())
    if earlier is not None and earlier.request_hash != request_hash:
        raise Conflict("This id was used for another extension.", field="id", authorization=found.pk)
    more = _more(found, rules, ExtensionIn() if earlier is not None else request, now)
    rows = _decide(found, more, request if earlier is None else None, request_hash=request_hash, now=now)
    refusing = [row for row in rows if row.id is not None and not row.fits and not (row.asked == 0 and row.frozen_at is None)]
    if refusing:
        binding = min(refusing, key=binding_order)
        refusal_note(organization_id=organization.pk, period_id=binding.id, amount=binding.asked, now=now)
        return refusal_of(organization, rules, binding, request=asked, who=who)
    in_money = [row for row in rows if row.id is not None and row.is_hard and rules.by_id[row.budget_id].is_money]
    left = [row.limit_amount + row.topup - row.spent - row.held - row.asked for row in in_money]
    return Held(found, min(left, default=None), is_new=earlier is None)


def _locked(actor: Actor, authorization_id: UUID, request: ExtensionIn, now: datetime) -> Authorization:
    """The authorization, still held, with its row lock. Raises NotFound, Invalid and Conflict."""
    found = Authorization.objects.select_for_update(no_key=True).filter(organization=actor.organization, pk=authorization_id).first()
    if found is None:
        raise NotFound("There is no such authorization here.")
    state = State.EXPIRED if found.state == State.HELD and found.expires_at <= now else State(found.state)
    if state != State.HELD:
        raise AuthorizationOver("This authorization holds nothing for a call any more. Ask for another.", state=state, authorization=found.pk)
    if request.calls and not found.is_lease:
        raise Invalid("Several calls are made on a lease.", field="calls")
    if found.amount + (request.amount or ZERO) > LARGEST_HOLD:
        raise Invalid(f"One authorization holds at most {LARGEST_HOLD:,}.", field="amount")
    return found


def _call(found: Authorization, who: Attribution, api_key: ApiKey | None, now: datetime) -> Call:
    """The call as far as it is known by now: by its session, its model and the key that asks for more."""
    price = current_book().find("", found.model, now) if found.model else None
    return Call(
        who, found.session_key, api_key_id=api_key.pk if api_key is not None else None,
        provider=price.provider if price is not None else "", model=price.model if price is not None else found.model,
    )


def _more(found: Authorization, rules: Rules, request: ExtensionIn, now: datetime) -> _More:
    """The windows of now of the budgets that the authorization holds against, and what is asked of each."""
    model = _call(found, Attribution(None, None, None), None, now).model
    keys: dict[PeriodKey, tuple[Decimal, bool]] = {}
    for period in BudgetPeriod.objects.filter(organization=found.organization_id, pk__in=found.periods).order_by("pk"):
        call = Call(Attribution(None, None, None), period.session_key, period.task_key, model=model)
        rule = rules.by_id.get(period.budget_id)
        key = rules.period(rule, now, call) if rule is not None else None
        if rule is not None and key is not None:
            asked = rule.measured(amount=request.amount or ZERO, tokens=request.tokens, calls=request.calls, unpriced_calls=0)
            keys[key] = asked, rule.refuses(call)
    return _More(rules, list(keys), [asked for asked, _ in keys.values()], [is_enforced for _, is_enforced in keys.values()])


def _decide(
    found: Authorization, more: _More, request: ExtensionIn | None, *, request_hash: UUID, now: datetime
) -> Sequence[Any]:
    """Extends where everything fits; without a request only looks. Returns how the periods stood, and puts what was granted on `found`."""
    organization_id = found.organization_id
    ends = [key.ends_at for key in more.keys if key.ends_at is not None] if found.is_lease else []
    until = found.expires_at if request is None or request.ttl_seconds is None else min([now + timedelta(seconds=request.ttl_seconds), *ends])
    parameters = {
        "organization": organization_id, **key_arrays(more.keys), "held": more.held, "is_enforced": more.is_enforced, "id": found.pk, "now": now,
        "amount": ZERO if request is None else request.amount or ZERO, "expires_at": max(found.expires_at, until),
        "idempotency_key": None if request is None else request.id, "request_hash": request_hash,
    }
    with sql.pipeline():
        periods_ensure(organization_id=organization_id, rules=more.rules, keys=more.keys, now=now)
        deciding = sql.send(EXTEND if request is not None else LOCKED, parameters)
    rows: list[Any] = deciding.fetchall()
    if request is not None and rows[0].made:
        found.amount, found.expires_at, found.periods, found.amounts = rows[0].amount_now, rows[0].expires_at, rows[0].periods, rows[0].amounts
    return rows
