"""An organization's active rules in memory, as they stand at one version of its configuration."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from threading import Lock

from django.db import transaction

from governance.errors import Invalid
from ingest.guard import features
from ingest.guard.models import GuardRule
from ingest.guard.parameters import Burn, Parameters, parameters_of
from ingest.guard.rules import Exempt

TEAM_PAST_SECONDS = 3600
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedRule:
    """A rule ready to be used."""

    id: int
    version: int
    name: str
    parameters: Parameters
    action: str
    cooldown: timedelta
    exempt: Exempt
    is_inline: bool


_inline: dict[int, tuple[int, Sequence[LoadedRule]]] = {}
_team_pasts: dict[tuple[int, int | None, int, int], list[Decimal]] = {}
_lock = Lock()


def loaded(rule: GuardRule) -> LoadedRule:
    """The rule as it stands in the table. Raises Invalid where its parameters make no sense any more."""
    exempt = Exempt(frozenset(rule.exempt_projects), frozenset(rule.exempt_tags))
    parameters = parameters_of(rule.kind, rule.parameters)
    return LoadedRule(rule.pk, rule.version, rule.name, parameters, rule.action, timedelta(minutes=rule.cooldown_minutes), exempt, rule.is_inline)


def active_rules(organization_id: int, *, inline_only: bool = False) -> list[LoadedRule]:
    """The active rules, read now. One that cannot be used is named in the log and harms no other."""
    rules = GuardRule.objects.filter(organization=organization_id, is_active=True).order_by("id")
    found = []
    for rule in rules.filter(is_inline=True) if inline_only else rules:
        try:
            found.append(loaded(rule))
        except Invalid:
            log.exception("guard rule %s cannot be used", rule.pk)
    return found


def inline_rules(organization_id: int, version: int) -> Sequence[LoadedRule]:
    """The active rules that look as soon as calls are stored; read once for each version of the configuration."""
    found = _inline.get(organization_id)
    if found is None or found[0] != version:
        # A savepoint: what fails here must not spoil the transaction that stores usage.
        with transaction.atomic():
            found = (version, active_rules(organization_id, inline_only=True))
        with _lock:
            _inline[organization_id] = found
    return found[1]


def team_past(organization_id: int, team_id: int | None, parameters: Parameters, *, at: datetime) -> list[Decimal]:
    """The team's past for a burn rate, up to the hour of the instant; kept in memory. Other rules need none."""
    if not isinstance(parameters, Burn):
        return []
    hour = int(at.timestamp()) // TEAM_PAST_SECONDS
    key = (organization_id, team_id, parameters.window_minutes, hour)
    found = _team_pasts.get(key)
    if found is None:
        until = datetime.fromtimestamp(hour * TEAM_PAST_SECONDS, at.tzinfo)
        found = features.team_past(organization_id, team_id, until=until, window_minutes=parameters.window_minutes)
        with _lock:
            if len(_team_pasts) > 2_000:
                _team_pasts.clear()
            _team_pasts[key] = found
    return found


