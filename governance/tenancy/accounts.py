"""How people come by an account, and what a closed one is told: an admin adds them; nobody signs up alone."""

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from governance.tenancy.models import User


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """Closes the public sign-up form, and says so to whoever's account was closed."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        messages.error(request, "This account was closed. Ask an admin of your organization if you need it again.")
        return redirect(settings.LOGIN_URL)
