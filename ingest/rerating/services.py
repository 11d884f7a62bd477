"""Writes of re-rating: a run is made, worked out, started, paused, resumed, cancelled. What it does to calls is `working`'s."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from governance.audit.services import audit_record
from governance.errors import Conflict, Invalid
from governance.periods import is_kept
from governance.tenancy.access import Actor, Right, get_scoped, require
from governance.tenancy.models import Team
from ingest.amending.models import AmendmentCause
from ingest.rerating.models import ReratingRun
from ingest.rerating.proposals import proposals_settle
from ingest.services.amend import Cause, cause_record

State = ReratingRun.State
LONGEST = timedelta(days=400)
MOST_NAMES = 50
ACTIVE = (State.RUNNING, State.PAUSED)
Kind = ReratingRun.Kind
RIGHTS: dict[str, Right] = {Kind.RATING: Right.MANAGE_PRICES, Kind.ATTRIBUTION: Right.MANAGE_ORGANIZATION}
CAUSES = {Kind.RATING: AmendmentCause.Kind.RERATING, Kind.ATTRIBUTION: AmendmentCause.Kind.ATTRIBUTION}


@transaction.atomic
def run_create(  # noqa: PLR0913
    *, actor: Actor, reason: str, starts_at: datetime, ends_at: datetime, providers: Sequence[str] = (), models: Sequence[str] = (),
    team_ids: Sequence[int] = (), is_unpriced_only: bool = False, kind: str = ReratingRun.Kind.RATING, moves_owners: bool = False,
    draft: Mapping[str, Any] | None = None,
) -> ReratingRun:
    """Makes a run over the calls made in [starts_at, ends_at); a worker works out at once what it would change. Nothing is changed yet.

    Runs of the `kind` attribution do not rate calls but say anew whose they are; `moves_owners`, and a `draft` of a rule to be tried, are theirs.
    Raises Forbidden, and Invalid with the `field`.
    """
    require(actor, RIGHTS[kind])
    if not reason.strip():
        raise Invalid("Say why, so that whoever reads the record knows.", field="reason")
    if starts_at >= ends_at or ends_at - starts_at > LONGEST:
        raise Invalid(f"The range ends after it begins, at most {LONGEST.days} days later.", field="ends_at")
    if not (is_kept(starts_at) and is_kept(ends_at)):
        raise Invalid("This day lies too far away.", field="starts_at")
    named = {"providers": _names("providers", providers), "model_names": _names("models", models)}
    known = set(Team.objects.filter(organization=actor.organization, pk__in=team_ids).values_list("pk", flat=True))
    if unknown := set(team_ids) - known:
        raise Invalid(f"There is no team {min(unknown)} here.", field="team_ids")
    run = ReratingRun.objects.create(
        organization=actor.organization, reason=reason.strip()[:300], starts_at=starts_at, ends_at=ends_at, **named, team_ids=sorted(known),
        is_unpriced_only=is_unpriced_only, kind=kind, moves_owners=moves_owners, draft=draft, made_by=actor.member, maker_label=actor.label[:200], created_at=timezone.now(),
    )
    audit_record(actor=actor, action=f"{_named(run)}.created", target=(_named(run), run.pk), new=run_facts(run))
    work_soon(run.pk)
    return run


def _names(field: str, names: Sequence[str]) -> list[str]:
    found = sorted({name.strip() for name in names} - {""})
    if len(found) > MOST_NAMES or any(len(name) > 200 or "\0" in name for name in found):
        raise Invalid(f"At most {MOST_NAMES} names of at most 200 characters can be given.", field=field)
    return found


def run_facts(run: ReratingRun) -> dict[str, Any]:
    """What a run is about, for the record."""
    return {
        "reason": run.reason, "starts_at": run.starts_at, "ends_at": run.ends_at, "providers": run.providers, "models": run.model_names, "team_ids": run.team_ids,
        "is_unpriced_only": run.is_unpriced_only,
    } | ({"moves_owners": run.moves_owners, "draft": run.draft} if run.kind == Kind.ATTRIBUTION else {})


def _named(run: ReratingRun) -> str:
    """What the record calls a run of this kind."""
    return "rerating_run" if run.kind == Kind.RATING else "attribution_run"


@transaction.atomic
def run_start(*, actor: Actor, run: ReratingRun) -> ReratingRun:
    """Lets a run change calls from now on; one that was paused goes on where it was. One that runs already goes on.

    Raises Conflict when it has ended, is not worked out yet, or another run is at work on a range that overlaps.
    """
    require(actor, RIGHTS[run.kind])
    _one_at_a_time(actor.organization.pk)
    run = _locked(actor, run)
    if run.state == State.RUNNING:
        return run
    if run.draft is not None:
        raise Conflict("This run only tries a rule that is not saved. Save the rule, then run over history.")
    if run.state not in (State.READY, State.PAUSED):
        raise Conflict(f"This run is {run.get_state_display().lower()}.", state=run.state)
    run_begin(actor=actor, run=run)
    return run


def run_begin(*, actor: Actor, run: ReratingRun) -> None:
    """Starts a locked run, within the caller's transaction, which has made sure that one starts at a time. Raises Conflict."""
    others = ReratingRun.objects.filter(organization=run.organization_id, state__in=ACTIVE, starts_at__lt=run.ends_at, ends_at__gt=run.starts_at)
    if other := others.exclude(pk=run.pk).first():
        raise Conflict(f"Run {other.pk} ({other.reason}) is at work on some of these calls. Wait until it ends, or cancel it.", run=other.pk)
    old, now = run.state, timezone.now()
    if run.cause is None:
        cause = Cause(CAUSES[Kind(run.kind)], run.reason, f"run {run.pk}")
        run.cause = cause_record(actor=actor, cause=cause, now=now)
        # Calls that came since it was worked out are counted too, when the work begins.
        run.started_at, run.events_seen, run.events_total = now, 0, None
    _become(actor, run, State.RUNNING, old=old)
    run.save(update_fields=["cause", "started_at", "events_seen", "events_total"])
    work_soon(run.pk)


@transaction.atomic
def run_pause(*, actor: Actor, run: ReratingRun) -> ReratingRun:
    """Stops a run after the calls that it is at. Raises Conflict for one that does not run."""
    require(actor, RIGHTS[run.kind])
    run = _locked(actor, run)
    if run.state == State.PAUSED:
        return run
    if run.state != State.RUNNING:
        raise Conflict(f"This run is {run.get_state_display().lower()}.", state=run.state)
    _become(actor, run, State.PAUSED, old=run.state)
    return run


@transaction.atomic
def run_cancel(*, actor: Actor, run: ReratingRun) -> ReratingRun:
    """Ends a run. What it has changed stays changed, with each call's old and new. Raises Conflict for one that is done."""
    require(actor, RIGHTS[run.kind])
    run = _locked(actor, run)
    if run.state == State.CANCELLED:
        return run
    if run.is_ended:
        raise Conflict(f"This run is {run.get_state_display().lower()}.", state=run.state)
    _become(actor, run, State.CANCELLED, old=run.state)
    return run


def run_end(*, actor: Actor, run: ReratingRun, state: str, failure: str = "") -> None:
    """Marks a locked run as done or failed, within the caller's transaction."""
    run.failure = failure[:500]
    run.save(update_fields=["failure"])
    _become(actor, run, state, old=run.state)
    if state == State.DONE:
        proposals_settle(actor=actor, run=run)


def _become(actor: Actor, run: ReratingRun, state: str, *, old: str) -> None:
    run.state = state
    if run.is_ended:
        run.ended_at = timezone.now()
    run.save(update_fields=["state", "ended_at"])
    facts: dict[str, Any] = {"state": state, "seen": run.events_seen, "changed": run.events_changed, **_costs(run.cost_before, run.cost_after)}
    audit_record(actor=actor, action=f"{_named(run)}.{state}", target=(_named(run), run.pk), old={"state": old}, new=facts)


def _costs(before: Decimal, after: Decimal) -> Mapping[str, Any]:
    return {"cost_before": before, "cost_after": after}


def _locked(actor: Actor, run: ReratingRun) -> ReratingRun:
    found: ReratingRun = get_scoped(actor, ReratingRun.objects.select_for_update(of=("self",)).select_related("cause", "organization"), pk=run.pk)
    return found


def _one_at_a_time(organization_id: int) -> None:
    """Runs of an organization start one after the other, so that two that overlap never both find nobody."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashint8(%s), 4)", [organization_id])


def run_start_at_once(*, actor: Actor, run: ReratingRun) -> None:
    """Starts a run that was just made, in its transaction, without waiting for a preview. Raises Conflict."""
    _one_at_a_time(actor.organization.pk)
    run_begin(actor=actor, run=run)


def work_soon(run_id: int) -> None:
    """Tells a worker of the run once it is committed. One that is not told finds it within a minute."""
    from ingest.rerating.tasks import rerating_work

    transaction.on_commit(lambda: _tell(rerating_work, run_id), robust=True)


def _tell(task: Any, run_id: int) -> None:
    task.apply_async(args=[run_id], ignore_result=True, retry=False)
