"""What a run makes of each call: its price anew, or whose it is anew, by the configuration as it is now."""

from collections.abc import Mapping
from typing import Any, Protocol

from governance.attribution.models import AttributionRule
from governance.attribution.rules import attribution_rules_of, with_draft
from governance.pricing.book import current_book
from governance.pricing.terms import terms_of
from governance.tenancy.directory import Directory
from governance.tenancy.models import ApiKey, Project, Team
from ingest.attributing.facts import KeyFacts
from ingest.attributing.reviser import Reattributer
from ingest.rerating.models import ReratingRun
from ingest.rerating.rating import Rerater


class Reviser(Protocol):
    """Says which columns of a call change; `also` are those that it looks at besides what sums do."""

    @property
    def also(self) -> tuple[str, ...]: ...

    def changes(self, row: Any) -> Mapping[str, Any] | None: ...


def reviser_of(run: ReratingRun, directory: Directory) -> Reviser:
    """The run's reviser at the directory's configuration version."""
    rerater = Rerater(current_book(), terms_of(directory))
    if run.kind == ReratingRun.Kind.RATING:
        return rerater
    rules = attribution_rules_of(directory)
    if run.draft is not None:
        rules = with_draft(rules, draft_read(run))
    return Reattributer(rules, rerater, keys=keys_of(run.organization_id), moves_owners=run.moves_owners)


def keys_of(organization_id: int) -> dict[int, KeyFacts]:
    """The organization's API keys by id, revoked or not."""
    rows = ApiKey.objects.filter(organization=organization_id).values_list("id", "name", "member_id")
    return {key_id: KeyFacts(name, member_id) for key_id, name, member_id in rows}


# What a draft keeps of a rule, with its team and project by id.
DRAFTED = ("name", "conditions", "is_overriding", "team_id", "project_id", "role", "task_class", "environment", "billing_mode", "starts_at", "ends_at")


def draft_kept(draft: AttributionRule) -> dict[str, Any]:
    """A rule that is not saved, as a run keeps it."""
    found = {name: getattr(draft, name) for name in DRAFTED}
    times = {name: found[name] and found[name].isoformat() for name in ("starts_at", "ends_at")}
    return {**found, **times, "rule": draft.pk}


def draft_read(run: ReratingRun) -> AttributionRule:
    """The rule that the run tries. A team or project that is gone since is left out."""
    kept = dict(run.draft or {})
    field = AttributionRule._meta.get_field("starts_at")
    times = {name: field.to_python(kept[name]) for name in ("starts_at", "ends_at")}
    for name, model in (("team_id", Team), ("project_id", Project)):
        if kept[name] is not None and not model.objects.filter(organization=run.organization_id, pk=kept[name]).exists():
            kept[name] = None
    return AttributionRule(organization_id=run.organization_id, pk=kept.pop("rule"), **{**kept, **times})
