"""Omnigent's spans: the usage of a run stands on the agent's span alone, and counts unless calls beneath it are reported.

Input excludes cached tokens here, although the names are those of the GenAI conventions, and reasoning is not told apart.
`gen_ai.request.model` is the agent's name; a model is known only where it differs from that.
"""

from typing import Any

from ingest.formats import genai
from ingest.formats.buckets import Reported, disjoint
from ingest.formats.labels import first, said
from ingest.formats.telemetry import Source, Span

NAME = "omnigent"


def reads(source: Source) -> bool:
    return source.scope == NAME or source.scope.startswith("omnigent.")


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    counts = genai.token_counts(attributes)
    if counts == Reported() or first(attributes, genai.OPERATIONS) not in (None, "invoke_agent", "chat"):
        return None
    agent = first(attributes, ("gen_ai.agent.name", "agent.name"))
    named = genai.model(attributes)
    fields = genai.described(span) | {
        "model": named if named and named != agent else "unknown",
        "harness": NAME,
        "harness_version": None,
        **disjoint(counts, cache_in_input=False, reasoning_in_output=True),
    }
    return said(fields)
