"""Settings: the tree of teams, and projects."""

from dataclasses import dataclass, field

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from dashboards.access import PageRequest, page
from dashboards.components.tables import Column, Table
from dashboards.forms.settings import ProjectForm, TeamChangeForm, TeamForm
from dashboards.pages.settings.frame import done, shown
from governance.tenancy import services
from governance.tenancy.access import Actor, Right, get_scoped, scoped
from governance.tenancy.models import Member, Project, Team

TAB = "settings-teams"


@dataclass(slots=True)
class Node:
    """A team and those below it."""

    team: Team
    below: list["Node"] = field(default_factory=list)


def team_tree(actor: Actor) -> list[Node]:
    """The teams as trees, by name, each with its number of active members."""
    rows = scoped(actor, Team.objects.annotate(people=Count("members", filter=Q(members__is_active=True)))).order_by("name", "id")
    nodes = {team.pk: Node(team) for team in rows}
    roots: list[Node] = []
    for node in nodes.values():
        parent = nodes.get(node.team.parent_id) if node.team.parent_id else None
        (parent.below if parent else roots).append(node)
    return roots


@page(Right.MANAGE_ORGANIZATION)
def team_list(request: PageRequest) -> HttpResponse:
    """The tree with a form to add to it, and the projects."""
    actor = request.actor
    form = TeamForm(request.POST or None, actor=actor)
    if request.method == "POST" and form.is_valid() and done(form, lambda: services.team_create(actor=actor, **form.cleaned_data)):
        messages.success(request, f"{form.cleaned_data['name']} is there. Usage names it “{form.cleaned_data['slug']}”.")
        return redirect(TAB, slug=actor.organization.slug)
    return teams_shown(request, form, ProjectForm(actor=actor))


@page(Right.MANAGE_ORGANIZATION)
def project_add(request: PageRequest) -> HttpResponse:
    """Adds a project. A plain visit goes to the list."""
    actor = request.actor
    if request.method != "POST":
        return redirect(TAB, slug=actor.organization.slug)
    form = ProjectForm(request.POST, actor=actor)
    if form.is_valid() and done(form, lambda: services.project_create(actor=actor, **form.cleaned_data)):
        messages.success(request, f"{form.cleaned_data['name']} is there. Usage names it “{form.cleaned_data['slug']}”.")
        return redirect(TAB, slug=actor.organization.slug)
    return teams_shown(request, TeamForm(actor=actor), form)


def teams_shown(request: PageRequest, team_form: TeamForm, project_form: ProjectForm) -> HttpResponse:
    actor = request.actor
    columns = [Column("name", "Project", "strong"), Column("slug", "Label in usage"), Column("team", "Team", order="team__name", value=lambda row: row.team.name if row.team else None)]
    projects = Table.from_request(
        request, id="projects", title="Projects", columns=columns, rows=scoped(actor, Project.objects.select_related("team")), sort="name", search=("name", "slug"),
        empty="No projects yet. Usage may name one to be allocated to it.",
    )  # fmt: skip
    if projects.is_asked_as_csv:
        return projects.csv_response()
    is_broken = team_form.is_bound or project_form.is_bound
    values = {"tree": team_tree(actor), "form": team_form, "project_form": project_form, "projects": projects}
    return shown(request, "teams", TAB, values, status=422 if is_broken else 200)


@page(Right.MANAGE_ORGANIZATION)
def team_page(request: PageRequest, team_id: int) -> HttpResponse:
    """One team: its name and place, its people and projects."""
    actor = request.actor
    team = get_scoped(actor, Team.objects.select_related("parent"), pk=team_id)
    form = TeamChangeForm(request.POST or None, actor=actor, team=team, initial={"name": team.name, "parent": team.parent_id})
    if request.method == "POST" and form.is_valid() and done(form, lambda: services.team_change(actor=actor, team=team, **form.cleaned_data)):
        messages.success(request, "Saved.")
        return redirect(TAB, slug=actor.organization.slug)
    tables = (people_table(request, team), projects_table(request, team))
    for table in tables:
        if table.is_asked_as_csv:
            return table.csv_response(f"{team.slug}-{table.id}")
    values = {"form": form, "team": team, "tables": tables}
    return shown(request, "team", TAB, values, status=422 if form.is_bound else 200)


def people_table(request: PageRequest, team: Team) -> Table:
    """The team's own members, not those of the teams below it."""
    slug = request.actor.organization.slug
    columns = [
        Column("user", "Member", order="user__name", value=str, href=lambda row: reverse("settings-member", args=[slug, row.pk])),
        Column("role", "Role", value=lambda row: row.get_role_display()),
        Column("is_active", "State", kind="badge", value=lambda row: ("active", "ok") if row.is_active else ("deactivated", "")),
    ]
    rows = scoped(request.actor, Member.objects.filter(team=team).select_related("user"))
    return Table.from_request(
        request, id="people", title="Members", columns=columns, rows=rows, sort="user", search=("user__name", "user__email"), prefix="people-", page_size=15,
        empty="Nobody is in this team. A member's team is set on the member's page.",
    )  # fmt: skip


def projects_table(request: PageRequest, team: Team) -> Table:
    """The projects that belong to the team."""
    columns = [Column("name", "Project", "strong"), Column("slug", "Label in usage")]
    rows = scoped(request.actor, Project.objects.filter(team=team))
    return Table.from_request(
        request, id="projects", title="Projects", columns=columns, rows=rows, sort="name", prefix="projects-", page_size=15, empty="No project belongs to this team."
    )
