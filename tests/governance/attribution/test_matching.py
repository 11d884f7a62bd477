"""Whose a call is: conditions, and the one order of precedence, held to a reference that is as plain as the sentence it stands for."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.attribution.matching import FIELDS, LABELS, REPOSITORY_TAGS, Condition, Facts, Rule, decide, repository_spellings
from governance.attribution.rules import AttributionRules
from governance.tenancy.directory import Directory

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
DIRECTORY = Directory(
    organization_id=1, version=1, zone=ZoneInfo("UTC"), year_starts_in=1, currency="USD", teams={"web": 1, "data": 2, "ops": 3},
    projects={"shop": 11, "loose": 12}, members={"ana@acme.example": 21, "bo": 22}, team_of_member={21: 1, 22: None}, team_of_project={11: 2, 12: None}, lineage={},
)  # fmt: skip


def facts(**said: Any) -> Facts:
    return Facts(NOON, **said)


def holds(field: str, op: str, *values: str, **said: Any) -> bool:
    return Condition(field, op, tuple(value.lower() for value in values)).holds(facts(**said))


@pytest.mark.parametrize(("field", "op", "value", "said", "expected"), [
    ("harness", "is", "Codex", {"harness": "codex"}, True),
    ("harness", "is", "codex", {}, False),
    ("harness", "is_not", "codex", {}, True),
    ("harness", "is_not", "codex", {"harness": "CODEX"}, False),
    ("email_domain", "is", "acme.example", {"member": "Ana@ACME.example"}, True),
    ("email_domain", "is", "acme.example", {"member": "ana"}, False),
    ("email_domain", "is", "acme.example", {"member": "ana@evil.acme.example"}, False),
    ("model", "starts_with", "claude-", {"model": "claude-sonnet-4-5", "model_reported": "my-deployment"}, True),
    ("model", "is", "my-deployment", {"model": "claude-sonnet-4-5", "model_reported": "my-deployment"}, True),
    ("key", "like", "litellm*prod?", {"key": "LiteLLM in prod1"}, True),
    ("key", "like", "litellm*prod?", {"key": "LiteLLM in prod"}, False),
    ("key", "like", "[a-z]*", {"key": "abc"}, False),
    ("key", "like", "a.c", {"key": "abc"}, False),
    ("tag:cost_center", "is", "eng-1", {"tags": {"cost_center": "ENG-1"}}, True),
    ("tag:cost_center", "is_empty", "", {"tags": {"other": "x"}}, True),
    ("tag:Cost", "is_set", "", {"tags": {"cost": "x"}}, False),
    ("team", "is_set", "", {"team": "plat"}, True),
    ("repository", "is", "acme/shop", {"tags": {"repository": "git@github.com:Acme/shop.git"}}, True),
    ("repository", "starts_with", "github.com/acme/", {"tags": {"vcs.repository.url.full": "https://user@github.com/acme/shop"}}, True),
    ("repository", "is", "acme/shop", {"tags": {"repo": "acme/shop"}}, True),
    ("repository", "is", "shop", {"tags": {"repo": "acme/shop"}}, False),
])  # fmt: skip
def test_condition_holds_for(field: str, op: str, value: str, said: dict[str, Any], expected: bool) -> None:
    assert holds(field, op, value, **said) is expected


def test_hostile_pattern_and_text_end_at_once() -> None:
    assert not holds("session", "like", "*a" * 100 + "b", session="a" * 1000)
    assert repository_spellings("git@" * 250) == ("git@" * 250,)


def rule(number: int, sets: dict[str, Any], *, team: str | None = None, **fields: Any) -> Rule:
    conditions = (Condition("harness", "is", (team,)),) if team else ()
    return Rule(number, f"rule {number}", conditions, sets, **fields)


def test_call_that_says_nothing_is_nobodys() -> None:
    found = decide(facts(), [], directory=DIRECTORY)
    assert (found.who.team_id, found.who.project_id, found.who.member_id, found.by) == (None, None, None, {})


def test_rule_holds_from_its_start_until_before_its_end() -> None:
    ruled = [rule(1, {"team": 3}, starts_at=NOON, ends_at=NOON + timedelta(hours=1))]
    for minutes, team_id in ((-1, None), (0, 3), (59, 3), (60, None)):
        at = Facts(NOON + timedelta(minutes=minutes))
        assert decide(at, ruled, directory=DIRECTORY).who.team_id == team_id


def test_rule_is_not_asked_what_another_rule_set() -> None:
    chained = [rule(1, {"role": "judge"}), Rule(2, "second", (Condition("role", "is", ("judge",)),), {"team": 3})]
    assert decide(facts(), chained, directory=DIRECTORY).who.team_id is None


SETS = st.fixed_dictionaries({}, optional={
    "team": st.sampled_from([1, 2, 3]), "project": st.sampled_from([11, 12]), "role": st.sampled_from(["judge", "worker"]), "task_class": st.just("code"),
    "environment": st.sampled_from(["prod", "dev"]), "billing_mode": st.sampled_from(["subscription", "metered"]),
})  # fmt: skip
RULES = st.lists(st.builds(
    lambda sets, harness, over, days: {"sets": sets, "harness": harness, "over": over, "days": days}, SETS, st.sampled_from([None, "codex", "aider"]), st.booleans(),
    st.sampled_from([None, -1, 1]),
), max_size=6)  # fmt: skip
SAID = st.fixed_dictionaries({
    "team": st.sampled_from(["", "web", "DATA", "unknown"]), "project": st.sampled_from(["", "shop", "loose", "nowhere"]),
    "member": st.sampled_from(["", "Ana@acme.example", "bo", "who@else.example"]), "key_member_id": st.sampled_from([None, 21, 22]),
    "harness": st.sampled_from(["", "codex", "aider"]), "role": st.sampled_from(["", "planner"]), "task_class": st.sampled_from(["", "research"]),
    "environment": st.sampled_from(["", "stage"]), "billing_mode": st.sampled_from(["metered", "self-hosted"]),
})  # fmt: skip


def reference(said: dict[str, Any], rules: list[dict[str, Any]]) -> dict[str, Any]:
    """As the documentation says it: for each thing the candidates in their order, and the first that says something."""
    matching = [one for one in rules if one["harness"] in (None, said["harness"]) and one["days"] != -1]

    def ruled(name: str, *, over: bool) -> Any:
        return next((one["sets"][name] for one in matching if one["over"] is over and name in one["sets"]), None)

    member = DIRECTORY.members.get(said["member"].lower()) if said["member"] else said["key_member_id"]
    project_over, project_named = ruled("project", over=True), DIRECTORY.projects.get(said["project"])
    project = project_over or (project_named if said["project"] else ruled("project", over=False))
    named_project = project_over or (project if said["project"] else None)
    if (team := ruled("team", over=True)) is None:
        if said["team"]:
            team = DIRECTORY.teams.get(said["team"].lower())
        else:
            of_project, of_member = dict[Any, Any](DIRECTORY.team_of_project), dict[Any, Any](DIRECTORY.team_of_member)
            candidates = (of_project.get(named_project), ruled("team", over=False), of_project.get(project), of_member.get(member))
            team = next((one for one in candidates if one is not None), None)
    labels = {}
    for name in LABELS:
        nothing = "metered" if name == "billing_mode" else ""
        labels[name] = ruled(name, over=True) or (said[name] if said[name] != nothing else ruled(name, over=False) or nothing)
    return {"team": team, "project": project, "member": member, **labels}


@given(said=SAID, rules=RULES)
def test_order_and_precedence_are_the_documented_ones(said: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    compiled = [
        rule(
            number, one["sets"], team=one["harness"], is_overriding=one["over"], ends_at=NOON if one["days"] == -1 else None,
            starts_at=NOON - timedelta(days=1) if one["days"] == 1 else None,
        )
        for number, one in enumerate(rules, 1)
    ]  # fmt: skip
    found = decide(facts(**said), compiled, directory=DIRECTORY)
    answer = {
        "team": found.who.team_id,
        "project": found.who.project_id,
        "member": found.who.member_id,
        **{name: getattr(found, name) for name in LABELS},
    }
    assert answer == reference(said, rules)
    for name, rule_id in found.by.items():
        assert answer[name] == compiled[rule_id - 1].sets[name]


LOOKED_AT = st.lists(st.sampled_from([*sorted(FIELDS), "tag:cost_center"]), min_size=1, max_size=3)
WORDS = st.sampled_from(["", "a", "web", "ana@acme.example"])
CALLS = st.lists(st.builds(
    lambda words, tags, days: Facts(NOON + timedelta(days=days), **words, tags=tags),
    st.fixed_dictionaries({}, optional=dict.fromkeys((*sorted(set(FIELDS) - {"email_domain", "repository"}), "model_reported"), WORDS)),
    st.dictionaries(st.sampled_from(["cost_center", *REPOSITORY_TAGS[:2], "other"]), WORDS, max_size=3), st.sampled_from([-2, 0, 2]),
), min_size=2, max_size=8)  # fmt: skip


@given(fields=st.lists(LOOKED_AT, min_size=1, max_size=3), calls=CALLS, ends=st.booleans())
def test_remembered_decisions_are_those_of_calls_that_are_alike(fields: list[list[str]], calls: list[Facts], ends: bool) -> None:
    compiled = [
        Rule(number, "", [Condition(name, "is", ("a", "acme.example")) for name in names], {"team": number, "role": f"r{number}"}, ends_at=NOON if ends else None)
        for number, names in enumerate(fields, 1)
    ]  # fmt: skip
    rules = AttributionRules(DIRECTORY, compiled)
    for call in [*calls, *calls]:
        assert rules.decide(call) == decide(call, compiled, directory=DIRECTORY)
