"""Tells organizations of readings of price sources: notices to those who look after prices, signals, and offers to rate calls again."""

import logging
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from urllib.parse import quote

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.notices.messages import amount_text, instant_text
from governance.notices.models import Notice, Signal
from governance.notices.services import notice_add
from governance.notices.signals import signal_add
from governance.pricing.changing import keeps_book
from governance.pricing.models import PriceFinding, PriceRun, RatingProposal
from governance.pricing.sync.services import doubt_words
from governance.pricing.sync.trust import label_of
from governance.tenancy.access import RIGHTS, Right
from governance.tenancy.models import Member, Organization, Team
from ingest.price_changes.effect import Effect, calls_since, effects_of

log = logging.getLogger(__name__)
Kind, State = PriceFinding.Kind, PriceFinding.State
MOST_LINES = 12
# A source that has worked is missed after so many days in a row; one that never has (no network here) is not.
MISSED_AFTER = 3
RUNS_AT_ONCE = 50


def changes_tell(*, now: datetime | None = None) -> int:
    """Tells every organization of the runs that nobody was told of. Returns how many runs there were."""
    at = now or timezone.now()
    runs = list(PriceRun.objects.filter(told_at=None).order_by("id").values_list("id", flat=True)[:RUNS_AT_ONCE])
    for run_id in runs:
        _tell(run_id, now=at)
    return len(runs)


@transaction.atomic
def _tell(run_id: int, *, now: datetime) -> None:
    run = PriceRun.objects.select_for_update(skip_locked=True).filter(pk=run_id, told_at=None).first()
    if run is None:
        return
    findings = list(run.findings.exclude(state__in=[State.REJECTED, State.OVERTAKEN]).defer("says").order_by("provider", "slug"))
    for finding in findings:
        finding.run = run
    for organization in Organization.objects.order_by("id"):
        if run.state == PriceRun.State.FAILED:
            _tell_missed(organization, run)
        elif findings:
            _tell_found(organization, run, findings, now=now)
    # A source that fails is looked at again until it is missed or works again.
    is_over = run.failures >= MISSED_AFTER or PriceRun.objects.filter(source=run.source, id__gt=run.pk).exists()
    if run.state != PriceRun.State.FAILED or is_over:
        run.told_at = now
        run.save(update_fields=["told_at"])


def _tell_found(organization: Organization, run: PriceRun, findings: Sequence[PriceFinding], *, now: datetime) -> None:
    effects = effects_of(organization, findings, now=now, with_budgets=True)
    felt = [effect for effect in effects if effect.is_felt]
    waiting = [finding for finding in findings if finding.state == State.WAITING] if keeps_book(organization) else []
    for finding in findings:
        if finding.is_back_dated and finding.state in (State.APPLIED, State.ACCEPTED):
            proposal_add(organization, finding, now=now)
    if not felt and not waiting:
        return
    mark = max((finding.decided_at or run.finished_at for finding in findings), default=run.finished_at)
    notice_add(
        organization=organization, recipients=keepers_of_prices(organization), subject=subject_of(felt, waiting, organization),
        body=body_of(organization, run, felt, waiting), key=f"prices:{run.pk}:{mark.isoformat()}", kind=Notice.Kind.PRICES,
    )  # fmt: skip
    if felt:
        signal_add(organization=organization, kind=Signal.Kind.PRICES_CHANGED, facts=facts_of(organization, run, felt))


def _tell_missed(organization: Organization, run: PriceRun) -> None:
    """Once, when a source that has worked has failed for days."""
    worked = PriceRun.objects.filter(source=run.source, id__lt=run.pk).exclude(state=PriceRun.State.FAILED).exclude(digest="")
    if run.failures < MISSED_AFTER or not worked.exists():
        return
    lines = [
        f"The prices of {label_of(run.source)} could not be read {run.failures} times in a row. The price book is as it was.",
        "",
        f"Last time:  {run.problem}",
        f"Since:      {instant_text(run.started_at, organization.zone)}",
        "",
        "You are not told again until it has worked in between.",
        "",
        changes_link(organization.slug),
    ]
    notice_add(
        organization=organization, recipients=keepers_of_prices(organization), subject=f"Prices of {label_of(run.source)} cannot be read",
        body="\n".join(lines), key=f"prices-missed:{run.pk}", kind=Notice.Kind.PRICES,
    )  # fmt: skip


def proposal_add(organization: Organization, finding: PriceFinding, *, now: datetime) -> RatingProposal | None:
    """Offers to rate an organization's calls again that were made since a price that was found late. None where there are none."""
    if finding.valid_from is None:
        return None
    calls, difference = calls_since(organization, finding, until=now)
    if not calls:
        return None
    reason = f"{finding.provider} {finding.slug} costs otherwise since {finding.valid_from:%Y-%m-%d}; found on {finding.run.started_at:%Y-%m-%d} in {label_of(finding.run.source)}"
    proposal, _ = RatingProposal.objects.get_or_create(
        organization=organization, finding=finding, provider=finding.provider, model=finding.slug,
        defaults={
            "starts_at": finding.valid_from, "ends_at": now, "reason": reason[:300], "calls": calls, "difference": difference,
            "currency": organization.currency,
        },
    )  # fmt: skip
    return proposal


def keepers_of_prices(organization: Organization) -> list[Member]:
    """The active people who may change prices."""
    roles = [role for role, rights in RIGHTS.items() if Right.MANAGE_PRICES in rights]
    people = Member.objects.filter(organization=organization, role__in=roles, is_active=True, user__is_active=True)
    return list(people.select_related("user", "team").order_by("id"))


def subject_of(felt: Sequence[Effect], waiting: Sequence[PriceFinding], organization: Organization) -> str:
    if not felt:
        return f"{len(waiting)} {'price waits' if len(waiting) == 1 else 'prices wait'} for a decision"
    total = sum((effect.difference for effect in felt), Decimal(0))
    first = felt[0].finding
    more = f" and {len(felt) - 1} more" if len(felt) > 1 else ""
    return f"{first.slug} {percent_text(first.change)}{more}: {signed_text(total, organization.currency)} on last month's bill"


def body_of(organization: Organization, run: PriceRun, felt: Sequence[Effect], waiting: Sequence[PriceFinding]) -> str:
    """What changed, by how much, what last month would have cost, who is affected, what waits."""
    lines = [f"{label_of(run.source)} was read on {instant_text(run.finished_at, organization.zone)}."]
    teams = dict(Team.objects.filter(organization=organization).values_list("id", "name"))
    for effect in felt[:MOST_LINES]:
        lines += ["", *_effect_lines(organization, effect, teams)]
    if len(felt) > MOST_LINES:
        lines += ["", f"{len(felt) - MOST_LINES} more are on the page below."]
    if waiting:
        lines += ["", "These wait until somebody says that they are right; calls go on being rated as before:"]
        lines += [f"  {finding.provider} {finding.slug}: {', '.join(doubt_words(finding.suspicions))}" for finding in waiting[:MOST_LINES]]
        lines += [f"  and {len(waiting) - MOST_LINES} more"] if len(waiting) > MOST_LINES else []
    lines += ["", "The effect is an estimate: that month's calls at the new ordinary price.", "", changes_link(organization.slug, run.pk)]
    return "\n".join(lines)


def _effect_lines(organization: Organization, effect: Effect, teams: dict[int, str]) -> list[str]:
    finding, currency = effect.finding, organization.currency
    waits = " (waits for a decision)" if finding.state == State.WAITING else ""
    begins = f", from {instant_text(finding.valid_from, organization.zone)}" if finding.valid_from else ""
    lines = [
        f"{finding.provider} {finding.slug}: {percent_text(finding.change)}{begins}{waits}",
        f"  {effect.month:%B %Y}: {amount_text(effect.before, currency)}; at the new price {amount_text(effect.after, currency)} ({signed_text(effect.difference, currency)})",
    ]
    shares = sorted(effect.by_team.items(), key=lambda item: -abs(item[1]))[:5]
    named = [f"{teams.get(team, 'no team') if team else 'no team'} {signed_text(amount, currency)}" for team, amount in shares if amount]
    lines += [f"  Teams: {', '.join(named)}"] if named else []
    for budget in effect.budgets[:5]:
        over = ", over its limit" if budget.will_run_out else ""
        lines.append(f"  Budget {budget.name}: forecast {amount_text(budget.expected, currency)}, now {amount_text(budget.expected_after, currency)}{over}")
    return lines


def facts_of(organization: Organization, run: PriceRun, felt: Sequence[Effect]) -> dict[str, object]:
    """What programs are told: each model that is used here, its change, and what it does to the bill."""
    changes = [
        {
            "provider": effect.finding.provider, "model": effect.finding.slug, "state": effect.finding.state, "change": effect.finding.change,
            "valid_from": effect.finding.valid_from, "announced_at": effect.finding.announced_at, "month": effect.month, "calls": effect.calls,
            "before": effect.before, "after": effect.after, "teams": [team for team in effect.by_team if team is not None],
            "budgets": [{"budget": budget.budget_id, "expected": budget.expected, "expected_after": budget.expected_after} for budget in effect.budgets],
        }
        for effect in felt
    ]  # fmt: skip
    return {"run": run.pk, "source": run.source, "currency": organization.currency, "changes": changes, "url": changes_link(organization.slug, run.pk)}


def percent_text(change: Decimal | None) -> str:
    """+83 %, -12.5 %; "changed" where there is nothing to compare."""
    if change is None:
        return "changed"
    percent = (change * 100).quantize(Decimal("0.1")).normalize()
    return f"{'+' if percent > 0 else ''}{percent:f} %"


def signed_text(amount: Decimal, currency: str) -> str:
    return f"{'+' if amount > 0 else ''}{amount_text(amount, currency)}"


def changes_link(slug: str, run_id: int | None = None) -> str:
    """The page of changes, or of one run's."""
    tail = f"/{run_id}" if run_id is not None else ""
    return f"{settings.PUBLIC_URL}/o/{quote(slug)}/prices/changes{tail}"
