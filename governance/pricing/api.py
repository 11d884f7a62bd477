"""API edge of pricing: what a model costs, when, and what it cost before."""

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.errors import NotFound
from governance.pricing.book import CatalogueModel, Row, current_book
from governance.pricing.meters import in_order
from governance.tenancy.models import Scope


class PricesQuery(serializers.Serializer[Any]):
    """Whose price, of which model, when."""

    model = serializers.CharField(max_length=200, help_text="the model as calls name it")
    provider = serializers.CharField(
        max_length=80, required=False, default="", allow_blank=True, help_text="who bills; without it the name alone decides"
    )
    at = serializers.DateTimeField(required=False, default_timezone=UTC, help_text="the instant of the call (RFC 3339); now when absent")


class RowOut(serializers.Serializer[Any]):
    """A price row. `rates` maps a meter to {per, base, tiers, least}: amounts are text, tiers apply above so many input tokens."""

    # The stubs know `context` and `source` as attributes of a field; a serializer takes declared fields out of its class.
    id = serializers.IntegerField()
    valid_from = serializers.DateTimeField()
    valid_to = serializers.DateTimeField(allow_null=True)
    daily_from = serializers.TimeField(allow_null=True, help_text="UTC")
    daily_to = serializers.TimeField(allow_null=True, help_text="UTC")
    context = serializers.DictField(child=serializers.CharField(), help_text="the kind of call the row is for")  # type: ignore[assignment]
    currency = serializers.CharField()
    rates = serializers.DictField()
    source = serializers.CharField()  # type: ignore[assignment]


class PricesOut(serializers.Serializer[Any]):
    """A model with the row in force at the instant, the rows for special calls then, and the history of all rows."""

    provider = serializers.CharField(help_text="who bills, as calls of these names are stored")
    model = serializers.CharField()
    name = serializers.CharField()
    maker = serializers.CharField()
    country = serializers.CharField()
    tier = serializers.ChoiceField(["flagship", "standard", "economy", "unknown"])
    has_open_weights = serializers.BooleanField(allow_null=True)
    context_window = serializers.IntegerField(allow_null=True)
    is_deprecated = serializers.BooleanField()
    at = serializers.DateTimeField()
    price = RowOut(allow_null=True)
    special = RowOut(many=True)
    history = RowOut(many=True)
    book_version = serializers.IntegerField()


EXAMPLE_ROW = {
    "id": 41,
    "valid_from": "1970-01-01T00:00:00Z",
    "valid_to": None,
    "daily_from": None,
    "daily_to": None,
    "context": {},
    "currency": "USD",
    "rates": {"input_tokens": {"per": 1000000, "base": "5"}, "output_tokens": {"per": 1000000, "base": "25"}},
    "source": "genai-prices",
}
EXAMPLE = {
    "provider": "anthropic",
    "model": "claude-opus-4-8",
    "name": "Claude Opus 4.8",
    "maker": "anthropic",
    "country": "US",
    "tier": "flagship",
    "has_open_weights": False,
    "context_window": 1000000,
    "is_deprecated": False,
    "at": "2026-11-21T12:00:00Z",
    "price": EXAMPLE_ROW,
    "special": [],
    "history": [EXAMPLE_ROW],
    "book_version": 1,
}
PROBLEM = {"type": "object", "properties": {"code": {"type": "string"}, "title": {"type": "string"}, "detail": {"type": "string"}}}


class PricesView(APIView):
    """What a model costs."""

    scope = Scope.READ

    @extend_schema(
        operation_id="prices",
        summary="The price of a model at an instant, and its history",
        parameters=[
            OpenApiParameter("model", str, required=True, description="The model as calls name it."),
            OpenApiParameter("provider", str, description="Who bills, by any of its names. Without it the model's name alone decides."),
            OpenApiParameter("at", datetime, description="The instant of the call (RFC 3339). Now when absent."),
        ],
        responses={200: PricesOut, (404, "application/problem+json"): PROBLEM, (422, "application/problem+json"): PROBLEM},
        examples=[OpenApiExample("A flagship model", value=EXAMPLE, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        query = PricesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        at = asked.get("at") or timezone.now()
        book = current_book()
        model = book.entry(asked["provider"], asked["model"])
        if model is None:
            read = book.resolve(asked["provider"], asked["model"])
            could = [{"provider": other.provider, "model": other.slug} for other in read.candidates]
            raise NotFound("There is no price for this model.", model=asked["model"], provider=asked["provider"], reason=read.reason, candidates=could)
        provider = book.provider_of(asked["provider"], asked["model"])
        return Response(prices_answer(model, provider=provider, at=at) | {"book_version": book.version})


def prices_answer(model: CatalogueModel, *, provider: str, at: datetime) -> dict[str, Any]:
    """The catalogue's facts, the row in force, the rows for special calls in force, and all rows, newest first.

    `provider` is who bills, as a call is stored. One that resells another's model is priced by that one's rows, the special ones apart.
    """
    row = model.row_at(at)
    is_own = provider == model.provider
    return {
        "provider": provider,
        "model": model.slug,
        "name": model.name,
        "maker": model.maker,
        "country": model.country,
        "tier": model.tier,
        "has_open_weights": model.has_open_weights,
        "context_window": model.context_window,
        "is_deprecated": model.is_deprecated,
        "at": at,
        "price": row_answer(row) if row else None,
        "special": [row_answer(other) for other in model.special if is_own and other.holds(at)],
        "history": [row_answer(other) for other in sorted(model.rows, key=lambda other: (other.valid_from, other.id), reverse=True)],
    }


def row_answer(row: Row) -> dict[str, Any]:
    """One price row as the API shows it."""
    return {
        "id": row.id,
        "valid_from": row.valid_from,
        "valid_to": row.valid_to,
        "daily_from": row.daily_from,
        "daily_to": row.daily_to,
        "context": row.context,
        "currency": row.currency,
        "rates": in_order(row.rates),
        "source": row.source,
    }
