"""What a rule would have caught, and what it did catch in the past: stored events replayed, bounded in time and memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from time import monotonic

from django.utils import timezone

from governance.money import digits
from governance.tenancy.access import system_actor
from governance.tenancy.models import Organization
from ingest.guard import features
from ingest.guard.features import SessionRow
from ingest.guard.models import GuardTrial
from ingest.guard.parameters import FanOut, Parameters, parameters_of
from ingest.guard.rule_sets import LoadedRule, active_rules, team_past
from ingest.guard.rules import CallSeen, Exempt, Finding, find
from ingest.guard.services import finding_record

RUN_SECONDS = 240.0
MOST_SESSIONS = 200_000
SHOWN = 200
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Caught:
    """A session that a rule held for: with which call, and what its calls after that cost."""

    session: str
    team_id: int | None
    member_id: int | None
    finding: Finding
    spent_after: Decimal


@dataclass(frozen=True, slots=True)
class Step:
    """So many sessions were looked at, and these of them caught."""

    looked_at: int
    caught: Sequence[Caught]


class Replay:
    """One rule over the sessions of one organization that called in [starts_at, ends_at)."""

    def __init__(self, organization: Organization, parameters: Parameters, exempt: Exempt, *, starts_at: datetime, ends_at: datetime) -> None:
        self.organization, self.parameters, self.exempt = organization, parameters, exempt
        self.starts_at, self.ends_at = starts_at, ends_at
        self.total = 0

    def steps(self) -> Iterator[Step]:
        """The sessions part by part; `total` is known from the first on."""
        if isinstance(self.parameters, FanOut):
            yield from self._trees()
            return
        rows = features.sessions_in(self.organization.pk, since=self.starts_at, until=self.ends_at, limit=MOST_SESSIONS)
        rows = [row for row in rows if features.could_hold(self.parameters, row)]
        self.total = len(rows)
        for part in features.in_parts(rows):
            calls = features.calls_of(
                self.organization.pk, [row.key for row in part], since=self.starts_at, until=self.ends_at, with_tags=bool(self.exempt.tags)
            )
            yield Step(len(part), [caught for row in part if (caught := self._caught(row, calls[row.key])) is not None])

    def _caught(self, row: SessionRow, calls: Sequence[CallSeen]) -> Caught | None:
        # A day's past serves all sessions of the day: thousands of them share one query.
        day = datetime.combine(row.first_at.astimezone(UTC).date(), time.min, UTC)
        past = team_past(self.organization.pk, row.team_id, self.parameters, at=day)
        finding = find(self.parameters, calls, zone=self.organization.zone, team_past=past, exempt=self.exempt)
        if finding is None:
            return None
        return Caught(row.key, row.team_id, row.member_id, finding, sum((call.cost for call in calls if call.at > finding.at), ZERO))

    def _trees(self) -> Iterator[Step]:
        trees = features.trees_in(self.organization.pk, since=self.starts_at, until=self.ends_at)
        roots = features.by_key(features.sessions_named(self.organization.pk, [tree.root for tree in trees]))
        self.total = len(trees)
        for tree in trees:
            finding = find(self.parameters, [child for child in tree.children if child.at >= self.starts_at], zone=self.organization.zone)
            if finding is None:
                yield Step(1, [])
                continue
            spent = features.cost_after(self.organization.pk, [tree.root, *tree.keys], after=finding.at, until=self.ends_at)
            root = roots.get(tree.root)
            yield Step(1, [Caught(tree.root, root.team_id if root else None, root.member_id if root else None, finding, spent)])


def trial_run(trial_id: int, *, seconds: float = RUN_SECONDS) -> GuardTrial | None:
    """Works a trial out, noting how far it is. One that was begun already is left alone; one that takes too long ends where it is."""
    if not GuardTrial.objects.filter(pk=trial_id, state=GuardTrial.State.WAITING).update(state=GuardTrial.State.RUNNING):
        return None
    trial = GuardTrial.objects.select_related("organization").get(pk=trial_id)
    try:
        _work_out(trial, until=monotonic() + seconds)
    except Exception:
        trial.state, trial.ended_at = GuardTrial.State.FAILED, timezone.now()
        trial.save(update_fields=["state", "ended_at"])
        raise
    return trial


def _work_out(trial: GuardTrial, *, until: float) -> None:
    exempt = Exempt(frozenset(trial.exempt_projects), frozenset(trial.exempt_tags))
    replay = Replay(trial.organization, parameters_of(trial.kind, trial.parameters), exempt, starts_at=trial.starts_at, ends_at=trial.ends_at)
    caught: list[Caught] = []
    told = monotonic()
    for step in replay.steps():
        caught += step.caught
        trial.sessions, trial.looked_at = replay.total, trial.looked_at + step.looked_at
        if monotonic() > until:
            trial.is_cut = trial.looked_at < trial.sessions
            break
        if monotonic() > told + 1:
            trial.save(update_fields=["sessions", "looked_at"])
            told = monotonic()
    trial.caught, trial.spent_after = len(caught), sum((one.spent_after for one in caught), ZERO)
    caught.sort(key=lambda one: (-one.spent_after, one.session))
    trial.results = [_facts(one) for one in caught[:SHOWN]]
    trial.state, trial.ended_at = GuardTrial.State.DONE, timezone.now()
    trial.save()


def _facts(one: Caught) -> dict[str, object]:
    return {
        "session": one.session, "team": one.team_id, "member": one.member_id, "at": one.finding.at.isoformat(), "evidence": one.finding.evidence,
        "spent_after": digits(one.spent_after),
    }  # fmt: skip


def organization_look_back(organization: Organization, *, starts_at: datetime, ends_at: datetime) -> int:
    """Records what the active rules find in the past, telling nobody and stopping nothing. Returns how many findings are new."""
    actor = system_actor(organization)
    count = 0
    for rule in active_rules(organization.pk):
        for step in _replay_of(organization, rule, starts_at, ends_at).steps():
            for one in step.caught:
                found = finding_record(actor=actor, rule=rule, session_key=one.session, finding=one.finding, is_past=True)
                count += found is not None
    return count


def _replay_of(organization: Organization, rule: LoadedRule, starts_at: datetime, ends_at: datetime) -> Replay:
    return Replay(organization, rule.parameters, rule.exempt, starts_at=starts_at, ends_at=ends_at)


def looked_back(
    organization: Organization, rules: Sequence[LoadedRule], *, starts_at: datetime, ends_at: datetime
) -> Iterator[tuple[LoadedRule, int, Sequence[Caught]]]:
    """Each rule with how many sessions it looked at and what it would have caught. Records, tells and stops nothing."""
    for rule in rules:
        steps = list(_replay_of(organization, rule, starts_at, ends_at).steps())
        yield rule, sum(step.looked_at for step in steps), [one for step in steps for one in step.caught]
