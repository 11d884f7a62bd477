"""JSON answers, encoded by msgspec: amounts as text so that no digit is lost, instants as RFC 3339."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


def plain_text(value: Any) -> str:
    """Text that carries more than its letters, such as the framework's error details, as the letters alone."""
    if isinstance(value, str):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} cannot be part of an answer")


encoder = msgspec.json.Encoder(decimal_format="string", enc_hook=plain_text)


class JsonRenderer(BaseRenderer):
    """application/json, and problem documents under their own content type."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None) -> bytes:
        return b"" if data is None else encoder.encode(data)


def json_answer(facts: Any, *, status: int) -> HttpResponse:
    """As a Response, without its detours: for addresses that every call passes."""
    return HttpResponse(encoder.encode(facts), status=status, content_type=JsonRenderer.media_type)


class Negotiation(DefaultContentNegotiation):
    """Every address answers in one form, so `Accept` chooses nothing and refuses nobody.

    Who asks is often not who set that header: a proxy that checks a call passes on its caller's, which may be `text/event-stream`.
    """

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = next(iter(renderers))
        return first, first.media_type
