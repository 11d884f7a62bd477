"""What a call asks for: whom it belongs to, what it may cost, and how much of each budget that applies it takes. Pure but for the price book."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from governance.attribution.matching import LABELS, Facts
from governance.attribution.rules import AttributionRules, attribution_rules_of
from governance.budgets.calls import METERED, Call
from governance.budgets.rules import PeriodKey, Rule, Rules
from governance.errors import Invalid
from governance.money import AmountTooLarge, quantize
from governance.pricing.book import current_book
from governance.pricing.terms import exchanged, terms_of
from governance.pricing.usage import Rating, Usage
from governance.tenancy.directory import Attribution, Directory, attribute
from governance.tenancy.models import ApiKey

ZERO = Decimal(0)
Name = Annotated[str, Meta(max_length=200)]
KeyName = Annotated[str, Meta(min_length=1, max_length=200)]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Ttl = Annotated[int, Meta(ge=1, le=86_400)]
SMALLEST = Decimal("1e-15")


class AuthorizationIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """May this call, or of a lease may these calls, go on? The amount is given, or estimated from model and tokens by the price book."""

    session: Name = ""
    parent_session: Name = ""
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
    # Of the amounts; None: the organization's.
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None
    ttl_seconds: Ttl = 300
    lease: bool = False
    calls: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    allow_partial: bool = False
    min_amount: Decimal | None = None
    id: KeyName | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks for: an amount of money, and of each budget that applies so much in its own measure."""

    amount: Decimal
    rules: Sequence[Rule]
    keys: Sequence[PeriodKey]
    held: Sequence[Decimal]
    is_enforced: Sequence[bool]
    # What each takes at the least: as much, unless a part of it is welcome.
    least: Sequence[Decimal]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call will take by its own account: its price, where one can be told, its tokens, and the model's names in the catalogue."""

    amount: Decimal | None
    tokens: int
    rating: Rating | None
    calls: int = 1
    # What it takes at the least, by measure, where a part is welcome.
    least: Mapping[str, Decimal] | None = None


def with_defaults(request: AuthorizationIn, api_key: ApiKey | None) -> AuthorizationIn:
    """The request with the key's default labels where it names none."""
    if api_key is None or not api_key.defaults:
        return request
    missing = {name: value for name, value in api_key.defaults.items() if not getattr(request, name, "")}
    return msgspec.structs.replace(request, **missing)


def as_attributed(
    rules: Rules, request: AuthorizationIn, api_key: ApiKey | None, *, now: datetime, state: Any = None
) -> tuple[AuthorizationIn, Attribution]:
    """The request with the labels that attribution rules give its call, and whom that belongs to: by labels and rules, else as the session's earlier calls did.

    Without the session's `state` by labels and rules alone.
    """
    own = attribution_rules_of(rules.directory)
    if own:
        request, who = _ruled(own, request, api_key, now)
    else:
        key_member = api_key.member_id if api_key is not None else None
        who = attribute(rules.directory, team=request.team, project=request.project, member=request.member, key_member_id=key_member)
    if state is None or not state.is_known:
        return request, who
    return request, Attribution(
        who.team_id if request.team or who.team_id is not None else state.team_id,
        who.project_id if request.project or who.project_id is not None else state.project_id,
        who.member_id if request.member or who.member_id is not None else state.member_id,
    )


def _ruled(own: AttributionRules, request: AuthorizationIn, api_key: ApiKey | None, now: datetime) -> tuple[AuthorizationIn, Attribution]:
    """As rules decide when the call's event comes under the same labels. They see the price book's names of its model; its door is not known yet."""
    named = terms_of(own.directory).rate(
        current_book(), provider=request.provider, model=request.model, at=now, usage=Usage(), context=request.tags, team_id=None, is_metered=True
    )
    decision = own.decide(Facts(
        now, request.team, request.project, request.member, api_key.name if api_key is not None else "", api_key.member_id if api_key is not None else None,
        request.harness.lower(), request.gateway.lower(), named.provider, named.maker, named.model, request.model, named.tier, "", request.session, request.task,
        request.role, request.task_class, request.environment, request.billing_mode or METERED, request.tags or {},
    ))  # fmt: skip
    if not decision.by:
        return request, decision.who
    labels: dict[str, Any] = {name: getattr(decision, name) for name in LABELS}
    return msgspec.structs.replace(request, **labels), decision.who


def is_attributed(request: AuthorizationIn, who: Attribution) -> bool:
    """Whether the session's earlier calls cannot add to whom the call belongs to."""
    named = ((request.team, who.team_id), (request.project, who.project_id), (request.member, who.member_id))
    return all(label or found is not None for label, found in named)


def call_asked(request: AuthorizationIn, who: Attribution, api_key: ApiKey | None, estimate: Estimate) -> Call:
    """The call as budgets will see it when its event comes under the same labels."""
    rating = estimate.rating
    return Call(
        who, request.session, request.task, api_key.pk if api_key is not None else None, api_key.service_account_id if api_key is not None else None,
        provider=rating.provider if rating is not None else request.provider, maker=rating.maker if rating is not None else "",
        model=rating.model if rating is not None else request.model, tier=rating.tier if rating is not None else "",
        harness=request.harness.lower(), gateway=request.gateway.lower(), role=request.role, task_class=request.task_class,
        environment=request.environment, billing_mode=request.billing_mode or METERED, tags=request.tags or {},
    )


def asked_of(rules: Rules, call: Call, estimate: Estimate, now: datetime) -> Asked:
    """What is held of every budget that applies. Without a price it is the highest placeholder among them."""
    found = [
        (rule, key) for rule in rules.matching(call)
        if (rule.counts_notional or not call.is_notional) and (key := rules.period(rule, now, call)) is not None
    ]
    applying = [rule for rule, _ in found]
    amount = estimate.amount
    if amount is None:
        amount = max((rule.unpriced_call_amount or ZERO for rule in applying), default=ZERO)
    held = [rule.measured(amount=amount, tokens=estimate.tokens, calls=estimate.calls, unpriced_calls=0) for rule in applying]
    least = [min(of_rule, estimate.least[rule.measure]) for rule, of_rule in zip(applying, held, strict=True)] if estimate.least else held
    return Asked(amount, applying, [key for _, key in found], held, [rule.refuses(call) for rule in applying], least)


def estimate_of(request: AuthorizationIn, now: datetime, *, directory: Directory, who: Attribution) -> Estimate:
    """By the amount given, else by what the organization pays for it, which is not known without a model or tokens."""
    counts = (request.input_tokens, request.cache_read_tokens, request.max_output_tokens)
    usage = Usage(input_tokens=request.input_tokens, cache_read_tokens=request.cache_read_tokens, output_tokens=request.max_output_tokens)
    rating = None
    if request.model:
        rating = terms_of(directory).rate(
            current_book(), provider=request.provider, model=request.model, at=now, usage=usage, context=request.tags, team_id=who.team_id,
            is_metered=(request.billing_mode or METERED) == METERED,
        )
    amount = rating.cost if rating is not None and any(count is not None for count in counts) else None
    if request.amount is not None:
        amount = _in_own_currency(request, request.amount, directory, now)
    return Estimate(amount, sum(count or 0 for count in counts), rating, request.calls, _least(request, directory, now))


def _in_own_currency(request: AuthorizationIn, amount: Decimal, directory: Directory, now: datetime) -> Decimal:
    """An amount of the request in the organization's currency, at the exchange rate of now. Raises Invalid where none is known."""
    given = request.currency or directory.currency
    if given == directory.currency:
        return quantize(amount)
    exchange = terms_of(directory).exchange(current_book(), given, now)
    if exchange is None:
        raise Invalid(f"No exchange rate from {given} to {directory.currency} is known today. Ask in {directory.currency}.", field="currency")
    try:
        return exchanged(amount, exchange.rate)
    except AmountTooLarge:
        raise Invalid("The amount is too large.", field="amount") from None


def _least(request: AuthorizationIn, directory: Directory, now: datetime) -> Mapping[str, Decimal] | None:
    """What is granted at the least where a part is welcome: what goes in cannot be shortened, and something has to come out."""
    if not request.allow_partial:
        return None
    taken = (request.input_tokens or 0) + (request.cache_read_tokens or 0)
    least = ZERO if request.min_amount is None else _in_own_currency(request, request.min_amount, directory, now)
    return {"money": max(least, SMALLEST), "tokens": Decimal(taken + min(1, request.max_output_tokens or 0)), "calls": Decimal(1)}
