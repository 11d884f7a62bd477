"""Sets the simulated organization's attribution rules as an admin would after looking at what nobody was named for."""

from typing import Any

from governance.attribution.models import AttributionRule
from governance.attribution.services import rule_create
from governance.tenancy.access import Actor
from governance.tenancy.models import Team

RULES: tuple[dict[str, Any], ...] = (
    {
        "name": "Platform's former name",
        "conditions": [{"field": "team", "op": "is", "values": ["platform-eng"]}],
        "team": "platform",
        "is_overriding": True,
    },
    {
        "name": "Fusion panels",
        "conditions": [{"field": "harness", "op": "is", "values": ["omnigent"]}],
        "team": "research",
        "project": "fusion-review",
    },
)


def attribution_rules_create(*, actor: Actor) -> None:
    """The rules, once: an organization that has had some keeps them as they are."""
    if AttributionRule.objects.filter(organization=actor.organization).exists():
        return
    teams = {team.slug: team for team in Team.objects.filter(organization=actor.organization)}
    for rule in RULES:
        team = teams[rule["team"]]
        projects = {project.slug: project for project in team.projects.all()}
        rule_create(actor=actor, **{**rule, "team": team, "project": projects.get(rule.get("project", ""))})
