"""Settings: approval policies in words, and the editor of one with a request to try it on."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from dashboards.access import PageRequest, page
from dashboards.forms.policies import PolicyForm, PreviewForm
from dashboards.pages.settings.frame import done, shown
from governance.approvals import policies, policy, words
from governance.approvals.models import ApprovalPolicy, ApprovalRequest
from governance.approvals.policy import MEMBER, Rules
from governance.approvals.standing import Standing
from governance.ids import uuid7
from governance.notices.messages import amount_text
from governance.tenancy.access import Actor, Right, get_scoped, scoped
from governance.tenancy.models import Member, Role, Team

TAB = "settings-policies"
LARGEST_COUNT = policy.MOST_BANDS


@dataclass(frozen=True, slots=True)
class Told:
    """A policy in words: each row of amounts with its chain, and what else holds."""

    row: ApprovalPolicy | None
    name: str
    bands: list[tuple[str, str]]
    rest: list[str]


def told(row: ApprovalPolicy | None, *, actor: Actor, names: Mapping[str, str]) -> Told:
    team = str(row.team) if row is not None and row.team is not None else "the team"
    name = str(row.team) if row is not None and row.team is not None else actor.organization.name
    return Told(row, name, bands_told(policies.rules_in(row), actor, team=team, names=names), rest_told(policies.rules_in(row), actor, names))


def bands_told(rules: Rules, actor: Actor, *, team: str, names: Mapping[str, str]) -> list[tuple[str, str]]:
    currency = actor.organization.currency
    return [
        (words.band_heading(rules.bands, place, currency), words.chain_text(band.steps, in_parallel=band.in_parallel, team=team, names=names))
        for place, band in enumerate(rules.bands)
    ]


def rest_told(rules: Rules, actor: Actor, names: Mapping[str, str]) -> list[str]:
    found = [words.other_units_text(rules), words.automatic_text(rules, actor.organization.currency), *words.times_text(rules), words.override_text(rules, names=names)]
    return [sentence for sentence in found if sentence]


@page(Right.MANAGE_BUDGETS)
@require_GET
def policy_list(request: PageRequest) -> HttpResponse:
    """The policies in force, in words, and the teams that follow the organization's."""
    actor = request.actor
    rows = policies.policies(actor)
    parties = {party for row in rows for party in policies.parties_of(policies.rules_in(row))}
    names = policies.names_of(actor.organization, parties)
    whole = next((row for row in rows if row.team is None), None)
    own = [row for row in rows if row.team is not None]
    teams = scoped(actor, Team.objects.exclude(pk__in=[row.team_id for row in own])).order_by("name")
    values = {"whole": told(whole, actor=actor, names=names), "own": [told(row, actor=actor, names=names) for row in own], "teams": teams}
    return shown(request, "policies", TAB, values)


@page(Right.MANAGE_BUDGETS)
def organization_policy(request: PageRequest) -> HttpResponse:
    """The organization's policy."""
    return policy_page(request, None)


@page(Right.MANAGE_BUDGETS)
def team_policy(request: PageRequest, team_id: int) -> HttpResponse:
    """A team's own policy; it begins as a copy of what holds for the team now."""
    return policy_page(request, get_scoped(request.actor, Team.objects.all(), pk=team_id))


def policy_page(request: PageRequest, team: Team | None) -> HttpResponse:
    """The editor. Rows are added and removed, and a request tried, without saving anything."""
    actor = request.actor
    found = policies.policy_for(actor.organization, team.pk if team else None)
    own = found if found is not None and found.team_id == (team.pk if team else None) else None
    people = people_choices(actor)
    posted = request.POST if request.method == "POST" else None
    rules = policies.rules_in(found)
    form = PolicyForm(posted, people=people, rules=rules, count=count_of(posted, rules))
    teams = [(str(one.pk), one.name) for one in scoped(actor, Team.objects.order_by("name"))] if team is None else [(str(team.pk), team.name)]
    trial = PreviewForm(posted if posted and posted.get("action") == "try" else None, teams=teams)
    action = posted.get("action", "") if posted else ""
    status = 200
    if action == "end":
        form.is_valid()
        if done(form, lambda: ended(request, team, seen_number(posted))):
            return redirect(TAB, slug=actor.organization.slug)
        status = 422
    elif action in ("add", "try") or action.startswith("remove-"):
        form = form if action == "try" else PolicyForm(reshaped(request.POST, action, last=len(form.bands) - 1), people=people, rules=rules, count=changed_count(form, action))
        form.is_valid()
    elif posted is not None:
        if form.is_valid() and done(form, lambda: policies.policy_set(actor=actor, team=team, rules=form.rules, seen=seen_number(posted))):
            messages.success(request, "Saved. It holds for requests filed from now on.")
            return redirect(TAB, slug=actor.organization.slug)
        status = 422
    values = {"form": form, "team": team, "own": own, "trial": trial, "versions": policies.policy_versions(actor, team)[:10], **tried(actor, form, trial, people=people, shown_rules=rules)}
    return shown(request, "policy", TAB, values, status=status)


def ended(request: PageRequest, team: Team | None, seen: int | None) -> bool:
    """Takes the policy out of force. Raises Conflict when somebody has changed it meanwhile."""
    policies.policy_end(actor=request.actor, team=team, seen=seen)
    messages.success(request, "Taken out of force. Requests that wait keep the policy they were filed under.")
    return True


def people_choices(actor: Actor) -> list[tuple[str, str]]:
    rows = scoped(actor, Member.objects.filter(is_active=True).exclude(role=Role.AUDITOR).select_related("user"))
    return [(f"{MEMBER}{member.pk}", str(member)) for member in rows.order_by("user__name", "user__email")]


def count_of(posted: Any, rules: Rules) -> int:
    """How many rows of amounts are on the screen."""
    text = posted.get("rows", "") if posted is not None else ""
    return max(1, min(int(text), LARGEST_COUNT)) if text.isascii() and text.isdigit() and len(text) < 3 else len(rules.bands)


def changed_count(form: PolicyForm, action: str) -> int:
    return min(len(form.bands) + 1, LARGEST_COUNT) if action == "add" else max(len(form.bands) - 1, 1)


def reshaped(posted: QueryDict, action: str, *, last: int) -> QueryDict:
    """What was posted with an empty row before the last, or without the row that is removed. The last row has no amount."""
    if action == "add":
        moves: dict[int, int | None] = {last + 1: last, last: None} if last + 1 < LARGEST_COUNT else {}
    else:
        text = action.removeprefix("remove-")
        moves = {place: place + 1 for place in range(int(text), last)} if text.isdecimal() and last else {}
    changed = posted.copy()
    for target, source in moves.items():
        for name in [name for name in changed if name.startswith(f"band-{target}-")]:
            del changed[name]
        for name in [name for name in posted if source is not None and name.startswith(f"band-{source}-")]:
            changed.setlist(name.replace(f"band-{source}-", f"band-{target}-", 1), posted.getlist(name))
    if action != "add" and last:
        changed[f"band-{last - 1}-up_to"] = ""
    return changed


def seen_number(posted: Any) -> int | None:
    text = posted.get("seen", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def tried(actor: Actor, form: PolicyForm, trial: PreviewForm, *, people: list[tuple[str, str]], shown_rules: Rules) -> dict[str, Any]:
    """The policy on the screen in words, and where the request that was tried would go."""
    rules = (form.rules if form.is_valid() else None) if form.is_bound else shown_rules
    names = dict(people)
    fault = policy.fault_of(rules) if rules is not None else ""
    if rules is None or fault:
        return {"fault": fault}
    found: dict[str, Any] = {"bands_told": bands_told(rules, actor, team="the team", names=names), "rest_told": rest_told(rules, actor, names)}
    if trial.is_bound and trial.is_valid():
        found["route"] = route(actor, rules, amount=trial.cleaned_data["amount"], team_id=trial.cleaned_data["team"], names=names)
    return found


def route(actor: Actor, rules: Rules, *, amount: Decimal, team_id: str, names: Mapping[str, str]) -> dict[str, Any]:
    """Where a request would go: the chain in words, and the people who are there for each step now."""
    team = scoped(actor, Team.objects.filter(pk=int(team_id))).first() if team_id.isdigit() else None
    chain = policy.chain_for(rules, amount)
    request = ApprovalRequest(
        id=uuid7(), organization=actor.organization, requester=Member(organization=actor.organization), team=team, chain=policy.to_facts(chain)
    )
    standing = Standing(request)
    steps = [
        {
            "text": words.step_text(step, team=str(team or "the team"), names=names), "needed": step.needed,
            "people": [str(member) for member in standing.members(step.who)],
        }
        for step in chain.steps
    ]  # fmt: skip
    is_automatic = rules.automatic is not None and amount <= rules.automatic.up_to
    return {
        "amount": amount_text(amount, actor.organization.currency), "team": team, "is_automatic": is_automatic, "steps": steps, "in_parallel": chain.in_parallel,
        "text": words.chain_text(chain.steps, in_parallel=chain.in_parallel, team=str(team or "the team"), names=names),
    }  # fmt: skip
