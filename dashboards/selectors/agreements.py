"""What an organization agreed, as pages show it: terms in the order they are tried, what is left of balances, what is charged on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.db.models import Sum
from django.utils import timezone

from governance.money import CONTEXT, quantize
from governance.pricing.contracts import Balance, ExchangeRule, Markup, Term
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import Team
from ingest.models import UsageRollupDay

ZERO = Decimal(0)
BURN_DAYS = 28
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A commitment or credit with what its scope was billed: `used` of it, `left`, the day it would be used up and what would be left at its end."""

    balance: Balance
    amount: Decimal
    used: Decimal
    burn: Decimal
    until: date | None
    today: date

    @property
    def left(self) -> Decimal:
        return max(self.amount - self.used, ZERO)

    @property
    def state(self) -> tuple[str, str]:
        """In a word, with its tone."""
        if self.today < self.balance.starts_on:
            return "to come", ""
        if not self.left:
            return "used up", "warn" if self.balance.kind == Balance.Kind.CREDIT else "ok"
        if self.until is not None and self.today >= self.until:
            return "expired", "warn"
        return "running", "ok"

    @property
    def used_up_on(self) -> date | None:
        """When it is used up at the pace of the last four weeks; None where it is not before it ends."""
        if self.state[0] != "running" or not self.burn:
            return None
        days = int((self.left / self.burn).to_integral_value(rounding="ROUND_CEILING"))
        found = self.today + timedelta(days=min(days, 36_500))
        return None if self.until is not None and found >= self.until else found

    @property
    def unused_at_end(self) -> Decimal | None:
        """What would be left of it when it ends, at that pace: of a commitment that is owed all the same, of a credit lost."""
        if self.until is None or self.state[0] != "running":
            return None
        left = self.left - self.burn * max((self.until - self.today).days, 0)
        return max(left, ZERO)


@dataclass(frozen=True, slots=True)
class Charged:
    """A team's cost of some days, and what it is charged inside the organization."""

    team: str
    listed: Decimal
    cost: Decimal
    charged: Decimal


def terms_of_organization(actor: Actor) -> Sequence[Term]:
    """Every term, those in force or to come first, in the order in which they are tried."""
    now = timezone.now()
    rows = list(scoped(actor, Term.objects.select_related("team")))
    rows.sort(key=lambda term: (
        term.valid_to is not None and term.valid_to <= now, not term.model, term.team_id is None, not term.provider, not term.context,
        -term.valid_from.timestamp(), -term.pk,
    ))  # fmt: skip
    return rows


def balances_drawn(actor: Actor) -> list[Drawn]:
    """Every commitment and credit with what is used of it, latest first. Each billed amount draws on one credit: the one that ends first."""
    today = timezone.now().astimezone(actor.organization.zone).date()
    rows = list(scoped(actor, Balance.objects.select_related("team")))
    days = {row.pk: _billed(actor, row) for row in rows}
    used = {row.pk: sum(days[row.pk].values(), ZERO) for row in rows if row.kind == Balance.Kind.COMMITMENT}
    used |= _drawn_credits([row for row in rows if row.kind == Balance.Kind.CREDIT], days)
    found = []
    for row in rows:
        recent = [amount for (day, *_), amount in days[row.pk].items() if day > today - timedelta(days=BURN_DAYS)]
        length = min(BURN_DAYS, max((today - row.starts_on).days + 1, 1))
        found.append(Drawn(row, own_amount(row), used[row.pk], sum(recent, ZERO) / length, row.ends_on, today))
    return found


def own_amount(balance: Balance) -> Decimal:
    """Its amount in the organization's currency, at the rate of its first day."""
    return balance.amount if balance.exchange_rate is None else quantize(CONTEXT.multiply(balance.amount, balance.exchange_rate))


def _billed(actor: Actor, balance: Balance) -> dict[tuple[date, str, str, int | None], Decimal]:
    """What its scope was billed by day, provider, model and team, from the daily sums."""
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=balance.starts_on, cost__gt=0))
    if balance.ends_on is not None:
        rows = rows.filter(day__lt=balance.ends_on)
    for name in ("provider", "model", "team_id"):
        if (wanted := getattr(balance, name)) not in ("", None):
            rows = rows.filter(**{f"{name}__in": _below(actor, wanted)} if name == "team_id" else {name: wanted})
    grouped = rows.order_by().values_list("day", "provider", "model", "team_id").annotate(billed=Sum("cost"))
    return {(day, provider, model, team): billed for day, provider, model, team, billed in grouped}


def _below(actor: Actor, team_id: int) -> list[int]:
    """The team and those below it."""
    parents = dict(scoped(actor, Team.objects.all()).values_list("pk", "parent_id"))
    found, pending = {team_id}, [team_id]
    while pending:
        above = pending.pop()
        below = [pk for pk, parent in parents.items() if parent == above and pk not in found]
        found.update(below)
        pending.extend(below)
    return sorted(found)


def _drawn_credits(
    given: Sequence[Balance], days: dict[int, dict[tuple[date, str, str, int | None], Decimal]]
) -> dict[int, Decimal]:
    """What each credit gave: every billed amount is taken from the first that covers it and has something left, by its end."""
    ordered = sorted(given, key=lambda row: (row.ends_on or date.max, row.starts_on, row.pk))
    left = {row.pk: own_amount(row) for row in ordered}
    billed: dict[tuple[date, str, str, int | None], Decimal] = {}
    for row in ordered:
        billed |= days[row.pk]
    for key in sorted(billed, key=lambda key: (key[0], key[1], key[2], key[3] or 0)):
        owed = billed[key]
        for row in ordered:
            if owed and key in days[row.pk]:
                taken = min(owed, left[row.pk])
                left[row.pk] -= taken
                owed -= taken
    return {row.pk: own_amount(row) - left[row.pk] for row in ordered}


def charged_on(actor: Actor, *, first: date, last: date) -> list[Charged]:
    """What each team is charged for its billed usage from one local day to another, that one included: its cost with its markup of the day."""
    markups = list(scoped(actor, Markup.objects.all()).order_by("valid_from", "pk"))
    names = dict(scoped(actor, Team.objects.all()).values_list("pk", "name"))
    rows = scoped(actor, UsageRollupDay.objects.filter(day__gte=first, day__lte=last, cost__gt=0)).order_by()
    sums: dict[int | None, list[Decimal]] = {}
    for day, team_id, listed, cost in rows.values_list("day", "team_id").annotate(listed=Sum("list_cost"), billed=Sum("cost")):
        found = sums.setdefault(team_id, [ZERO, ZERO, ZERO])
        found[0] += listed
        found[1] += cost
        found[2] += CONTEXT.multiply(cost, (HUNDRED + markup_on(markups, team_id, day)) / HUNDRED)
    lines = [Charged(names.get(team_id, "Not allocated") if team_id is not None else "Not allocated", *map(quantize, found)) for team_id, found in sums.items()]
    return sorted(lines, key=lambda line: (-line.charged, line.team))


def markup_on(markups: Sequence[Markup], team_id: int | None, day: date) -> Decimal:
    """The percent that is added to a team's cost of a day: its own, else that of every team. `markups` are oldest first."""
    own = [row.percent for row in markups if row.valid_from <= day and row.team_id == team_id and team_id is not None]
    every = [row.percent for row in markups if row.valid_from <= day and row.team_id is None]
    return own[-1] if own else every[-1] if every else ZERO


def exchange_rules(actor: Actor) -> Sequence[ExchangeRule]:
    """The organization's rules, latest first."""
    return list(scoped(actor, ExchangeRule.objects.all()))
