"""Pages: signing in and out, the start page's redirect, the first admin's set-up, the demo's one-click people."""

from typing import Any

from allauth.account.utils import get_next_redirect_url
from allauth.account.views import LoginView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from dashboards.forms.accounts import PasswordForm, SetUpForm, SignInForm
from dashboards.setting_up import first_admin_create, is_unused
from governance.tenancy import access
from governance.tenancy.models import Member, Role, User
from governance.tenancy.services import password_change

BACKEND = "django.contrib.auth.backends.ModelBackend"
DEMO_ROLES = (Role.ADMIN, Role.APPROVER, Role.ENGINEER)
DEMO_LABELS = {Role.ADMIN: "an admin", Role.APPROVER: "a team lead", Role.ENGINEER: "an engineer"}


class SignIn(LoginView):  # type: ignore[misc]
    """E-mail and password, at allauth's rates. A fresh installation goes to the set-up page instead."""

    template_name = "accounts/sign_in.html"
    form_class = SignInForm

    def get_form_class(self) -> type[SignInForm]:
        return SignInForm

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return redirect("set-up") if is_unused() else super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # Past LoginView's own, which names the addresses of sign-up and social sign-in: there are none here.
        context: dict[str, Any] = super(LoginView, self).get_context_data(**kwargs)
        return context | {"demo_people": demo_people(), "next": get_next_redirect_url(self.request) or ""}


@never_cache
def home(request: HttpRequest) -> HttpResponse:
    """To the person's first organization; without one, a page that says so; without a session, to the sign-in page."""
    if not request.user.is_authenticated:
        return redirect("set-up" if is_unused() else "sign-in")
    if request.user.must_change_password:
        return redirect("password")
    member = access.organizations_of(request.user.pk).first()
    if member is None:
        return render(request, "accounts/no_organization.html")
    sees_spend = access.member_actor(member).can(access.Right.VIEW_SPEND)
    return redirect("overview" if sees_spend else "my-usage", slug=member.organization.slug)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return redirect("sign-in")


@login_required
def password(request: HttpRequest) -> HttpResponse:
    """Changing one's own password; other sessions of the person end. Who was given one sees no other page before."""
    user = get_object_or_404(User, pk=request.user.pk)
    form = PasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        password_change(user=user, password=form.cleaned_data["new_password1"], address=request.META.get("REMOTE_ADDR"))
        update_session_auth_hash(request, user)
        messages.success(request, "Your password is changed.")
        return redirect("home")
    return render(request, "accounts/password.html", {"form": form, "is_first": user.must_change_password}, status=422 if form.is_bound else 200)


@never_cache
def set_up(request: HttpRequest) -> HttpResponse:
    """The first admin and the first organization. Not there any more once anybody has an account."""
    if not is_unused():
        raise Http404
    form = SetUpForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "accounts/set_up.html", {"form": form}, status=422 if form.is_bound else 200)
    member = first_admin_create(**form.cleaned_data)
    if member is None:
        return redirect("sign-in")
    login(request, member.user, backend=BACKEND)
    return redirect("overview", slug=member.organization.slug)


@require_POST
def demo_sign_in(request: HttpRequest) -> HttpResponse:
    """Signs in as one of the demo people that the sign-in page offers, and as nobody else."""
    member = get_object_or_404(demo_members(), pk=request.POST.get("member") if str(request.POST.get("member")).isdigit() else None)
    login(request, member.user, backend=BACKEND)
    return redirect("home")


def demo_members() -> Any:
    """Members who may be entered with one click: active, of a demo organization, where the installation allows it."""
    if not getattr(settings, "DEMO_SIGN_IN", False):
        return Member.objects.none()
    rows = Member.objects.filter(organization__is_demo=True, is_active=True, user__is_active=True, user__is_staff=False, user__is_superuser=False)
    # Whoever also belongs to a real organization is never entered this way.
    outside = Member.objects.filter(organization__is_demo=False).values("user_id")
    return rows.exclude(user_id__in=outside).select_related("user", "organization", "team")


def demo_people() -> list[tuple[Member, str]]:
    """One person for each of the demo's main roles, with what the role is called."""
    people = []
    for role in DEMO_ROLES:
        member = demo_members().filter(role=role).order_by("id").first()
        if member is not None:
            people.append((member, DEMO_LABELS[role]))
    return people


urlpatterns = [
    path("", home, name="home"),
    path("sign-in", SignIn.as_view(), name="sign-in"),
    path("sign-in/demo", demo_sign_in, name="demo-sign-in"),
    path("sign-out", sign_out, name="sign-out"),
    path("password", password, name="password"),
    path("set-up", set_up, name="set-up"),
]
