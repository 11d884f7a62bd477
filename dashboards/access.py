"""Who is looking: turns a signed-in person and the organization in the address into an Actor, or into 404 or 403."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django_htmx.middleware import HtmxDetails

from governance.errors import Forbidden, NotFound
from governance.tenancy import access
from governance.tenancy.access import Actor, Right

Arguments = ParamSpec("Arguments")
View = Callable[..., HttpResponse]


class PageRequest(HttpRequest):
    """A request that went through `page`: it carries the actor."""

    actor: Actor
    htmx: HtmxDetails


def page(right: Right | None = None) -> Callable[[Callable[Concatenate[Any, Arguments], HttpResponse]], View]:
    """Makes a function a page of an organization.

    Anonymous visitors go to the sign-in page, people with a password that was given to them choose their own first, strangers get 404, members without the right 403. Refusals raised
    inside (DomainError) become pages as well. Dates are written on the organization's clock.
    """

    def decorate(view: Callable[Concatenate[Any, Arguments], HttpResponse]) -> View:
        @wraps(view)
        def guarded(request: PageRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponse:
            if request.user.pk is None:
                return redirect_to_login(request.get_full_path())
            if getattr(request.user, "must_change_password", False):
                return redirect("password")
            member = access.member_in(request.user.pk, slug)
            request.actor = access.member_actor(member, request.META.get("REMOTE_ADDR"))
            try:
                if right is not None:
                    access.require(request.actor, right)
                with timezone.override(request.actor.organization.zone):
                    return view(request, *args, **kwargs)
            except NotFound as error:
                return render(request, "404.html", {"detail": error.detail}, status=404)
            except Forbidden as error:
                return render(request, "403.html", {"detail": error.detail}, status=403)

        return guarded

    return decorate
