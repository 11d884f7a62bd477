"""What a person can ask more for: the budget periods that stand around a session, or around the person's own work."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_UP, Decimal

from dashboards.components.budget_words import window_words
from dashboards.components.figures import money_text
from dashboards.selectors import burn, periods, sessions
from governance.approvals.models import ApprovalRequest
from governance.budgets.calls import Call
from governance.budgets.models import BudgetPeriod, Freeze, Session
from governance.budgets.selectors import binding_periods, periods_covering, session_freeze_of
from governance.budgets.tree import budgets_visible
from governance.errors import NotFound
from governance.ids import row_id
from governance.tenancy.access import Actor, scoped
from governance.tenancy.directory import Attribution

HOUR_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked on: the session (None: none), what blocks it, the periods to choose from and the one chosen at first.

    `overrun` is how far the chosen period is past its limit already: asking for no more than that lets no call pass.
    """

    session: Session | None
    freeze: Freeze | None
    options: Sequence[BudgetPeriod]
    choices: Sequence[tuple[int, str]]
    chosen: int | None
    pace: Decimal
    suggestion: Decimal | None
    waiting: ApprovalRequest | None
    unit: str = "USD"
    overrun: Decimal = Decimal(0)

    @property
    def session_key(self) -> str:
        return self.session.key if self.session else ""

    @property
    def is_frozen_by_hand(self) -> bool:
        return self.freeze is not None and self.freeze.period_id is None


def asked_for(actor: Actor, *, session_key: str, period_id: str, now: datetime) -> Asked:
    """Reads what the address or the form names. Raises NotFound for a session or period that the actor may not see."""
    session = sessions.session_get(actor, session_key, now=now) if session_key else None
    freeze = session_freeze_of(actor, session.key) if session else None
    options = binding_periods(actor, session.key) if session else own_periods(actor)
    named = named_period(actor, period_id)
    if named is not None and named.pk not in {period.pk for period in options}:
        if session is not None:
            raise NotFound("This budget does not cover the session.")
        options = [named, *options]
    chosen = named.pk if named else freeze.period_id if freeze and freeze.period_id else next((period.pk for period in options), None)
    period = next((period for period in options if period.pk == chosen), None)
    unit = period.budget.unit if period else actor.organization.currency
    calls = sessions.session_calls(session, limit=200) if session else []
    pace = burn.burn_of(calls, until=calls[-1].occurred_at) if calls else Decimal(0)
    return Asked(
        session=session,
        freeze=freeze,
        options=options,
        choices=[(period.pk, period_label(period)) for period in options],
        chosen=chosen,
        pace=pace,
        suggestion=suggested(pace, period) if unit == actor.organization.currency else None,
        unit=unit,
        overrun=overrun_of(period) if period else Decimal(0),
        waiting=waiting_request(actor, options),
    )


def suggested(pace: Decimal, period: BudgetPeriod | None) -> Decimal | None:
    """What to ask for: an hour at this pace a minute, but never more than the budget's own limit, on top of what is over it already.

    None without a pace.
    """
    if pace <= 0:
        return None
    hour = (pace * HOUR_MINUTES).quantize(Decimal(1), rounding=ROUND_UP)
    most = period.limit_amount if period and period.limit_amount > 0 else hour
    over = overrun_of(period) if period else Decimal(0)
    return min(hour, most) + over.quantize(Decimal(1), rounding=ROUND_UP)


def overrun_of(period: BudgetPeriod) -> Decimal:
    """How far the period is past its limit with what is spent and held; 0 when it is not."""
    return max(-period.left, Decimal(0))


def own_periods(actor: Actor) -> list[BudgetPeriod]:
    """The present periods that cover the person's own work, whatever the session."""
    if actor.member is None:
        return []
    return periods_covering(actor, Call(Attribution(actor.member.team_id, None, actor.member.pk)))


def named_period(actor: Actor, period_id: str) -> BudgetPeriod | None:
    """The period with this id, of a budget the actor may see. Raises NotFound."""
    if not period_id:
        return None
    number = row_id(period_id)
    period = scoped(actor, BudgetPeriod.objects.filter(pk=number)).select_related("budget").first() if number is not None else None
    if period is None or not budgets_visible(actor).filter(pk=period.budget_id).exists():
        raise NotFound("There is no such budget period here.")
    if period.session_key:
        sessions.session_get(actor, period.session_key, now=period.created_at)
    return period


def waiting_request(actor: Actor, options: Sequence[BudgetPeriod]) -> ApprovalRequest | None:
    """The actor's own request that waits on one of the periods."""
    waiting = periods.requests_pending(actor, [period.pk for period in options])
    return next((request for request in waiting if actor.member and request.requester_id == actor.member.pk), None)


def period_label(period: BudgetPeriod) -> str:
    """A period as a choice: its budget, what is spent of what, and that it is what blocks."""
    budget = period.budget
    name = f"This {budget.scope_kind} ({budget.name})" if budget.is_template else f"{budget.name}, {window_words(budget)}"
    state = " · frozen" if period.frozen_at else ""
    return f"{name}: {money_text(period.spent, budget.unit)} of {money_text(period.allowance, budget.unit)}{state}"
