"""Serves programs: addresses that take API keys go past what only people's pages need (sessions, cookies, messages, scripts' rules)."""

from collections.abc import Callable, Iterable
from typing import Any

from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, get_script_name
from django.http import HttpRequest, HttpResponse
from django.urls import ResolverMatch, set_script_prefix
from django.utils.module_loading import import_string

PREFIXES = ("/api/v1/", "/otlp/")
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class MachineHandler(WSGIHandler):
    """Django with the short list of middleware in MACHINE_MIDDLEWARE, which remembers what answers at an address without variable parts."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, ResolverMatch] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # type: ignore[override] # all that a server asks for
        """As Django does, without its signals of a request's beginning and end: what listens to them looks after connections, which is done (lending.py)."""
        if settings.DEBUG:
            return super().__call__(environ, start_response)
        set_script_prefix(get_script_name(environ))
        response = self.get_response(self.request_class(environ))
        cookies = [("Set-Cookie", cookie.output(header="")) for cookie in response.cookies.values()]
        start_response(f"{response.status_code} {response.reason_phrase}", [*response.items(), *cookies])
        return _sent(response) if isinstance(response, HttpResponse) else response

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """As Django does, which tries all addresses in turn."""
        found = self._found.get(request.path_info)
        if found is None:
            found = super().resolve_request(request)
            if not found.args and not found.kwargs:
                self._found[request.path_info] = found
        request.resolver_match = found
        return found

    def load_middleware(self, is_async: bool = False) -> None:
        """Builds the chain as Django does; its middleware has no hooks but to be called."""
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        chain = convert_exception_to_response(self._get_response)  # type: ignore[attr-defined]
        for path in reversed(settings.MACHINE_MIDDLEWARE):
            chain = convert_exception_to_response(import_string(path)(chain))
        self._middleware_chain = chain


def _sent(response: HttpResponse) -> Iterable[bytes]:
    """The answer's bytes. What the request had open is closed by now, because nothing of the answer is still to be made."""
    content = response.content
    # An answer that the framework has rendered knows what it was rendered by, which knows it: a circle, see ProgramView.
    vars(response).pop("renderer_context", None)
    for close in response._resource_closers:  # type: ignore[attr-defined]
        close()
    return (content,)


def split(*, pages: Application, machines: Application) -> Application:
    """One application of the two: programs' addresses go to `machines`, all others to `pages`."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        chosen = machines if environ.get("PATH_INFO", "").startswith(PREFIXES) else pages
        return chosen(environ, start_response)

    return application
