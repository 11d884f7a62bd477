"""The policy document: what gateways know of budgets and switches before they ask, and go by while they cannot ask."""

from typing import Any

from django.conf import settings

from governance.budgets.models import Budget, Freeze
from governance.budgets.reach import WIDE
from governance.budgets.services.refusals import freeze_facts
from governance.money import digits
from governance.tenancy.access import Actor, scoped, team_lineage
from governance.tenancy.models import Organization

# Moves when the document has other members, so that one kept by a gateway is not taken for the present one.
FORM = 1


def policy_version(actor: Actor) -> str:
    """Changes with every change of budgets, of whom they cover, and of wide freezes."""
    version = Organization.objects.values_list("config_version", flat=True).get(pk=actor.organization.pk)
    return f"{FORM}.{version}"


def policy_of(actor: Actor) -> dict[str, Any]:
    """The document without its version: the budgets that bind whoever asks, and what is frozen beyond single sessions."""
    budgets = scoped(actor, Budget.objects.filter(is_active=True)).select_related("team", "project__team", "member__user", "service_account", "api_key")
    freezes = scoped(actor, Freeze.objects.filter(ended_at=None, scope_kind__in=WIDE))
    found = freezes.select_related("period", "team", "member__user", "api_key", "started_by__user").order_by("id")
    known = _Known(actor)
    return {
        "organization": actor.organization.slug,
        "budgets": [_budget(budget) for budget in budgets.order_by("id") if known.covers(budget.team or _team_of_project(budget), budget.member_id)],
        "freezes": [freeze_facts(actor, freeze) for freeze in found if known.covers(freeze.team, _holder_of(freeze))],
        "stream": f"{settings.STREAM_URL}/api/v1/stream",
    }


class _Known:
    """What concerns the holder of a key: everything for the organization's keys, else its teams, those above, and its own."""

    def __init__(self, actor: Actor) -> None:
        self.member = actor.member if actor.team_ids is not None else None
        self.teams = set(actor.team_ids or ())
        if self.member is not None:
            self.teams |= set(team_lineage(actor.organization.pk, self.member.team_id))

    def covers(self, team: Any, member_id: int | None) -> bool:
        if self.member is None or member_id == self.member.pk:
            return True
        return member_id is None and (team is None or team.pk in self.teams)


def _holder_of(freeze: Freeze) -> int | None:
    """The member whose calls alone it stops."""
    return freeze.api_key.member_id if freeze.api_key is not None else freeze.member_id


def _team_of_project(budget: Budget) -> Any:
    return budget.project.team if budget.project is not None else None


def _budget(budget: Budget) -> dict[str, Any]:
    named = {
        "team": budget.team and budget.team.slug,
        "project": budget.project and budget.project.slug,
        "member": budget.member and budget.member.user.email,
        "service_account": budget.service_account and budget.service_account.name,
        "key": budget.api_key and budget.api_key.prefix,
    }
    return {
        "id": budget.pk, "name": budget.name, "scope": budget.scope_kind, "covers": {name: value for name, value in named.items() if value},
        "filters": budget.filters, "period": budget.period_kind, "rolling_hours": budget.rolling_hours, "measure": budget.measure,
        "limit": digits(budget.limit_amount), "currency": budget.currency, "is_hard": budget.is_hard, "action": budget.action,
        "downgrade_models": budget.downgrade_models, "fails_open": budget.fails_open, "counts_notional": budget.counts_notional,
        "unpriced_call_amount": None if budget.unpriced_call_amount is None else digits(budget.unpriced_call_amount),
    }
