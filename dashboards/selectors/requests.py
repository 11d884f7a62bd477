"""Requests as pages show them: the queue by what is blocked now, and everything a decision on one of them needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Sum, Value, When

from dashboards.insights.cheaper import Cheaper, PricedCall, Rate, cheapest
from dashboards.insights.forecast import Lasting, lasting
from dashboards.insights.granting import Balance, Effect, binding, buys, effects, usable
from dashboards.selectors import burn, periods, sessions
from dashboards.selectors.arithmetic import usage_of
from dashboards.selectors.budget_course import histories
from governance.approvals.models import ApprovalRequest
from governance.approvals.selectors import requests_visible
from governance.approvals.standing import Standing
from governance.budgets.models import Budget, BudgetPeriod, Freeze, Session
from governance.budgets.selectors import binding_periods, freezes_reaching
from governance.budgets.tree import scope_team, team_tree
from governance.pricing.book import current_book
from governance.pricing.models import Tier
from governance.pricing.terms import terms_now
from governance.pricing.usage import Rating, Usage
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Organization
from ingest.models import UsageEvent, UsageRollupDay

ZERO = Decimal(0)
CALLS_COMPARED = 12
USED_WITHIN = timedelta(days=30)
MODELS_COMPARED = 8


@dataclass(frozen=True, slots=True)
class Docket:
    """What a decider should know of one request. `amount` is the most that can come of it, less than was asked for once somebody granted less.

    `overrun` is how far the period is past its limit already, 0 when it is not.

    `lasting` is how long what is left to spend once it is granted lasts; `buys` is the amount less the overrun, and `usable` what of
    that can be spent before the wider budgets named in `binding` stop the work.
    """

    request: ApprovalRequest
    amount: Decimal
    session: Session | None
    calls: Sequence[UsageEvent]
    burn: Decimal
    lasting: Lasting | None
    effects: Sequence[Effect]
    overrun: Decimal
    buys: Decimal
    usable: Decimal
    binding: Sequence[str]
    freezes: Sequence[Freeze]
    cheaper: Cheaper | None

    @property
    def is_blocked(self) -> bool:
        return bool(self.freezes)


def queue(actor: Actor, *, state: str = "pending") -> QuerySet[ApprovalRequest]:
    """The requests the actor may see in a state ("pending", "decided" or "all"): blocked work first, then the longest waiting."""
    frozen = Freeze.objects.filter(organization=actor.organization, ended_at=None)
    blocked = Case(
        When(Exists(frozen.filter(session_key=OuterRef("session_key")).exclude(session_key="")), then=Value(2)),
        When(Exists(frozen.filter(period=OuterRef("period"))), then=Value(1)),
        default=Value(0),
    )
    rows = requests_visible(actor).select_related(
        "requester__user",
        "requester__team",
        "period__budget__team",
        "period__budget__project",
        "period__budget__member__user",
        "decision__decider__user",
    )
    rows = rows.annotate(blocked=blocked)
    if state == "pending":
        return rows.filter(state=ApprovalRequest.State.PENDING).order_by("-blocked", "created_at", "id")
    if state == "decided":
        rows = rows.exclude(state=ApprovalRequest.State.PENDING)
    return rows.order_by("-created_at", "-id")


def active_freezes_on(actor: Actor, period_ids: Sequence[int], session_key: str) -> list[Freeze]:
    """The freezes that stand against a session, or against budget periods, latest first."""
    wanted = Q(period__in=period_ids)
    if session_key:
        wanted |= Q(session_key=session_key)
    rows = scoped(actor, Freeze.objects.filter(wanted, ended_at=None))
    return list(rows.select_related("period__budget", "started_by__user").order_by("-started_at", "-id"))


def periods_touched(actor: Actor, request: ApprovalRequest) -> list[BudgetPeriod]:
    """The asked period first, then every wider one that the money would be spent from."""
    asked = request.period
    covering = binding_periods(actor, request.session_key) if request.session_key else wider_periods(actor, asked)
    return [asked, *(period for period in covering if period.pk != asked.pk)]


def wider_periods(actor: Actor, asked: BudgetPeriod) -> list[BudgetPeriod]:
    """The current periods of the budgets above one: the teams above, then the organization."""
    budget = asked.budget
    tree = team_tree(actor)
    team_id = scope_team(budget)
    teams = set(tree.above.get(team_id, ())) if team_id else set()
    if team_id and budget.scope_kind != Budget.ScopeKind.TEAM:
        teams.add(team_id)
    above = Q(scope_kind=Budget.ScopeKind.TEAM, team__in=teams)
    if budget.scope_kind != Budget.ScopeKind.ORGANIZATION:
        above |= Q(scope_kind=Budget.ScopeKind.ORGANIZATION)
    rows = scoped(
        actor, BudgetPeriod.objects.filter(budget__in=scoped(actor, Budget.objects.filter(above, is_active=True)), session_key="", task_key="")
    )
    running = rows.filter(Q(ends_at=None) | Q(ends_at__gt=asked.created_at), starts_at__lte=asked.created_at)
    return list(running.select_related("budget").order_by("-budget__team_id", "id"))


def balances(actor: Actor, touched: Sequence[BudgetPeriod], *, frozen: set[int], amount: Decimal, now: datetime) -> list[Balance]:
    """The touched periods as balances; the wider ones with their forecast after the amount is spent on top."""
    wider = [period.budget for period in touched if periods.has_course(period.budget)]
    paces: Mapping[int, Mapping[date, Decimal]] = histories(actor, wider, now=now) if wider else {}
    found, asked = [], touched[0].budget
    for position, period in enumerate(touched):
        exhausted_at = None
        if position and period.budget_id in paces:
            period.organization = actor.organization
            raised = BudgetPeriod(
                organization=actor.organization,
                ends_at=period.ends_at,
                limit_amount=period.limit_amount,
                topup=period.topup,
                spent=period.spent + amount,
            )
            course = periods.period_forecast(raised, paces[period.budget_id], now=now)
            exhausted_at = course.exhausted_at if course and period.ends_at else None
        name = f"{period.budget.name}, session {period.session_key}" if period.session_key else period.budget.name
        found.append(
            Balance(
                name,
                period.spent,
                period.held,
                period.limit_amount + period.topup,
                period.is_hard,
                period.pk in frozen,
                position == 0,
                exhausted_at,
                (period.budget.measure, period.budget.currency) == (asked.measure, asked.currency),
                period.budget_id,
            )
        )
    return found


def request_case(actor: Actor, request: ApprovalRequest, *, now: datetime, standing: Standing | None = None) -> Docket:
    """Everything the request's page shows beside the form. Call only for a request the actor may see."""
    amount = (standing or Standing(request, now=now)).most_open if request.state == ApprovalRequest.State.PENDING else ZERO
    session = scoped(actor, Session.objects.filter(key=request.session_key)).first() if request.session_key else None
    calls = sessions.session_calls(session) if session else []
    touched = periods_touched(actor, request)
    freezes = active_freezes_on(actor, [period.pk for period in touched], request.session_key)
    known = {freeze.pk for freeze in freezes}
    freezes += [freeze for freeze in freezes_reaching(actor, request.session_key) if freeze.pk not in known] if session else []
    frozen = {freeze.period_id for freeze in freezes if freeze.period_id}
    by_hand = any(freeze.period_id is None for freeze in freezes)
    billed = [(call.occurred_at, call.cost) for call in calls if call.cost is not None and burn.is_billed(call)]
    burning = burn.burn_of(calls, until=calls[-1].occurred_at) if calls else ZERO
    is_money = request.period.budget.measure == Budget.Measure.MONEY
    stood = balances(actor, touched, frozen=frozen, amount=amount, now=now)
    return Docket(
        request=request,
        amount=amount,
        session=session,
        calls=calls,
        burn=burning,
        lasting=lasting(stood[0].left + amount, billed, burn=burning) if is_money else None,
        effects=effects(stood, amount, has_hand_freeze=by_hand),
        overrun=max(-stood[0].left, ZERO),
        buys=buys(stood[0], amount),
        usable=ZERO if by_hand else usable(stood, amount),
        binding=binding(stood, amount),
        freezes=freezes,
        cheaper=cheaper_way(actor, calls, now=now),
    )


def cheaper_way(actor: Actor, calls: Sequence[UsageEvent], *, now: datetime) -> Cheaper | None:
    """What the last billed calls would have cost on an economy model that the organization uses already; None where it is not true."""
    billed = [call for call in calls if call.cost and burn.is_billed(call) and call.status == "ok"][-CALLS_COMPARED:]
    if not billed or len({call.currency for call in billed}) > 1:
        return None
    priced = [PricedCall(call.provider, call.model, call.occurred_at, usage_of(call), call.cost or ZERO, call.currency) for call in billed]
    return cheapest(priced, economy_models(actor, now=now), rate_for(actor.organization, team_id=billed[-1].team_id))


def economy_models(actor: Actor, *, now: datetime, task_classes: Sequence[str] = ()) -> list[tuple[str, str]]:
    """The (provider, model) pairs of the economy tier that the organization sent most tokens to in the last 30 days."""
    first = (now - USED_WITHIN).astimezone(actor.organization.zone).date()
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=first, tier=Tier.ECONOMY))
    if task_classes:
        rows = rows.filter(task_class__in=task_classes)
    found = (
        rows.order_by()
        .values_list("provider", "model")
        .annotate(sent=Sum("input_tokens") + Sum("cache_read_tokens"))
        .order_by("-sent", "model")
    )
    return [(provider, model) for provider, model, _ in found[:MODELS_COMPARED]]


def rate_for(organization: Organization, *, team_id: int | None) -> Rate:
    """What a call of the team would cost the organization on another model: at its own terms, as the calls beside it."""
    terms, book = terms_now(organization), current_book()

    def rate(provider: str, model: str, at: datetime, usage: Usage) -> Rating:
        return terms.rate(book, provider=provider, model=model, at=at, usage=usage, team_id=team_id)

    return rate
