"""OpenClaw's spans (plugin diagnostics-otel): one event per `openclaw.model.usage`, which has the sum of one run in every version.

`openclaw.model.call` beside it, one for each request, has no counts in some versions and the same ones again in others: only one that
failed is read, which had no usage. Where the newest conventions are asked for it is named for operation and model, and known by its unit.
Input excludes cached tokens; `gen_ai.usage.*`, where it is there, includes them. Zeros stand for what is not known. Metrics and logs
repeat the spans. Written from the plugin's source.
"""

from typing import Any

from governance.pricing.catalogue import provider_family
from ingest.formats import genai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import Attributes, first, said
from ingest.formats.scalars import amount
from ingest.formats.telemetry import Source, Span

NAME = "openclaw"
USAGE, CALL = "openclaw.model.usage", "openclaw.model.call"
UNIT = "openclaw.model_call.observation_unit"
COUNT = "openclaw.tokens."
SESSIONS = (
    "openclaw.sessionId",
    "openclaw.session_id",
    "openclaw.sessionKey",
    "openclaw.session_key",
    "gen_ai.conversation.id",
    "session.id",
)
NO_MODEL = ("", "unknown")


def reads(source: Source) -> bool:
    """Whether OpenClaw sent it: people name the service, the scope they cannot."""
    return source.scope == NAME


def call_fields(span: Span) -> dict[str, Any] | None:
    if (span.name == CALL or UNIT in span.attributes) and span.is_error:
        return said(described(span))
    if span.name != USAGE or not any(tokens := counts(span.attributes)):
        return None
    return said({**described(span), **disjoint(tokens, cache_in_input=False, reasoning_in_output=True)})


def described(span: Span) -> dict[str, Any]:
    attributes = span.attributes
    model, provider = (first(attributes, (name,)) or "" for name in ("openclaw.model", "openclaw.provider"))
    return genai.described(span) | {
        "model": model if model not in NO_MODEL else genai.model(attributes) or "unknown",
        "provider": (provider_family(provider) if provider not in NO_MODEL else "") or genai.provider(attributes),
        "harness": NAME,
        "session": first(attributes, SESSIONS),
        "reported_cost": amount(attributes.get("openclaw.cost_usd")),
    }


def counts(attributes: Attributes) -> Reported:
    """The counts under the plugin's own names. All of them stand on every span, so that a zero says nothing by itself."""
    told = {name: attributes.get(f"{COUNT}{name}") for name in ("input", "output", "cache_read", "cache_write", "total")}
    return Reported(**told) if any(value not in (None, 0, "0", 0.0) for value in told.values()) else Reported()
