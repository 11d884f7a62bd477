"""JSON answers, encoded by msgspec: amounts as text so that no digit is lost, instants as RFC 3339."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rest_framework.renderers import BaseRenderer


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
