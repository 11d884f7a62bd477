"""Which calls a run re-rates, as SQL: by range, providers, models and teams."""

from typing import Any
from uuid import UUID

from governance.tenancy.directory import Directory, directory_at
from ingest.ledger import teams_below
from ingest.rerating.models import ReratingRun

FIRST = UUID(int=0)
SCOPE = """
    e.organization_id = %(organization)s AND e.occurred_at >= %(from)s AND e.occurred_at < %(ends_at)s
    AND (%(providers)s::text[] IS NULL OR e.provider = ANY(%(providers)s::text[]))
    AND (%(models)s::text[] IS NULL OR e.model = ANY(%(models)s::text[]) OR e.model_reported = ANY(%(models)s::text[]))
    AND (%(teams)s::bigint[] IS NULL OR e.team_id = ANY(%(teams)s::bigint[]))
    AND (NOT %(is_unpriced_only)s OR e.cost IS NULL)
"""
COUNT = f"SELECT count(*) AS calls FROM usage_event e WHERE {SCOPE}"  # noqa: S608 - built from constants


def scope_parameters(run: ReratingRun, directory: Directory | None = None) -> dict[str, Any]:
    """The run's scope from its beginning."""
    teams = None
    if run.team_ids:
        directory = directory or directory_at(run.organization)
        teams = sorted({below for team_id in run.team_ids for below in teams_below(directory, team_id)})
    return {
        "organization": run.organization_id, "from": run.starts_at, "ends_at": run.ends_at, "providers": run.providers or None, "models": run.model_names or None,
        "teams": teams, "is_unpriced_only": run.is_unpriced_only, "after": FIRST,
    }


def scope_words(run: ReratingRun, names: dict[int, str]) -> str:
    """The scope in a sentence's words; `names` are those of teams."""
    parts = [", ".join(run.providers), ", ".join(run.model_names), ", ".join(names.get(team_id, str(team_id)) for team_id in run.team_ids)]
    found = "; ".join(part for part in parts if part)
    return ("calls without a price" + (f": {found}" if found else "")) if run.is_unpriced_only else found or "every call"
