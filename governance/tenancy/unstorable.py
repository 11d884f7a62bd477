"""Refuses text with NUL characters, which no column can hold, in one place before any view reads it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

from governance.tenancy.problems import API_ADDRESSES, plain_problem

REASON = "Text must not contain NUL characters."


class RefuseNul:
    """Middleware: 422 at the API's addresses, 400 on a page, for a NUL in the path, the query or a form. Bodies for programs are read by their views."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        is_api = request.path_info.startswith(API_ADDRESSES)
        if "\x00" in request.path_info or "%00" in request.META.get("QUERY_STRING", "") or (not is_api and _form_has_nul(request)):
            return plain_problem(422, "invalid", "Something in the request is not valid", REASON) if is_api else HttpResponseBadRequest(REASON, "text/plain")
        return self.get_response(request)


def _form_has_nul(request: HttpRequest) -> bool:
    return request.method == "POST" and any("\x00" in value for _, values in request.POST.lists() for value in values)
