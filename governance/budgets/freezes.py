"""Reads of freezes: those that somebody may know of, and whether a name that is to be frozen is one that calls go by."""

from datetime import timedelta
from difflib import get_close_matches

from django.db.models import Q, QuerySet
from django.utils import timezone

from governance.budgets.models import Freeze, Session
from governance.errors import NotFound
from governance.pricing.book import current_book
from governance.pricing.catalogue import provider_family
from governance.pricing.models import Model, Provider
from governance.tenancy.access import Actor, scoped, visible

Kind = Freeze.ScopeKind
USED_WITHIN = timedelta(days=30)


def freezes_visible(actor: Actor) -> QuerySet[Freeze]:
    """The freezes of the organization that the actor may know of: of its teams and sessions, and those that everybody runs into."""
    rows = scoped(actor, Freeze.objects.all()).select_related("period__budget__team", "team", "member__user", "api_key__member__user", "started_by__user", "ended_by__user")
    if actor.team_ids is None:
        return rows
    sessions = visible(actor, Session.objects.all()).values("key")
    member_id = actor.member.pk if actor.member is not None else None
    budget = Q(period__isnull=False, session_key="") & (
        Q(period__budget__team__in=actor.team_ids) | Q(period__budget__member=member_id) | Q(period__budget__scope_kind="organization")
    )
    own = Q(team__in=actor.team_ids) | Q(member__team__in=actor.team_ids) | Q(api_key__member__team__in=actor.team_ids) | Q(api_key__service_account__team__in=actor.team_ids)
    if actor.member is not None:
        own |= Q(member=member_id) | Q(api_key__member=member_id) | Q(team=actor.member.team_id, team__isnull=False)
    return rows.filter(own | budget | Q(session_key__in=sessions, scope_kind=Kind.SESSION) | Q(scope_kind__in=(Kind.PROVIDER, Kind.MODEL, Kind.ORGANIZATION)))


def freeze_seen(actor: Actor, freeze_id: int) -> Freeze:
    """One of the freezes the actor may know of. Raises NotFound."""
    found = freezes_visible(actor).filter(pk=freeze_id).first()
    if found is None:
        raise NotFound("There is no such freeze here.")
    return found


def doubt_about(actor: Actor, *, scope_kind: str, name: str) -> str:
    """What to tell somebody who freezes a provider or a model that nobody here calls and no price list knows: "" where there is no doubt.

    A freeze of such a name may be meant, ahead of the first call; one of a misspelled name stops nothing.
    """
    if scope_kind not in (Kind.PROVIDER, Kind.MODEL):
        return ""
    known = _known_names(actor, scope_kind)
    wanted = provider_family(name) if scope_kind == Kind.PROVIDER else name.strip().lower()
    if wanted in known or (scope_kind == Kind.MODEL and current_book().entry("", wanted) is not None):
        return ""
    near = get_close_matches(wanted, known, n=3, cutoff=0.75)
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"No {scope_kind} “{name.strip()}” was called here in the last {USED_WITHIN.days} days, and no price list knows one.{meant}"


def _known_names(actor: Actor, scope_kind: str) -> set[str]:
    recent = scoped(actor, Session.objects.filter(last_at__gte=timezone.now() - USED_WITHIN)).order_by()
    if scope_kind == Kind.MODEL:
        return {name.lower() for name in (*Model.objects.values_list("slug", flat=True), *recent.values_list("model", flat=True).distinct()) if name}
    names = (*Provider.objects.values_list("slug", flat=True), *recent.values_list("provider", flat=True).distinct())
    return {provider_family(name) for name in names} - {""}
