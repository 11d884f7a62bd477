"""Authorizations are asked for: an estimate is held against every budget that applies, all or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.http import urlencode
from msgspec import Meta

from governance import sql
from governance.budgets.calls import METERED, Call
from governance.budgets.models import Authorization, Budget
from governance.budgets.rules import PeriodKey, Rule, Rules, rules_of, rules_remembered
from governance.budgets.selectors import deciders_of
from governance.budgets.services.endings import amount_checked, holds_expire_some
from governance.budgets.services.freezes import refusal_note
from governance.budgets.services.periods import KEY_COLUMNS, SAME_KEY, key_arrays, periods_ensure
from governance.budgets.services.rolling import periods_slide
from governance.errors import Conflict, Invalid, PaymentRequired
from governance.ids import hash16, uuid7
from governance.money import digits, quantize, written, written_apart
from governance.notices.links import session_link
from governance.pricing.book import current_book
from governance.pricing.usage import Rating, Usage
from governance.tenancy.access import Actor
from governance.tenancy.directory import Attribution, attribute, directory_of
from governance.tenancy.models import ApiKey, Organization

ZERO = Decimal(0)
# What is spent and held in one period comes to this at most, whatever its limit: ten times as much fits the column.
LARGEST_SUM = Decimal(10**12)
Name = Annotated[str, Meta(max_length=200)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class AuthorizationIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """May this call go on? The amount is given, or estimated from model and tokens by the price book."""

    session: Name = ""
    team: Name = ""
    project: Name = ""
    member: Annotated[str, Meta(max_length=254)] = ""
    provider: Name = ""
    model: Name = ""
    harness: Name = ""
    gateway: Name = ""
    role: Name = ""
    task_class: Name = ""
    environment: Name = ""
    task: Name = ""
    tags: dict[Name, Name] | None = None
    billing_mode: Annotated[str, Meta(pattern="^(metered|subscription|self-hosted)$")] | None = None
    input_tokens: Count | None = None
    cache_read_tokens: Count | None = None
    max_output_tokens: Count | None = None
    amount: Decimal | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "USD"
    ttl_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    id: Name | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """An authorization that was granted, and what its tightest hard budget has left (None: no hard budget applies)."""

    authorization: Authorization
    left: Decimal | None
    is_new: bool
    # False: neither an amount was given nor could one be told from model and tokens, so that a placeholder, or nothing, is held.
    is_priced: bool = True


LOCK_CONFIGURATION = "SELECT pg_advisory_xact_lock_shared(hashint8(%s::bigint), 1)"
CONFIGURATION = """
SELECT o.config_version, s.team_id, s.project_id, s.member_id, s.key IS NOT NULL AS is_known, f.id AS freeze_id, f.reason
FROM organization o
LEFT JOIN session s ON s.organization_id = o.id AND s.key = %(session)s AND %(session)s <> ''
LEFT JOIN "freeze" f ON f.organization_id = o.id AND f.session_key = %(session)s AND %(session)s <> '' AND f.ended_at IS NULL AND f.cause = 'hand'
WHERE o.id = %(organization)s
"""


# How the periods of an authorization stand without what it holds itself, and whether its session was frozen by hand.
STANDING = """
SELECT p.id, p.budget_id, p.session_key, p.task_key, p.starts_at, p.ends_at, p.is_hard, p.is_hard AS is_enforced, p.limit_amount, p.topup, p.spent,
    p.held - u.asked AS held, u.asked, p.frozen_at, b.measure, p.frozen_at IS NOT NULL AND (p.ends_at IS NULL OR p.ends_at > %(now)s) AS is_frozen, f.id AS freeze_id
FROM (SELECT 1) one
LEFT JOIN unnest(%(periods)s::bigint[], %(amounts)s::numeric[]) AS u(period_id, asked) ON true
LEFT JOIN budget_period p ON p.organization_id = %(organization)s AND p.id = u.period_id
LEFT JOIN budget b ON b.organization_id = %(organization)s AND b.id = p.budget_id
LEFT JOIN "freeze" f ON f.organization_id = %(organization)s AND f.session_key = %(session)s::varchar AND %(session)s::varchar <> ''
    AND f.ended_at IS NULL AND f.cause = 'hand'
"""


class AuthorizationOver(Conflict):
    """The id is that of an authorization which has ended: its call may not be made on it again."""

    code = "authorization_over"


HOLD_COLUMNS = {**KEY_COLUMNS, "held": "numeric", "is_enforced": "boolean"}


def _deciding(condition: str) -> str:
    return f"""
WITH locked AS (
    SELECT p.id, p.budget_id, p.session_key, p.task_key, p.starts_at, p.ends_at, p.is_hard, p.limit_amount, p.topup, p.spent, p.held, p.frozen_at,
        x.held AS asked, x.is_enforced,
        p.frozen_at IS NULL AND p.spent + p.held + x.held <= {LARGEST_SUM}
            AND (NOT x.is_enforced OR p.spent + p.held + x.held <= p.limit_amount + p.topup) AS fits
    FROM {sql.unnest("x", HOLD_COLUMNS)}
    JOIN budget_period p ON p.organization_id = %(organization)s AND {SAME_KEY}
    ORDER BY p.id FOR NO KEY UPDATE OF p
), made AS (
    INSERT INTO budget_authorization (id, organization_id, idempotency_key, request_hash, session_key, model, amount, currency,
                                      periods, amounts, state, created_at, expires_at)
    SELECT %(id)s, %(organization)s, %(idempotency_key)s, %(request_hash)s, %(session)s, %(model)s, %(amount)s, %(currency)s,
        coalesce((SELECT array_agg(id ORDER BY id) FROM locked), '{{}}'), coalesce((SELECT array_agg(asked ORDER BY id) FROM locked), '{{}}'),
        'held', %(now)s, %(expires_at)s
    WHERE NOT EXISTS (SELECT FROM locked WHERE NOT fits) {condition}
    ON CONFLICT (organization_id, idempotency_key) DO NOTHING
    RETURNING id
), taken AS (
    UPDATE budget_period p SET held = p.held + l.asked, refused_at = NULL, refused_amount = NULL FROM locked l, made
    WHERE p.organization_id = %(organization)s AND p.id = l.id
)
SELECT (SELECT count(*) FROM made) AS made, l.* FROM (SELECT 1) one LEFT JOIN locked l ON true
"""  # noqa: S608 - built from constants


DECIDE = _deciding("")
# As DECIDE, where nothing has to be looked at first: the budgets are those in memory and nobody froze the session.
DECIDE_AT_ONCE = _deciding("""
    AND (SELECT count(*) FROM locked) = cardinality(%(budget_id)s::bigint[])
    AND (SELECT config_version FROM organization WHERE id = %(organization)s) = %(version)s
    AND NOT EXISTS (
        SELECT FROM "freeze" f
        WHERE f.organization_id = %(organization)s AND f.session_key = %(session)s::varchar AND %(session)s::varchar <> ''
            AND f.ended_at IS NULL AND f.cause = 'hand')
""")


def authorization_hold(
    *, actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, now: datetime | None = None
) -> Held:
    """Holds the estimate against every budget that applies.

    Raises PaymentRequired (402) naming the binding budget or the freeze, and Conflict when the id was used for
    another request. The same request under the same id gets the authorization made first.
    """
    if request.amount is not None:
        request = msgspec.structs.replace(request, amount=amount_checked(request.amount))
    request, now = with_defaults(request, api_key), now or timezone.now()
    request_hash = hash16(msgspec.json.encode(request).decode())
    held = _held_or_refused(actor, api_key, request, request_hash=request_hash, now=now)
    return replace(held, is_priced=_estimate(request, now).amount is not None)


def _held_or_refused(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime
) -> Held:
    if request.id and (earlier := _earlier(actor, api_key, request, request_hash=request_hash, now=now)):
        return earlier
    if held := _hold_at_once(actor, api_key, request, request_hash=request_hash, now=now):
        return held
    verdict = _decide(actor, api_key, request, request_hash=request_hash, now=now)
    # What is over need not wait for the task that sweeps it: nobody is refused for a hold that no longer counts.
    if isinstance(verdict, PaymentRequired) and _makes_room(actor, now):
        verdict = _decide(actor, api_key, request, request_hash=request_hash, now=now)
    if isinstance(verdict, PaymentRequired):
        raise verdict
    if verdict is None:  # another process used the same id between the look-up and the insert
        earlier = _earlier(actor, api_key, request, request_hash=request_hash, now=now)
        if earlier is None:
            raise Conflict("The same id is being used right now. Try again.")
        return earlier
    return verdict


def _makes_room(actor: Actor, now: datetime) -> bool:
    """Whether holds whose time is over were given back, or rolling windows moved on."""
    expired = holds_expire_some(organization_id=actor.organization.pk, now=now)
    return bool(periods_slide(actor=actor, now=now) or expired)


def with_defaults(request: AuthorizationIn, api_key: ApiKey | None) -> AuthorizationIn:
    """The request with the key's default labels where it names none."""
    if api_key is None or not api_key.defaults:
        return request
    missing = {name: value for name, value in api_key.defaults.items() if not getattr(request, name, "")}
    return msgspec.structs.replace(request, **missing)


def _earlier(actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime) -> Held | None:
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
        "organization": actor.organization.pk, "session": found.session_key, "periods": found.periods, "amounts": found.amounts, "now": now,
    })
    if (rows[0].freeze_id is not None or any(row.is_frozen for row in rows)) and (refusal := _refusal_since(actor, api_key, request, found=found, rows=rows)):
        raise refusal
    left = [row.limit_amount + row.topup - row.spent - row.held - row.asked for row in rows if row.is_hard and row.measure == Budget.Measure.MONEY]
    return Held(found, min(left, default=None), is_new=False)


def _refusal_since(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, found: Authorization, rows: Sequence[Any]
) -> PaymentRequired | None:
    """Why a call that was held for may not go on any more: whoever asks again may not have made it yet. Its hold stays."""
    organization = actor.organization
    state = sql.rows(CONFIGURATION, {"organization": organization.pk, "session": found.session_key})[0]
    if state.freeze_id is not None:
        return _refusal_by_hand(actor, request, state)
    rules = rules_of(directory_of(organization, state.config_version))
    binding = min(
        (row for row in rows if row.is_frozen and row.budget_id in rules.by_id),
        key=_binding_order, default=None,
    )
    who = _attribution(rules, request, state, api_key)
    return None if binding is None else _refusal(organization, rules, binding, request=request, who=who)


def _hold_at_once(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime
) -> Held | None:
    """What was held, in one round trip: the usual case. None when it takes a second look; then nothing is held.

    The statements of a pipeline are one transaction, so that the rows of budgets everybody calls against are locked for as
    long as the database takes, and not while we are busy.
    """
    organization, rules = actor.organization, rules_remembered(actor.organization.pk)
    if rules is None:
        return None
    who, estimate = _attribution_named(rules, request, api_key), _estimate(request, now)
    asked = _asked(rules, _call(request, who, api_key, estimate), estimate, now)
    if (request.session and not _is_settled(request, who)) or not asked.is_in_currency(request.currency):
        return None
    keys, version = list(asked.keys), rules.directory.version
    parameters = _parameters(organization, request, asked, request_hash=request_hash, now=now)
    with sql.cursor().connection.pipeline():
        # A statement of its own: the snapshot that the version is read from must not predate the lock.
        sql.cursor().execute(LOCK_CONFIGURATION, [organization.pk])
        periods_ensure(organization_id=organization.pk, rules=rules, keys=keys, now=now, version=version)
        deciding = sql.cursor().execute(DECIDE_AT_ONCE, {**parameters, "version": version})
    rows = deciding.fetchall()
    return _held(parameters, rows, organization, asked) if rows[0].made else None


@transaction.atomic
def _decide(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, request_hash: UUID, now: datetime
) -> Held | PaymentRequired | None:
    """One try: what was held, why it is refused, or None when the id was used by somebody else just now."""
    organization = actor.organization
    with sql.cursor().connection.pipeline():
        sql.cursor().execute(LOCK_CONFIGURATION, [organization.pk])
        reading = sql.cursor().execute(CONFIGURATION, {"organization": organization.pk, "session": request.session})
    state = reading.fetchall()[0]
    rules = rules_of(directory_of(organization, state.config_version))
    if state.freeze_id is not None:
        return _refusal_by_hand(actor, request, state)
    who = _attribution(rules, request, state, api_key)
    estimate = _estimate(request, now)
    asked = _asked(rules, _call(request, who, api_key, estimate), estimate, now)
    _check_currency(request, asked)
    parameters = _parameters(organization, request, asked, request_hash=request_hash, now=now)
    with sql.cursor().connection.pipeline():
        periods_ensure(organization_id=organization.pk, rules=rules, keys=asked.keys, now=now)
        deciding = sql.cursor().execute(DECIDE, parameters)
    rows = deciding.fetchall()
    refusing = [row for row in rows if row.id is not None and not row.fits]
    if refusing:
        binding = min(refusing, key=_binding_order)
        refusal_note(organization_id=organization.pk, period_id=binding.id, amount=binding.asked, now=now)
        return _refusal(organization, rules, binding, request=request, who=who)
    if not rows[0].made:
        return None
    return _held(parameters, rows, organization, asked)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks for: an amount of money, and of each budget that applies so much in its own measure."""

    amount: Decimal
    rules: Sequence[Rule]
    keys: Sequence[PeriodKey]
    held: Sequence[Decimal]
    is_enforced: Sequence[bool]

    def is_in_currency(self, currency: str) -> bool:
        return all(rule.currency == currency for rule in self.rules if rule.is_money)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call will take by its own account: its price, where one can be told, its tokens, and the model's names in the catalogue."""

    amount: Decimal | None
    tokens: int
    rating: Rating | None


def _parameters(organization: Organization, request: AuthorizationIn, asked: Asked, *, request_hash: UUID, now: datetime) -> dict[str, Any]:
    """What the deciding statement is told."""
    return {
        "organization": organization.pk, **key_arrays(asked.keys), "held": asked.held, "is_enforced": asked.is_enforced, "amount": asked.amount,
        "id": uuid7(), "idempotency_key": request.id,
        "request_hash": request_hash, "session": request.session, "model": request.model, "currency": request.currency,
        "now": now, "expires_at": now + timedelta(seconds=request.ttl_seconds),
    }


def _held(parameters: Mapping[str, Any], rows: Sequence[Any], organization: Organization, asked: Asked) -> Held:
    in_money = {rule.id for rule in asked.rules if rule.is_money and rule.is_hard}
    authorization = Authorization(
        id=parameters["id"], organization=organization, idempotency_key=parameters["idempotency_key"],
        session_key=parameters["session"], model=parameters["model"], amount=parameters["amount"], currency=parameters["currency"],
        periods=[row.id for row in rows if row.id is not None], amounts=[row.asked for row in rows if row.id is not None], created_at=parameters["now"], expires_at=parameters["expires_at"],
    )
    left = [row.limit_amount + row.topup - row.spent - row.held - row.asked for row in rows if row.id is not None and row.budget_id in in_money]
    return Held(authorization, min(left) if left else None, is_new=True)


def _attribution_named(rules: Rules, request: AuthorizationIn, api_key: ApiKey | None) -> Attribution:
    """Whom the call belongs to by its labels alone."""
    key_member = api_key.member_id if api_key is not None else None
    return attribute(rules.directory, team=request.team, project=request.project, member=request.member, key_member_id=key_member)


def _is_settled(request: AuthorizationIn, who: Attribution) -> bool:
    """Whether the session's earlier calls cannot add to whom the call belongs to."""
    named = ((request.team, who.team_id), (request.project, who.project_id), (request.member, who.member_id))
    return all(label or found is not None for label, found in named)


def _attribution(rules: Rules, request: AuthorizationIn, state: Any, api_key: ApiKey | None) -> Attribution:
    """Whom the call belongs to: by its labels, else as the session's earlier calls did."""
    who = _attribution_named(rules, request, api_key)
    if not state.is_known:
        return who
    return Attribution(
        who.team_id if request.team or who.team_id is not None else state.team_id,
        who.project_id if request.project or who.project_id is not None else state.project_id,
        who.member_id if request.member or who.member_id is not None else state.member_id,
    )


def _call(request: AuthorizationIn, who: Attribution, api_key: ApiKey | None, estimate: Estimate) -> Call:
    """The call as budgets will see it when its event comes under the same labels."""
    rating = estimate.rating
    return Call(
        who, request.session, request.task, api_key.pk if api_key is not None else None, api_key.service_account_id if api_key is not None else None,
        provider=rating.provider if rating is not None else request.provider, maker=rating.maker if rating is not None else "",
        model=rating.model if rating is not None else request.model, tier=rating.tier if rating is not None else "",
        harness=request.harness.lower(), gateway=request.gateway.lower(), role=request.role, task_class=request.task_class,
        environment=request.environment, billing_mode=request.billing_mode or METERED, tags=request.tags or {},
    )


def _asked(rules: Rules, call: Call, estimate: Estimate, now: datetime) -> Asked:
    """What is held of every budget that applies. Without a price it is the highest placeholder among them."""
    found = [
        (rule, key) for rule in rules.matching(call)
        if (rule.counts_notional or not call.is_notional) and (key := rules.period(rule, now, call)) is not None
    ]
    applying = [rule for rule, _ in found]
    amount = estimate.amount
    if amount is None:
        amount = max((rule.unpriced_call_amount or ZERO for rule in applying), default=ZERO)
    held = [rule.measured(amount=amount, tokens=estimate.tokens, calls=1, unpriced_calls=0) for rule in applying]
    return Asked(amount, applying, [key for _, key in found], held, [rule.refuses(call) for rule in applying])


def _estimate(request: AuthorizationIn, now: datetime) -> Estimate:
    """By the amount given, else by the price book, which knows no price without a model or tokens."""
    counts = (request.input_tokens, request.cache_read_tokens, request.max_output_tokens)
    usage = Usage(input_tokens=request.input_tokens, cache_read_tokens=request.cache_read_tokens, output_tokens=request.max_output_tokens)
    rating = None
    if request.model:
        rating = current_book().rate(provider=request.provider, model=request.model, at=now, usage=usage, context=request.tags)
    amount = rating.cost if rating is not None and any(count is not None for count in counts) else None
    return Estimate(amount if request.amount is None else quantize(request.amount), sum(count or 0 for count in counts), rating)


def _check_currency(request: AuthorizationIn, asked: Asked) -> None:
    if not asked.is_in_currency(request.currency):
        raise Invalid(f"The budgets that apply are kept in {asked.rules[0].currency}.", field="currency")


def _binding_order(row: Any) -> tuple[bool, Decimal]:
    """Of the periods that refuse, a session's or task's own comes first, then the tightest."""
    return row.session_key + row.task_key == "", row.limit_amount + row.topup - row.spent - row.held


def _refusal(organization: Organization, rules: Rules, binding: Any, *, request: AuthorizationIn, who: Attribution) -> PaymentRequired:
    rule = rules.by_id[binding.budget_id]
    allowance, left = binding.limit_amount + binding.topup, _left(binding)
    subject = f" for session {binding.session_key}" if binding.session_key else f" for task {binding.task_key}" if binding.task_key else ""
    advice = {"advice": {"action": "downgrade", "models": sorted(rule.downgrade_models)}} if rule.action == Budget.Action.DOWNGRADE else {}
    return PaymentRequired(
        f"The budget “{rule.name}”{subject} {_standing(binding, rule.unit)}",
        is_frozen=binding.frozen_at is not None,
        budget={"id": rule.id, "name": rule.name, "scope": rule.scope_kind, "period": binding.id, "starts_at": binding.starts_at, "ends_at": binding.ends_at},
        session=request.session, measure=rule.measure, currency=rule.currency, limit=digits(allowance), spent=digits(binding.spent),
        held=digits(binding.held), left=digits(left), amount=digits(binding.asked), short_by=digits(binding.asked - left),
        approvers=deciders_of(organization, _deciding_team(rule, who)),
        request_url=_request_url(organization, binding.id, request.session), **advice,
    )


def _standing(binding: Any, unit: str) -> str:
    """How the budget stands, in words that agree with the figures beside them."""
    allowance, left = binding.limit_amount + binding.topup, _left(binding)
    if binding.frozen_at is None and (not binding.is_enforced or binding.asked <= allowance - binding.spent - binding.held):
        return (
            f"cannot hold {written(binding.asked)} {unit} more: spent and held would come to more than {LARGEST_SUM:,} {unit}, "
            "the most that is kept for any period. This is not its limit, and granting more does not help."
        )
    size, limit, asked = written_apart(abs(left), allowance, binding.asked)
    how = "is frozen" if binding.frozen_at is not None else "has too little left"
    if left < 0:
        held = ", what is held included" if binding.held > 0 else ""
        return f"{how}: it is {size} {unit} over its limit of {limit}{held}; {asked} asked for."
    return f"{how}: {size} {unit} left of {limit}, {asked} asked for."


def _left(binding: Any) -> Decimal:
    """What may be held in addition: less than nothing after an excess. Only the largest sum bounds a soft budget."""
    room: Decimal = LARGEST_SUM - binding.spent - binding.held
    return min(room, binding.limit_amount + binding.topup - binding.spent - binding.held) if binding.is_enforced else room


def _deciding_team(rule: Rule, who: Attribution) -> int | None:
    """The team whose approvers answer for the budget: its own, or for a session's limit that names none the session's."""
    return who.team_id if rule.team_id is None and rule.scope_kind in (Budget.ScopeKind.SESSION, Budget.ScopeKind.TASK) else rule.team_id


def _refusal_by_hand(actor: Actor, request: AuthorizationIn, state: Any) -> PaymentRequired:
    organization = actor.organization
    return PaymentRequired(
        f"Session {request.session} was frozen by hand: {state.reason}",
        is_frozen=True, session=request.session, freeze=state.freeze_id, approvers=deciders_of(organization, state.team_id),
        request_url=session_link(organization.slug, request.session),
    )


def _request_url(organization: Organization, period_id: int, session_key: str) -> str:
    query = urlencode({"period": period_id} | ({"session": session_key} if session_key else {}))
    return f"{settings.PUBLIC_URL}/o/{organization.slug}/approvals/new?{query}"
