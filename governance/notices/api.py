"""API edge of notices: where the stream of signals is read."""

from django.conf import settings
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from governance.notices.stream.serving import PATH
from governance.tenancy.models import Scope

LINE = """id: 17-740:740:
event: freeze.started
data: {"signal":17,"type":"freeze.started","timestamp":"2026-11-21T10:05:00.000000Z","organization":"acme","data":{"freeze":4,"scope_kind":"session",
data: "scope_key":"s-7f31","cause":"hand","reason":"looks like a loop","session":"s-7f31","budget":null,"by":"Kim","url":"https://weighhouse.example.com/o/acme/sessions/s-7f31"}}
"""


def stream_location() -> str:
    """The address of the stream itself."""
    return f"{settings.STREAM_URL}{PATH}"


class Stream(APIView):
    """GET /api/v1/stream."""

    scope = Scope.READ

    @extend_schema(
        operation_id="stream",
        tags=["stream"],
        summary="Hear of freezes, thresholds, requests and guards as they happen",
        description=(
            "Server-Sent Events, answered by a process of its own, to whose address this one redirects. Programs that keep the key from a redirect "
            "to another port (most do) ask there directly. Each event is told once to each reader; `Last-Event-ID` goes on where a reader left off."
        ),
        parameters=[OpenApiParameter("Last-Event-ID", OpenApiTypes.STR, OpenApiParameter.HEADER, description="The last `id` that was read.")],
        responses={
            (200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR, description="Events until either side ends. A comment every 15 seconds."),
            307: OpenApiResponse(description="`Location` is where the stream answers."),
        },
        examples=[OpenApiExample("A freeze", value=LINE, media_type="text/event-stream", response_only=True, status_codes=["200"])],
    )
    def get(self, request: Request) -> Response:
        return Response({"stream": stream_location()}, status=307, headers={"Location": stream_location()})
