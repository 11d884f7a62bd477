"""Errors as problem documents (RFC 9457, application/problem+json) with a stable `code`."""

import logging
import sys
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from governance.audit.services import plain
from governance.errors import DomainError
from governance.sql import PASSING

CONTENT_TYPE = "application/problem+json"
API_ADDRESSES = ("/api/", "/otlp/")
RETRY_AFTER_SECONDS = "2"
PAGE_AGAIN_S = 5  # a page that could not be shown is asked for again after so long
UNAVAILABLE = (503, "unavailable", "Weighhouse cannot do this just now", "The database did not answer in time; send the same again.")
log = logging.getLogger(__name__)


def problem(status: int, code: str, title: str, detail: str = "", **extra: Any) -> Response:
    """An answer that says what went wrong: {type, title, status, code, detail, …extra}."""
    return Response(document(status, code, title, detail) | plain(extra), status=status, content_type=CONTENT_TYPE)


def document(status: int, code: str, title: str, detail: str = "") -> dict[str, Any]:
    """What every problem document holds."""
    body: dict[str, Any] = {"type": f"urn:weighhouse:problem:{code}", "title": title, "status": status, "code": code}
    return body | {"detail": detail} if detail else body


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Something that Django refuses to read, such as a thousand parameters: a document under the API's addresses, a page elsewhere."""
    if request.path.startswith(API_ADDRESSES):
        return plain_problem(400, "unreadable", "This request could not be read", "Its host, parameters or headers are nothing that is taken here.")
    return defaults.bad_request(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """No such address: a document under the API's, a page elsewhere."""
    if request.path.startswith(API_ADDRESSES):
        return plain_problem(404, "not_found", "Not found", f"There is nothing at this address; {request.get_host()}/api/docs lists what there is.")
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Something that nobody foresaw, or the database is away: a document under the API's addresses, a page elsewhere."""
    if isinstance(sys.exception(), PASSING):
        return _unavailable_outside_views(request)
    if request.path.startswith(API_ADDRESSES):
        return plain_problem(500, "server_error", "Something went wrong here", "It is in the log. Sending the same again is safe.")
    return defaults.server_error(request)


def _unavailable_outside_views(request: HttpRequest) -> HttpResponse:
    if request.path.startswith(API_ADDRESSES):
        answer = plain_problem(*UNAVAILABLE)
    else:
        # Only what was merely looked at is asked for again by itself.
        again_s = PAGE_AGAIN_S if request.method == "GET" else None
        answer = HttpResponse(render_to_string("503.html", {"again_s": again_s}), status=503)
    answer["Retry-After"] = RETRY_AFTER_SECONDS
    return answer


def plain_problem(status: int, code: str, title: str, detail: str) -> HttpResponse:
    """A problem document outside the API's views."""
    return HttpResponse(msgspec.json.encode(document(status, code, title, detail)), status=status, content_type=CONTENT_TYPE)


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: every refusal becomes a problem document; anything unforeseen stays a 500."""
    if isinstance(error, PASSING):
        return _unavailable(error, context)
    if isinstance(error, DomainError):
        set_rollback()
        return problem(error.status, error.code, error.title, error.detail, **error.extra)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, RequestDataTooBig):
        return problem(413, "body_too_large", "The request is too large", "This body is larger than anything this address takes.")
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    return _from_api_exception(error)


def _unavailable(error: Exception, context: dict[str, Any]) -> Response:
    """The answer while the database cannot be asked, with the time after which to send again."""
    log.warning("%s has to ask a client to send again.", type(context.get("view")).__name__, exc_info=error)
    set_rollback()
    answer = problem(*UNAVAILABLE)
    answer["Retry-After"] = RETRY_AFTER_SECONDS
    return answer


def _from_api_exception(error: exceptions.APIException) -> Response:
    if isinstance(error, exceptions.ValidationError):
        return problem(422, "invalid", "Something in the request is not valid", errors=error.get_full_details())
    code = str(error.get_codes())
    # A default with a place for a word in it ("Method {method} not allowed.") is no title; the detail has it filled in.
    default = str(error.default_detail)
    response = problem(error.status_code, code, str(error.detail) if "{" in default else default, str(error.detail))
    if header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = header
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait))
    return response
