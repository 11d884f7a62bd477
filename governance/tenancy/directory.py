"""The names an organization's usage goes by, in memory: labels → team, project, member. Reloaded when the configuration moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from threading import Lock
from zoneinfo import ZoneInfo

from governance.periods import window_at
from governance.tenancy.models import Member, MonthClose, Organization, Project, Team


@dataclass(frozen=True, slots=True)
class Directory:
    """One version of an organization's teams, projects and members, by the names usage may call them (lower case)."""

    organization_id: int
    version: int
    zone: ZoneInfo
    year_starts_in: int
    currency: str
    teams: Mapping[str, int]
    projects: Mapping[str, int]
    members: Mapping[str, int]
    team_of_member: Mapping[int, int | None]
    team_of_project: Mapping[int, int | None]
    # A team and every team above it, nearest first.
    lineage: Mapping[int, tuple[int, ...]]
    # The first days of the local months whose figures stand.
    closed_months: frozenset[date] = frozenset()


    def is_closed(self, instant: datetime) -> bool:
        """Whether the instant lies in a closed month."""
        return bool(self.closed_months) and month_of(instant, self.zone) in self.closed_months


def month_of(instant: datetime, zone: ZoneInfo) -> date:
    """The first day of the local month that holds the instant, by the windows that budgets have."""
    return window_at("month", instant, zone).starts_at.astimezone(zone).date().replace(day=1)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whom a call belongs to. A label that nothing here is named by leaves its id None."""

    team_id: int | None
    project_id: int | None
    member_id: int | None


def attribute(directory: Directory, *, team: str, project: str, member: str, key_member_id: int | None = None) -> Attribution:
    """Resolves labels: the team named, else the project's team, else the member's, else unallocated.

    A team that is named but not known stays unallocated rather than going to somebody else's account.
    """
    project_id = directory.projects.get(project.lower()) if project else None
    member_id = directory.members.get(member.lower()) if member else key_member_id
    if team:
        team_id = directory.teams.get(team.lower())
    else:
        team_id = directory.team_of_project.get(project_id) if project_id is not None else None
        if team_id is None and member_id is not None:
            team_id = directory.team_of_member.get(member_id)
    return Attribution(team_id, project_id, member_id)


_directories: dict[int, Directory] = {}
_lock = Lock()


def directory_of(organization: Organization, version: int) -> Directory:
    """The organization's directory at this configuration version, from memory when it is there.

    Call it under the organization's configuration lock with the version read there.
    """
    found = _directories.get(organization.pk)
    if found is None or found.version != version:
        found = _load(organization, version)
        with _lock:
            _directories[organization.pk] = found
    return found


def directory_now(organization: Organization) -> Directory:
    """The directory at the organization's present configuration version, which the caller holds still."""
    return directory_of(organization, Organization.objects.values_list("config_version", flat=True).get(pk=organization.pk))


def directory_at(organization: Organization) -> Directory:
    """The directory as the present transaction sees it, past the memory: for whoever is changing it."""
    return _load(organization, 0)


def _load(organization: Organization, version: int) -> Directory:
    organization = Organization.objects.get(pk=organization.pk)
    teams = list(Team.objects.filter(organization=organization))
    projects = list(Project.objects.filter(organization=organization))
    members = list(Member.objects.filter(organization=organization).select_related("user"))
    parents = {team.pk: team.parent_id for team in teams}
    return Directory(
        organization_id=organization.pk,
        version=version,
        zone=organization.zone,
        year_starts_in=organization.year_starts_in,
        currency=organization.currency,
        teams=_by_name(teams),
        projects=_by_name(projects),
        # An address by which somebody signs in is theirs, whatever name another was once given.
        members={name.lower(): member.pk for member in members for name in member.aliases} | {member.user.email.lower(): member.pk for member in members},
        team_of_member={member.pk: member.team_id for member in members},
        team_of_project={project.pk: project.team_id for project in projects},
        closed_months=frozenset(MonthClose.objects.filter(organization=organization, reopened_at=None).values_list("month", flat=True)),
        lineage={team.pk: _lineage(team.pk, parents) for team in teams},
    )


def _by_name(rows: list[Team] | list[Project]) -> dict[str, int]:
    """Rows by name and slug; the slug wins, because it is the one that is unique."""
    return {row.name.lower(): row.pk for row in rows} | {row.slug.lower(): row.pk for row in rows}


def _lineage(team_id: int, parents: Mapping[int, int | None]) -> tuple[int, ...]:
    found: list[int] = []
    node: int | None = team_id
    while node is not None and node not in found:
        found.append(node)
        node = parents.get(node)
    return tuple(found)
