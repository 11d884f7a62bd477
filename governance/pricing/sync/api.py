"""API edge of price sources: readings, what they found, decisions, and where sources disagree."""

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.pricing.changing import may_change_prices
from governance.pricing.models import PriceFinding, PriceRun
from governance.pricing.sync import selectors, services
from governance.tenancy.access import Actor
from governance.tenancy.models import Scope

MOST = 200
LARGEST_ID = 2**63 - 1
PROBLEM = {"type": "object", "properties": {"code": {"type": "string"}, "title": {"type": "string"}, "detail": {"type": "string"}}}
PROBLEMS = {(str(status), "application/problem+json"): PROBLEM for status in (403, 404, 409, 422)}
EXAMPLE_RUN = {
    "id": 12,
    "source": "openrouter",
    "state": "done",
    "started_at": "2026-11-21T04:00:00Z",
    "finished_at": "2026-11-21T04:00:03Z",
    "by": "",
    "problem": "",
    "failures": 1,
    "models_read": 399,
    "left_out": {"the price varies by call": 2},
    "counts": {"new_model": 3, "changed": 1, "waiting": 1},
}
EXAMPLE_FINDING = {
    "id": 845,
    "run": 12,
    "kind": "changed",
    "state": "waiting",
    "provider": "openrouter",
    "model": "z-ai/glm-5",
    "change": "999.000000",
    "steps": [
        {
            "meter": "input_tokens",
            "per": 1000000,
            "old": "0.95",
            "new": "950",
            "currency": "USD",
            "context": {},
            "from": "2026-11-21T04:00:00+00:00",
            "to": None,
        }
    ],
    "suspicions": ["tenfold", "unit"],
    "valid_from": "2026-11-21T04:00:00Z",
    "announced_at": None,
    "is_back_dated": False,
    "decided_at": None,
    "decided_by": "",
    "note": "",
}
EXAMPLE_DISAGREEMENT = {
    "provider": "azure",
    "model": "text-embedding-3-large",
    "rated_by": "genai-prices",
    "spread": "0.1",
    "quotes": {
        "genai-prices": {"currency": "USD", "rates": {"input_tokens": {"per": 1000000, "base": "0.13"}}},
        "litellm": {"currency": "USD", "rates": {"input_tokens": {"per": 1000000, "base": "0.143"}}},
    },
}


class PriceRunOut(serializers.ModelSerializer[PriceRun]):
    """One reading of a source. `counts` has findings by kind, and how many of them wait; `left_out` why entries were passed over."""

    left_out = serializers.DictField(child=serializers.IntegerField())
    counts = serializers.DictField(child=serializers.IntegerField())

    class Meta:
        model = PriceRun
        fields = ["id", "source", "state", "started_at", "finished_at", "by", "problem", "failures", "models_read", "left_out", "counts"]


class PriceFindingOut(serializers.ModelSerializer[PriceFinding]):
    """What a reading found about a model. `steps` are the amounts that differ; `change` is a share, 0.83 for +83 %."""

    run = serializers.IntegerField(source="run_id")
    model = serializers.CharField(source="slug")
    steps = serializers.ListField(child=serializers.DictField())
    suspicions = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = PriceFinding
        fields = [
            "id", "run", "kind", "state", "provider", "model", "change", "steps", "suspicions", "valid_from", "announced_at", "is_back_dated", "decided_at",
            "decided_by", "note",
        ]  # fmt: skip


class PriceRunsOut(serializers.Serializer[Any]):
    runs = PriceRunOut(many=True)


class PriceRunWithFindingsOut(PriceRunOut):
    """A reading with what it found."""

    findings = PriceFindingOut(many=True)

    class Meta(PriceRunOut.Meta):
        fields = [*PriceRunOut.Meta.fields, "findings"]


class PriceFindingsOut(serializers.Serializer[Any]):
    findings = PriceFindingOut(many=True)


class PriceReadingIn(serializers.Serializer[Any]):
    """Which source is to be read now."""

    source = serializers.ChoiceField(list(services.ONLINE))  # type: ignore[assignment]


class PriceReadingOut(serializers.Serializer[Any]):
    """The source is being read; what is found becomes a run."""

    source = serializers.CharField()  # type: ignore[assignment]
    state = serializers.ChoiceField(["asked"])


class PriceDecisionIn(serializers.Serializer[Any]):
    """Whether what waits is right."""

    decision = serializers.ChoiceField(["accept", "reject"])
    note = serializers.CharField(max_length=2000, required=False, default="", allow_blank=True)


class PriceQuoteOut(serializers.Serializer[Any]):
    currency = serializers.CharField()
    rates = serializers.DictField()


class DisagreementOut(serializers.Serializer[Any]):
    """A model about which sources differ. `spread` is the dearest by the cheapest, less one, where it is widest."""

    provider = serializers.CharField()
    model = serializers.CharField()
    rated_by = serializers.CharField(help_text="the source of the row that rates calls")
    spread = serializers.CharField()
    quotes = serializers.DictField(child=PriceQuoteOut())


class DisagreementsOut(serializers.Serializer[Any]):
    disagreements = DisagreementOut(many=True)


class LimitQuery(serializers.Serializer[Any]):
    limit = serializers.IntegerField(min_value=1, max_value=MOST, required=False, default=50)
    before = serializers.IntegerField(min_value=1, max_value=LARGEST_ID, required=False)


def actor_of(request: Request) -> Actor:
    """Whose key it is."""
    return request.user  # type: ignore[return-value]


class RunsView(APIView):
    """Readings of price sources."""

    @property
    def scope(self) -> Scope:
        return Scope.ADMIN if self.request.method == "POST" else Scope.READ

    @extend_schema(
        operation_id="price_runs",
        summary="Readings of price sources, newest first",
        parameters=[
            OpenApiParameter("limit", int, description=f"How many, at most {MOST}; 50 when absent."),
            OpenApiParameter("before", int, description="Only those before the reading of this id."),
        ],
        responses={200: PriceRunsOut, **PROBLEMS},
        examples=[OpenApiExample("Readings", value={"runs": [EXAMPLE_RUN]}, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        query = LimitQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        rows = selectors.runs()
        if before := query.validated_data.get("before"):
            rows = rows.filter(pk__lt=before)
        return Response({"runs": PriceRunOut(rows[: query.validated_data["limit"]], many=True).data})

    @extend_schema(
        operation_id="price_run_ask",
        summary="Have a source read now",
        request=PriceReadingIn,
        responses={202: PriceReadingOut, **PROBLEMS},
        examples=[
            OpenApiExample("OpenRouter", value={"source": "openrouter"}, request_only=True),
            OpenApiExample("Asked", value={"source": "openrouter", "state": "asked"}, response_only=True, status_codes=["202"]),
        ],
    )
    def post(self, request: Request) -> Response:
        may_change_prices(actor_of(request))
        asked = PriceReadingIn(data=request.data)
        asked.is_valid(raise_exception=True)
        services.reading_ask(asked.validated_data["source"])
        return Response({"source": asked.validated_data["source"], "state": "asked"}, status=202)


class RunView(APIView):
    """One reading."""

    scope = Scope.READ

    @extend_schema(
        operation_id="price_run",
        summary="One reading with everything it found",
        responses={200: PriceRunWithFindingsOut, **PROBLEMS},
        examples=[
            OpenApiExample("A reading", value=EXAMPLE_RUN | {"findings": [EXAMPLE_FINDING]}, response_only=True, status_codes=["200"])
        ],
    )
    def get(self, request: Request, reading_id: int) -> Response:
        run = selectors.run_named(min(reading_id, LARGEST_ID))
        return Response({**PriceRunOut(run).data, "findings": PriceFindingOut(selectors.findings_of(run), many=True).data})


class FindingsView(APIView):
    """What waits for a decision."""

    scope = Scope.READ

    @extend_schema(
        operation_id="price_findings",
        summary="Prices that wait for a decision, the oldest first",
        parameters=[OpenApiParameter("limit", int, description=f"How many, at most {MOST}; 50 when absent.")],
        responses={200: PriceFindingsOut, **PROBLEMS},
        examples=[OpenApiExample("One waits", value={"findings": [EXAMPLE_FINDING]}, response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        query = LimitQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        return Response({"findings": PriceFindingOut(selectors.findings_waiting()[: query.validated_data["limit"]], many=True).data})


class FindingView(APIView):
    """One decision."""

    scope = Scope.ADMIN

    @extend_schema(
        operation_id="price_finding_decide",
        summary="Accept or reject a price that waits; takes a key of a member who may change prices",
        request=PriceDecisionIn,
        responses={200: PriceFindingOut, **PROBLEMS},
        examples=[
            OpenApiExample("It is a slip", value={"decision": "reject", "note": "Per token taken for per thousand."}, request_only=True),
            OpenApiExample("Rejected", value=EXAMPLE_FINDING | {"state": "rejected", "note": "Per token taken for per thousand."}, response_only=True, status_codes=["200"]),
        ],
    )  # fmt: skip
    def post(self, request: Request, finding_id: int) -> Response:
        may_change_prices(actor_of(request))
        asked = PriceDecisionIn(data=request.data)
        asked.is_valid(raise_exception=True)
        decide = services.finding_accept if asked.validated_data["decision"] == "accept" else services.finding_reject
        finding = decide(actor=actor_of(request), finding_id=min(finding_id, LARGEST_ID), note=asked.validated_data["note"])
        return Response(PriceFindingOut(finding).data)


class DisagreementsView(APIView):
    """Where sources differ."""

    scope = Scope.READ

    @extend_schema(
        operation_id="price_disagreements",
        summary="Models about which sources say different things, the widest apart first",
        responses={200: DisagreementsOut, **PROBLEMS},
        examples=[
            OpenApiExample(
                "Two say different things", value={"disagreements": [EXAMPLE_DISAGREEMENT]}, response_only=True, status_codes=["200"]
            )
        ],
    )
    def get(self, request: Request) -> Response:
        rows = [
            {
                "provider": row.provider,
                "model": row.slug,
                "rated_by": row.rated_by,
                "spread": f"{row.spread:f}",
                "quotes": {source: {"currency": row.currencies[source], "rates": rates} for source, rates in row.quotes.items()},
            }
            for row in selectors.disagreements()
        ]
        return Response({"disagreements": rows})
