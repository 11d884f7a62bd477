"""Looks at live sessions by an organization's rules: every minute at all of them, and inline at those that calls were just stored for."""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.db import transaction
from django.utils import timezone

from governance import sql
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import Organization
from ingest.guard import features
from ingest.guard.features import SessionRow
from ingest.guard.late import late_done, late_note, late_sessions
from ingest.guard.models import GuardFinding, GuardLate
from ingest.guard.parameters import Burn, Errors, FanOut, Growth, OffHours, Repeat
from ingest.guard.rule_sets import LoadedRule, active_rules, inline_rules, team_past
from ingest.guard.rules import CallSeen, ChildSeen, Finding, findings
from ingest.guard.services import finding_record

if TYPE_CHECKING:
    from ingest.services.sums import SessionSums

log = logging.getLogger(__name__)
# Sessions that called within this are looked at every minute.
LIVE = timedelta(hours=2)
# What is reported later than LIVE and not later than this is looked at once it has come; what is older by looking back only.
LATE = timedelta(days=7)
# What was found in calls older than this is recorded, and nobody is told or stopped for it.
ACTED_WITHIN = timedelta(days=1)
# How often one process looks at one session inline, at most.
INLINE_PAUSE_S = 1.0
MOST_REMEMBERED = 50_000
Known = Mapping[tuple[int, str], datetime]

# By organization and session: what it was like when it was last looked at, so that nothing is read twice.
_looked_at: dict[tuple[int, str], tuple[object, ...]] = {}
_looked_inline: dict[tuple[int, str], float] = {}


def organization_look(organization: Organization, *, now: datetime | None = None) -> int:
    """Looks at every session that called lately by every active rule. Returns how many findings are new."""
    now = now or timezone.now()
    rules = active_rules(organization.pk)
    if not rules:
        GuardLate.objects.filter(organization=organization).delete()
        return 0
    state = tuple((rule.id, rule.version) for rule in rules)
    rows = features.sessions_in(organization.pk, since=now - LIVE, until=now + timedelta(days=1))
    moved = [row for row in rows if _looked_at.get((organization.pk, row.key)) != (row.last_at, row.calls, state)]
    count = _look(organization, rules, moved, since=now - LIVE, until=now + timedelta(days=1))
    if len(_looked_at) > MOST_REMEMBERED:
        _looked_at.clear()
    for row in moved:
        _looked_at[organization.pk, row.key] = (row.last_at, row.calls, state)
    return count + _look_at_late(organization, rules, now)


def _look_at_late(organization: Organization, rules: Sequence[LoadedRule], now: datetime) -> int:
    """Looks at sessions of which something was reported late, from its earliest call on."""
    began = timezone.now()
    late = late_sessions(organization.pk)
    if not late:
        return 0
    rows = features.sessions_named(organization.pk, list(late))
    count = _look(organization, rules, rows, since=min(late.values()), until=now + timedelta(days=1))
    late_done(organization.pk, list(late), before=began)
    return count


def stored(*, organization: Organization, version: int, sessions: Mapping[str, "SessionSums"]) -> None:
    """The storing transaction tells what it adds to which sessions. Where inline rules may have to say something, they look after the commit.

    Costs an organization without inline rules no query, but for what is reported late. Fails only where the storing transaction has.
    """
    try:
        now = timezone.now()
        late = {key: sums.first_at for key, sums in sorted(sessions.items()) if now - LATE <= sums.first_at < now - LIVE}
        if late:
            transaction.on_commit(lambda: late_note(organization.pk, late), robust=True)
        rules = inline_rules(organization.pk, version)
        if not rules:
            return
        begins = now - LIVE
        live = {key: sums for key, sums in sessions.items() if sums.latest.event.occurred_at >= begins}
        keys = [key for key, sums in live.items() if any(_may_hold(rule, sums) for rule in rules) and _is_due(organization.pk, key)]
        if keys:
            transaction.on_commit(lambda: _look_inline(organization, keys), robust=True)
    except Exception:
        log.exception("the guard could not look at what %s stored", organization.slug)
        sql.check_transaction()


def _may_hold(rule: LoadedRule, sums: "SessionSums") -> bool:
    """Whether what was just stored leaves the rule any room; by figures at hand."""
    match rule.parameters:
        case Repeat():
            return sums.context_tokens_max >= rule.parameters.tokens
        case Growth():
            return sums.context_tokens_max >= min(rule.parameters.tokens, rule.parameters.growing_tokens)
        case Errors():
            return sums.sums.counts[1] > 0
        case FanOut():
            return bool(sums.latest.event.parent_session)
        case Burn() | OffHours():
            return sums.sums.cost + sums.sums.notional_cost > 0


def _is_due(organization_id: int, key: str) -> bool:
    now = time.monotonic()
    if now - _looked_inline.get((organization_id, key), -INLINE_PAUSE_S) < INLINE_PAUSE_S:
        return False
    if len(_looked_inline) > MOST_REMEMBERED:
        _looked_inline.clear()
    _looked_inline[organization_id, key] = now
    return True


def _look_inline(organization: Organization, keys: Sequence[str]) -> None:
    """After the commit, so that nothing that goes wrong here can lose what was stored."""
    try:
        now = timezone.now()
        rules = active_rules(organization.pk, inline_only=True)
        _look(organization, rules, features.sessions_named(organization.pk, keys), since=now - LIVE, until=now + timedelta(days=1))
    except Exception:
        log.exception("the guard could not look at sessions of %s", organization.slug)


def _look(organization: Organization, rules: Sequence[LoadedRule], rows: Sequence[SessionRow], *, since: datetime, until: datetime) -> int:
    actor = system_actor(organization)
    by_calls = [rule for rule in rules if not isinstance(rule.parameters, FanOut)]
    count = 0
    for part in features.in_parts([row for row in rows if any(features.could_hold(rule.parameters, row) for rule in by_calls)]):
        count += sum(_look_at_part(actor, by_calls, part, since=since, until=until))
    for rule in rules:
        if isinstance(rule.parameters, FanOut) and any(row.parent_key for row in rows):
            count += _look_at_trees(actor, rule, since=since, until=until)
    return count


def _look_at_part(actor: Actor, rules: Sequence[LoadedRule], rows: Sequence[SessionRow], *, since: datetime, until: datetime) -> Iterator[bool]:
    organization = actor.organization
    longest = max(features.lookback(rule.parameters) for rule in rules)
    with_tags = any(rule.exempt.tags for rule in rules)
    calls = features.calls_of(organization.pk, [row.key for row in rows], since=since - longest, until=until, with_tags=with_tags)
    known = _found_before(organization.pk, [row.key for row in rows])
    for row in rows:
        for rule in rules:
            if features.could_hold(rule.parameters, row):
                yield _try(actor, rule, row, calls[row.key], since=since, known=known)


def _try(actor: Actor, rule: LoadedRule, row: SessionRow, calls: Iterable[CallSeen], *, since: datetime, known: Known) -> bool:
    """Whether the rule found something new. A rule that fails is logged and stops no other."""
    try:
        past = team_past(actor.organization.pk, row.team_id, rule.parameters, at=row.last_at)
        held = findings(rule.parameters, calls, zone=actor.organization.zone, team_past=past, exempt=rule.exempt)
        return _record_first(actor, rule, row.key, held, since=since, known=known)
    except Exception:
        log.exception("guard rule %s failed on session %s", rule.id, row.key)
        return False


def _look_at_trees(actor: Actor, rule: LoadedRule, *, since: datetime, until: datetime) -> int:
    try:
        trees = features.trees_in(actor.organization.pk, since=since - features.lookback(rule.parameters), until=until)
        known = _found_before(actor.organization.pk, [tree.root for tree in trees])
        return sum(
            _record_first(actor, rule, tree.root, _fan_outs(rule, tree.children, actor.organization.zone), since=since, known=known) for tree in trees
        )
    except Exception:
        log.exception("guard rule %s failed on trees of sessions", rule.id)
        return 0


def _fan_outs(rule: LoadedRule, children: Sequence[ChildSeen], zone: ZoneInfo) -> Iterator[Finding]:
    return findings(rule.parameters, children, zone=zone)


def _record_first(actor: Actor, rule: LoadedRule, key: str, held: Iterator[Finding], *, since: datetime, known: Known) -> bool:
    """Records the first finding of late that no earlier one covers."""
    before = known.get((rule.id, key))
    begins = since if before is None else max(since, before + rule.cooldown)
    finding = next((one for one in held if one.at >= begins), None)
    if finding is None:
        return False
    is_past = finding.at < timezone.now() - ACTED_WITHIN
    return finding_record(actor=actor, rule=rule, session_key=key, finding=finding, is_past=is_past) is not None


def _found_before(organization_id: int, keys: Sequence[str]) -> Known:
    """The latest finding of each rule in each of the sessions."""
    found: dict[tuple[int, str], datetime] = {}
    rows = GuardFinding.objects.filter(organization=organization_id, session_key__in=keys).order_by("at").values_list("rule_id", "session_key", "at")
    for rule_id, key, at in rows:
        found[rule_id, key] = at
    return found
