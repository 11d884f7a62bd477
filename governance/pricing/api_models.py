"""API edge of the price book's catalogue: finding models, reading names, and what an organization means by names of its own."""

from datetime import UTC
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.errors import NotFound
from governance.pricing.api import PROBLEM, row_answer
from governance.pricing.book import CatalogueModel, current_book
from governance.pricing.models import Model, NameMapping
from governance.pricing.own_names import name_mapping_add, name_mapping_end, name_mapping_get, name_mappings
from governance.pricing.search import Wanted, models_search
from governance.tenancy.access import Actor
from governance.tenancy.models import Scope

LONGEST_PAGE = 500
TIERS = ["flagship", "standard", "economy", "unknown"]
PROBLEMS: dict[Any, Any] = {(422, "application/problem+json"): PROBLEM}
NOT_FOUND: dict[Any, Any] = {(404, "application/problem+json"): PROBLEM, **PROBLEMS}


class ModelsQuery(serializers.Serializer[Any]):
    """What to find, and which page of it."""

    q = serializers.CharField(max_length=200, required=False, default="", allow_blank=True, help_text="words of a name, alias, provider or maker")
    provider = serializers.CharField(max_length=80, required=False, default="", allow_blank=True, help_text="who bills, by the book's name")
    maker = serializers.CharField(max_length=80, required=False, default="", allow_blank=True, help_text="who made the model")
    tier = serializers.ChoiceField(TIERS, required=False)
    open_weights = serializers.BooleanField(required=False, default=None, allow_null=True, help_text="only those with, or without, published weights")
    at = serializers.DateTimeField(required=False, default_timezone=UTC, help_text="whose prices to show (RFC 3339); now when absent")
    offset = serializers.IntegerField(required=False, default=0, min_value=0, max_value=1_000_000, help_text="the `next` of the page before")
    limit = serializers.IntegerField(required=False, default=50, min_value=1, max_value=LONGEST_PAGE)


class ModelOut(serializers.Serializer[Any]):
    """A model as one provider sells it, with the ordinary price row in force (null: none)."""

    provider = serializers.CharField()
    model = serializers.CharField()
    name = serializers.CharField()
    maker = serializers.CharField()
    tier = serializers.ChoiceField(TIERS)
    has_open_weights = serializers.BooleanField(allow_null=True)
    context_window = serializers.IntegerField(allow_null=True)
    is_deprecated = serializers.BooleanField()
    price = serializers.DictField(allow_null=True, help_text="as in GET /prices")


class ModelListOut(serializers.Serializer[Any]):
    """One page, the closest first."""

    items = ModelOut(many=True)
    total = serializers.IntegerField()
    next = serializers.IntegerField(allow_null=True, help_text="pass as `offset` for the page that follows; null on the last one")


class ReadQuery(serializers.Serializer[Any]):
    """Names as a call reports them."""

    model = serializers.CharField(max_length=200)
    provider = serializers.CharField(max_length=80, required=False, default="", allow_blank=True)


class NamedOut(serializers.Serializer[Any]):
    """A model by its names in the book."""

    provider = serializers.CharField()
    model = serializers.CharField()


class ReadOut(serializers.Serializer[Any]):
    """What the names mean by the price lists; `model` null: not certain, `reason` says why and `candidates` what they could mean."""

    provider = serializers.CharField(help_text="who bills")
    model = NamedOut(allow_null=True)
    kind = serializers.CharField(help_text="the kind of call that the name says: batch, fast, flex, priority or empty")
    region = serializers.CharField()
    steps = serializers.ListField(child=serializers.CharField())
    reason = serializers.CharField()
    candidates = NamedOut(many=True)


class MappingIn(serializers.Serializer[Any]):
    """What a name means from an instant on: a model by its names in the book, or by names that calls may report it by."""

    name = serializers.CharField(max_length=200, help_text="as calls report it")
    reported_provider = serializers.CharField(max_length=80, required=False, default="", allow_blank=True, help_text="empty: whoever bills")
    provider = serializers.CharField(max_length=80)
    model = serializers.CharField(max_length=200)
    valid_from = serializers.DateTimeField(default_timezone=UTC)


class MappingOut(MappingIn):
    """A mapping of the organization's own."""

    id = serializers.IntegerField()
    valid_to = serializers.DateTimeField(allow_null=True)
    decided_by = serializers.CharField()


class MappingListOut(serializers.Serializer[Any]):
    """All mappings of the organization, ended ones too."""

    items = MappingOut(many=True)


EXAMPLE_MODEL = {
    "provider": "anthropic", "model": "claude-opus-4-8", "name": "Claude Opus 4.8", "maker": "anthropic", "tier": "flagship", "has_open_weights": False,
    "context_window": 1000000, "is_deprecated": False,
    "price": {
        "id": 41, "valid_from": "1970-01-01T00:00:00Z", "valid_to": None, "daily_from": None, "daily_to": None, "context": {}, "currency": "USD",
        "rates": {"input_tokens": {"per": 1000000, "base": "5"}, "output_tokens": {"per": 1000000, "base": "25"}}, "source": "genai-prices",
    },
}  # fmt: skip
EXAMPLE_READ = {
    "provider": "azure", "model": {"provider": "openai", "model": "gpt-4o"}, "kind": "", "region": "eu",
    "steps": ["“azure/” before the name is azure.", "“gpt-4o-2024-08-06” is one of the names of a model of openai.", "azure sells it at the list of openai.", "“eu” before it is where it was served."],
    "reason": "", "candidates": [],
}  # fmt: skip
EXAMPLE_MAPPING = {
    "id": 7, "name": "prod-chat", "reported_provider": "azure", "provider": "openai", "model": "gpt-4o", "valid_from": "2026-11-01T00:00:00Z", "valid_to": None,
    "decided_by": "admin@acme.example",
}  # fmt: skip


class PriceModelsView(APIView):
    """The models of the book."""

    scope = Scope.READ

    @extend_schema(
        operation_id="prices_models", summary="Find models by name, alias, maker or provider, with their prices at an instant", parameters=[ModelsQuery],
        responses={200: ModelListOut, **PROBLEMS},
        examples=[OpenApiExample("One model", value={"items": [EXAMPLE_MODEL], "total": 1, "next": None}, response_only=True, status_codes=["200"])],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        asked = _valid(ModelsQuery(data=request.query_params))
        at = asked.get("at") or timezone.now()
        wanted = Wanted(asked["q"], _one(asked["provider"]), _one(asked["maker"]), _one(asked.get("tier")), _weights(asked["open_weights"]))
        found = models_search(current_book(), wanted)
        after = asked["offset"] + asked["limit"]
        items = [_model_answer(model, at) for model in found[asked["offset"] : after]]
        return Response({"items": items, "total": len(found), "next": after if after < len(found) else None})


class PriceNamesReadView(APIView):
    """What names mean."""

    scope = Scope.READ

    @extend_schema(
        operation_id="prices_read_name", summary="Which model a reported name means, and why", parameters=[ReadQuery], responses={200: ReadOut, **PROBLEMS},
        description="By the price lists alone. What the organization itself means by a name (`/prices/names`) goes before it.",
        examples=[OpenApiExample("A deployment in a zone", value=EXAMPLE_READ, response_only=True, status_codes=["200"])],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        asked = _valid(ReadQuery(data=request.query_params))
        match = current_book().resolve(asked["provider"], asked["model"])
        return Response({
            "provider": match.provider, "model": None if match.entry is None else _named(match.entry), "kind": match.kind, "region": match.region,
            "steps": list(match.steps), "reason": match.reason, "candidates": [_named(model) for model in match.candidates],
        })  # fmt: skip


class NameMappingsView(APIView):
    """What the organization means by names."""

    @property
    def scope(self) -> str | None:
        return {"GET": Scope.READ, "POST": Scope.ADMIN}.get(self.request.method or "")

    @extend_schema(
        operation_id="prices_names_list", summary="List what the organization means by names of models", responses={200: MappingListOut},
        examples=[OpenApiExample("A deployment", value={"items": [EXAMPLE_MAPPING]}, response_only=True, status_codes=["200"])],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response({"items": [_mapping_answer(row) for row in name_mappings(_actor(request))]})

    @extend_schema(
        operation_id="prices_names_add", summary="Say what a name of a model means in this organization from an instant on", request=MappingIn,
        description="The mapping of the name that was open ends then. Unpriced calls of the name are rated again within minutes.",
        responses={201: MappingOut, **NOT_FOUND, (409, "application/problem+json"): PROBLEM},
        examples=[
            OpenApiExample("A deployment", value={key: EXAMPLE_MAPPING[key] for key in ("name", "reported_provider", "provider", "model", "valid_from")}, request_only=True),
            OpenApiExample("Mapped", value=EXAMPLE_MAPPING, response_only=True, status_codes=["201"]),
        ],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        given = _valid(MappingIn(data=request.data))
        model = _model_named(given["provider"], given["model"])
        if model is None:
            raise NotFound("The price book has no such model.", provider=given["provider"], model=given["model"])
        row = name_mapping_add(
            actor=_actor(request), name=given["name"], provider=given["reported_provider"], model=model, valid_from=given["valid_from"]
        )
        return Response(_mapping_answer(row), status=201)


def _model_named(provider: str, name: str) -> Model | None:
    """The catalogue's model of exactly this name, else the one that calls of these names are priced as. None where that is not certain."""
    exact = Model.objects.filter(provider__slug=provider, slug=name).first()
    if exact is not None:
        return exact
    found = current_book().entry(provider, name)
    return None if found is None else Model.objects.filter(provider__slug=found.provider, slug=found.slug).first()


class NameMappingView(APIView):
    """One mapping."""

    scope = Scope.ADMIN

    @extend_schema(
        operation_id="prices_names_end", summary="End a mapping of a name now", responses={200: MappingOut, **NOT_FOUND}, request=None,
        examples=[OpenApiExample("Ended", value=EXAMPLE_MAPPING | {"valid_to": "2026-11-21T09:30:00Z"}, response_only=True, status_codes=["200"])],
    )  # fmt: skip
    def delete(self, request: Request, mapping_id: int) -> Response:
        actor = _actor(request)
        row = name_mapping_end(actor=actor, mapping=name_mapping_get(actor, mapping_id), valid_to=timezone.now())
        return Response(_mapping_answer(row))


def _valid(serializer: serializers.Serializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


def _actor(request: Request) -> Actor:
    return request.user  # type: ignore[return-value]


def _one(value: str | None) -> tuple[str, ...]:
    return (value,) if value else ()


def _weights(is_open: bool | None) -> tuple[str, ...]:
    return () if is_open is None else ("open",) if is_open else ("closed",)


def _named(model: CatalogueModel) -> dict[str, str]:
    return {"provider": model.provider, "model": model.slug}


def _model_answer(model: CatalogueModel, at: Any) -> dict[str, Any]:
    row = model.row_at(at)
    return {
        **_named(model), "name": model.name, "maker": model.maker, "tier": model.tier, "has_open_weights": model.has_open_weights,
        "context_window": model.context_window, "is_deprecated": model.is_deprecated, "price": None if row is None else row_answer(row),
    }  # fmt: skip


def _mapping_answer(row: NameMapping) -> dict[str, Any]:
    return {
        "id": row.pk, "name": row.name, "reported_provider": row.provider, "provider": row.model.provider.slug, "model": row.model.slug,
        "valid_from": row.valid_from, "valid_to": row.valid_to, "decided_by": row.maker_label,
    }  # fmt: skip
