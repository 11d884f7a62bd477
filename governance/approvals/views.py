"""What the views of the API of approvals share: scopes by method, bodies that are checked, and the problems they answer with."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from governance.errors import Invalid
from governance.tenancy.access import Actor

LONGEST_KEY = 200
IDEMPOTENCY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Up to 200 characters. The same key with the same body gives the first answer again.",
)
PROBLEM = {"type": "object", "properties": {"code": {"type": "string"}, "title": {"type": "string"}, "detail": {"type": "string"}}}
PROBLEMS = {
    ("403", "application/problem+json"): PROBLEM,
    ("404", "application/problem+json"): PROBLEM,
    ("409", "application/problem+json"): PROBLEM,
    ("422", "application/problem+json"): PROBLEM,
}


class ScopedView(APIView):
    """A view whose methods need different scopes."""

    scopes: dict[str, str] = {}

    @property
    def scope(self) -> str | None:
        return self.scopes.get(self.request.method or "")

    @property
    def actor(self) -> Actor:
        return self.request.user  # type: ignore[return-value]


def valid(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise Invalid(f"An Idempotency-Key has 1 to {LONGEST_KEY} printable characters.", field="Idempotency-Key")
    return key
