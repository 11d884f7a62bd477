"""The evidence on a request, as pages and the API show it: what ran, how fast it burns, and what a grant does to every budget above."""

from datetime import datetime
from decimal import Decimal

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce

from dashboards.components.figures import money_text
from dashboards.selectors import requests
from dashboards.selectors.requests import Docket
from governance.approvals.evidence import BudgetEffect, CallSeen, Evidence, ModelUse
from governance.approvals.models import ApprovalRequest
from governance.tenancy.access import Actor, scoped
from ingest.models import UsageEvent, UsageRollupDay

MODELS_SHOWN = 12
LAST_CALLS = 8


def evidence(actor: Actor, request: ApprovalRequest, *, now: datetime) -> Evidence:
    """The evidence. Only for a request that the actor may see."""
    return evidence_in(actor, requests.request_case(actor, request, now=now), now=now)


def evidence_in(actor: Actor, case: Docket, *, now: datetime) -> Evidence:
    """The same from a docket that was read already."""
    request, session = case.request, case.session
    return Evidence(
        of="session" if session else "requester",
        models=session_models(actor, case) if session else requester_models(actor, request, now=now),
        last_calls=[_seen(call) for call in reversed(case.calls[-LAST_CALLS:])],
        burn_per_minute=case.burn,
        lasts_minutes=(case.lasting.low, case.lasting.high) if case.lasting else None,
        overrun=case.overrun,
        buys=case.buys,
        usable=case.usable,
        warning=warning_of(case),
        budgets=[
            BudgetEffect(
                budget=effect.balance.budget_id, name=effect.balance.name, is_asked=effect.balance.is_asked, is_hard=effect.balance.is_hard,
                is_frozen=effect.balance.is_frozen, spent=_known(effect.balance.spent, effect.balance.is_comparable),
                held=_known(effect.balance.held, effect.balance.is_comparable), limit=_known(effect.balance.allowance, effect.balance.is_comparable),
                limit_after=_known(effect.limit_after, effect.balance.is_comparable), left_after=_known(effect.left_after, effect.balance.is_comparable),
                consequence=effect.consequence, exhausted_at=effect.at, binds=effect.balance.name in case.binding,
            )
            for effect in case.effects
        ],
    )  # fmt: skip


def warning_of(case: Docket) -> str:
    """Whether the grant would be of no use, or of less, because of a wider budget; "" where it would be spent as asked."""
    if case.usable >= case.buys or not case.binding:
        return ""
    who = " and ".join(case.binding)
    binds = "binds" if len(case.binding) == 1 else "bind"
    if case.usable <= 0:
        return f"Granting this alone changes nothing: {who} {binds} first. Raise that as well, or ask there."
    usable = money_text(case.usable, case.request.currency)
    return f"Only {usable} of it can be spent before {who} {binds}."


def session_models(actor: Actor, case: Docket) -> list[ModelUse]:
    """What the session ran, by model, dearest first."""
    session = case.session
    if session is None:
        return []
    rows = scoped(actor, UsageEvent.objects.filter(session=session.key, occurred_at__gte=session.first_at, occurred_at__lte=session.last_at))
    parts = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")
    tokens = sum((Coalesce(F(part), 0) for part in parts[1:]), Coalesce(F(parts[0]), 0))
    found = rows.order_by().values_list("provider", "model").annotate(
        calls=Count("*"), tokens=Sum(tokens), cost=Sum("cost", filter=~Q(billing_mode="subscription"))
    )  # fmt: skip
    return _dearest([ModelUse(*row) for row in found])


def requester_models(actor: Actor, request: ApprovalRequest, *, now: datetime) -> list[ModelUse]:
    """What the requester ran since the period began (or in the last 30 days, where it began before), by model, dearest first."""
    zone = actor.organization.zone
    first = max(request.period.starts_at, now - requests.USED_WITHIN).astimezone(zone).date()
    rows = scoped(actor, UsageRollupDay.objects.filter(member_id=request.requester_id, day__gte=first))
    tokens = F("input_tokens") + F("cache_read_tokens") + F("cache_write_5m_tokens") + F("cache_write_1h_tokens") + F("output_tokens")
    found = rows.order_by().values_list("provider", "model").annotate(
        called=Sum("calls"), sent=Sum(tokens), billed=Sum("cost"), unpriced=Sum("unpriced_calls")
    )  # fmt: skip
    return _dearest([
        ModelUse(provider, model, calls, sent, None if unpriced == calls else billed) for provider, model, calls, sent, billed, unpriced in found
    ])


def _dearest(uses: list[ModelUse]) -> list[ModelUse]:
    return sorted(uses, key=lambda use: (-(use.cost or Decimal(0)), -use.tokens, use.model))[:MODELS_SHOWN]


def _seen(call: UsageEvent) -> CallSeen:
    return CallSeen(call.occurred_at, call.provider, call.model, call.status, call.input_tokens, call.output_tokens, call.cost)


def _known(amount: Decimal, is_comparable: bool) -> Decimal | None:
    return amount if is_comparable else None
