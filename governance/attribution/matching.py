"""Decides whose a call is and what it was for: by what it says, by the organization's rules, else by its member's team. Pure."""

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from governance.tenancy.directory import Attribution, Directory

METERED = "metered"
TAG = "tag:"
# What a rule may look at besides tags, with its name on pages.
FIELDS = {
    "team": "Team as named", "project": "Project as named", "member": "Member as named", "email_domain": "E-mail domain", "key": "API key", "repository": "Repository",
    "harness": "Harness", "gateway": "Gateway", "provider": "Provider", "maker": "Maker", "model": "Model", "tier": "Tier", "door": "Door", "session": "Session", "task": "Task",
    "role": "Role", "task_class": "Task class", "environment": "Environment", "billing_mode": "Billing mode",
}  # fmt: skip
OPERATORS = {
    "is": "is",
    "is_not": "is not",
    "starts_with": "starts with",
    "like": "is like",
    "is_set": "is given",
    "is_empty": "is not given",
}
WITHOUT_VALUES = ("is_set", "is_empty")
# What a rule may set; team and project by id.
LABELS = ("role", "task_class", "environment", "billing_mode")
SETTABLE = ("team", "project", *LABELS)
# The tags by which clients name the repository that a call was made for.
REPOSITORY_TAGS = (
    "repository",
    "repo",
    "git.repository",
    "vcs.repository.name",
    "vcs.repository.url.full",
    "repository.url",
    "github.repository",
)
ADDRESS = re.compile(r"^(?:[a-z+]{1,10}://)?(?:[^@/\s]{1,100}@)?(?P<host>[a-z0-9.-]{1,200})[:/](?P<path>[^\s]{1,1000})$", re.IGNORECASE)
Values = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a call before anything is decided: labels as the call says them, else its key's defaults."""

    at: datetime
    team: str = ""
    project: str = ""
    member: str = ""
    key: str = ""
    key_member_id: int | None = None
    harness: str = ""
    gateway: str = ""
    provider: str = ""
    maker: str = ""
    model: str = ""
    model_reported: str = ""
    tier: str = ""
    door: str = ""
    session: str = ""
    task: str = ""
    role: str = ""
    task_class: str = ""
    environment: str = ""
    billing_mode: str = METERED
    tags: Mapping[str, str] = field(default_factory=dict)

    def values(self, name: str) -> Values:
        """What the call says under a field's name, in lower case: several spellings of it, or nothing."""
        if name.startswith(TAG):
            return _said(self.tags.get(name[len(TAG) :], ""))
        if name == "model":
            return _said(self.model, self.model_reported)
        if name == "email_domain":
            return _said(self.member.rpartition("@")[2] if "@" in self.member else "")
        if name == "repository":
            return tuple(spelling for tag in REPOSITORY_TAGS if (said := self.tags.get(tag)) for spelling in repository_spellings(said))
        return _said(getattr(self, name))


def _said(*texts: str) -> Values:
    return tuple(dict.fromkeys(text.lower() for text in texts if text))


@lru_cache(maxsize=4096)
def repository_spellings(said: str) -> Values:
    """A repository as it is said, as host/owner/name, and as owner/name: `git@example.com:shop/web.git` is all three of them."""
    text = said.strip().lower().removesuffix("/").removesuffix(".git")
    found = ADDRESS.match(text)
    if found is None or "." not in found["host"]:
        return (text,)
    path = found["path"].strip("/")
    return tuple(dict.fromkeys((text, f"{found['host']}/{path}", path)))


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a rule. Values are in lower case; one of them is enough."""

    field: str
    op: str
    values: Values = ()

    def holds(self, facts: Facts) -> bool:
        """Whether the call meets it. What the call does not say is like nothing, and is not anything."""
        said = facts.values(self.field)
        match self.op:
            case "is":
                return any(one in self.values for one in said)
            case "is_not":
                return not any(one in self.values for one in said)
            case "starts_with":
                return any(one.startswith(self.values) for one in said)
            case "like":
                return any(pattern.match(one) for one in said for pattern in patterns(self.values))
            case "is_set":
                return bool(said)
            case _:
                return not said


@lru_cache(maxsize=4096)
def patterns(values: Values) -> tuple[re.Pattern[str], ...]:
    """Texts with * (any characters) and ? (one character) as expressions that never go back over a text."""
    return tuple(re.compile(fnmatch.translate(value.replace("[", "[[]"))) for value in values)


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as the hot path needs it. `sets` are ids of team and project, and words of labels."""

    id: int
    name: str
    conditions: Sequence[Condition]
    sets: Mapping[str, Any]
    is_overriding: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None

    def is_in_force(self, at: datetime) -> bool:
        return (self.starts_at is None or self.starts_at <= at) and (self.ends_at is None or at < self.ends_at)

    def matches(self, facts: Facts) -> bool:
        return self.is_in_force(facts.at) and all(condition.holds(facts) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whose a call is and what it was for. `by` names the rule that said so, by what it set."""

    who: Attribution
    role: str
    task_class: str
    environment: str
    billing_mode: str
    by: Mapping[str, int] = field(default_factory=dict)

    def kept(self, facts: Facts) -> dict[str, dict[str, Any]] | None:
        """What a stored call keeps of it: the rules, and what the call itself said where they set something else. None: no rule."""
        return {"rules": dict(self.by), "was": {name: getattr(facts, name) for name in LABELS if name in self.by}} if self.by else None


def decide(facts: Facts, rules: Iterable[Rule], *, directory: Directory) -> Decision:
    """The one order of precedence, for each thing that is decided: a rule that overrides; the call's own label; its key's default; a rule; unknown.

    For the team: an overriding rule, the team named, the team of the project named, a rule, the team of the project that a rule set, the
    member's team, nobody. Of rules that match, the first that sets a thing decides it. A team that is named but unknown is nobody's.
    """
    over, fill = first_of(rules, facts)
    member_id = directory.members.get(facts.member.lower()) if facts.member else facts.key_member_id
    project_id, project_by = _project(facts, over, fill=fill, directory=directory)
    of_project = directory.team_of_project.get(project_id) if project_id is not None else None
    chosen = {
        "team": _team(facts, over, fill=fill, directory=directory, of_project=of_project, is_project_named=project_by is not fill),
        "project": (project_id, project_by),
        **{name: _label(name, facts, over=over, fill=fill) for name in LABELS},
    }
    by = {name: source[name][1] for name, (_, source) in chosen.items() if source is not None}
    team_id, team_by = chosen["team"]
    if team_id is None and team_by is None and not facts.team and member_id is not None:
        team_id = directory.team_of_member.get(member_id)
    return Decision(Attribution(team_id, project_id, member_id), **{name: chosen[name][0] for name in LABELS}, by=by)


# What rules set, with the id of the rule that did.
Chosen = dict[str, tuple[Any, int]]
# What is decided, and the rules' part of it where one of them did.
Decided = tuple[Any, Chosen | None]


def first_of(rules: Iterable[Rule], facts: Facts) -> tuple[Chosen, Chosen]:
    """What the first matching rules set, with their ids: those that override, and those that fill in."""
    over: Chosen = {}
    fill: Chosen = {}
    for rule in rules:
        if rule.matches(facts):
            chosen = over if rule.is_overriding else fill
            for name, value in rule.sets.items():
                chosen.setdefault(name, (value, rule.id))
    return over, fill


def looked_at(rules: Iterable[Rule]) -> tuple[list[str], list[str]]:
    """The fields and the tags of a call that decide whose it is, besides its time: calls alike in these are decided alike."""
    fields, tags = {"team", "project", "member", "key_member_id", *LABELS}, set()
    for condition in (condition for rule in rules for condition in rule.conditions):
        if condition.field.startswith(TAG):
            tags.add(condition.field[len(TAG) :])
        elif condition.field == "repository":
            tags.update(REPOSITORY_TAGS)
        else:
            fields.update({"model": ("model", "model_reported"), "email_domain": ("member",)}.get(condition.field, (condition.field,)))
    return sorted(fields), sorted(tags)


def _label(name: str, facts: Facts, *, over: Chosen, fill: Chosen) -> Decided:
    if name in over:
        return over[name][0], over
    said = getattr(facts, name)
    # Metered is what a call is taken to be when nobody says.
    is_unknown = not said or (name == "billing_mode" and said == METERED)
    return (fill[name][0], fill) if is_unknown and name in fill else (said, None)


def _project(facts: Facts, over: Chosen, *, fill: Chosen, directory: Directory) -> Decided:
    if "project" in over:
        return over["project"][0], over
    if facts.project:
        return directory.projects.get(facts.project.lower()), None
    return (fill["project"][0], fill) if "project" in fill else (None, None)


def _team(facts: Facts, over: Chosen, *, fill: Chosen, directory: Directory, of_project: int | None, is_project_named: bool) -> Decided:
    if "team" in over:
        return over["team"][0], over
    if facts.team:
        return directory.teams.get(facts.team.lower()), None
    if of_project is not None and is_project_named:
        return of_project, None
    return (fill["team"][0], fill) if "team" in fill else (of_project, None)
