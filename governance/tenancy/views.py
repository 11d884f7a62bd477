"""What views of programs have in common."""

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class ProgramView(APIView):
    """A view that calls pass, hundreds a second, and that leaves nothing to be collected.

    The framework has view, request and answer know each other. Garbage in such circles stays until Python looks for it, which stops
    every request of the process for many milliseconds.
    """

    def handle_exception(self, exc: Exception) -> Response:
        """As the framework does. What was refused is told by now, and where it was raised holds on to what was raised."""
        answer = super().handle_exception(exc)
        exc.__traceback__ = None
        return answer

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(request, *args, **kwargs)
        finally:
            if isinstance(known := vars(self).get("request"), Request):
                known.parser_context = {}
            vars(self).clear()
