"""Errors as problem documents (RFC 9457, application/problem+json) with a stable `code`."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from governance.audit.services import plain
from governance.errors import DomainError

CONTENT_TYPE = "application/problem+json"


def problem(status: int, code: str, title: str, detail: str = "", **extra: Any) -> Response:
    """An answer that says what went wrong: {type, title, status, code, detail, …extra}."""
    body = {"type": f"urn:weighhouse:problem:{code}", "title": title, "status": status, "code": code}
    if detail:
        body["detail"] = detail
    return Response(body | plain(extra), status=status, content_type=CONTENT_TYPE)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: every refusal becomes a problem document; anything unforeseen stays a 500."""
    if isinstance(error, DomainError):
        set_rollback()
        return problem(error.status, error.code, error.title, error.detail, **error.extra)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    return _from_api_exception(error)


def _from_api_exception(error: exceptions.APIException) -> Response:
    if isinstance(error, exceptions.ValidationError):
        return problem(422, "invalid", "Something in the request is not valid", errors=error.get_full_details())
    code = str(error.get_codes())
    response = problem(error.status_code, code, str(error.default_detail), str(error.detail))
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))
    return response
