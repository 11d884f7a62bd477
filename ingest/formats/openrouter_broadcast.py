"""OpenRouter's broadcasts: one event per span that has OpenRouter's own metadata, which is the root of a generation.

The spans beneath it (`generation`, `provider attempt N`) repeat parts of it and are read by nobody. `gen_ai.provider.name` is the model's
maker; OpenRouter bills. Input includes what caches read and wrote, output includes reasoning. What the caller said as `trace` comes as
`trace.metadata.…`. Written from what others captured of it.
"""

from typing import Any

from ingest.formats import genai
from ingest.formats.labels import Attributes, picked, said, tags_of
from ingest.formats.scalars import Scalar, text
from ingest.formats.telemetry import Span

NAME = "openrouter"
RANK = 0
METADATA, OWN = "trace.metadata.", "trace.metadata.openrouter."
INNER = ("generation", "provider attempt ")
FIELDS = {"team": 200, "project": 200, "environment": 80}
# Of OpenRouter's own metadata what says who served and who paid.
OWN_TAGS = {"provider_name": "upstream", "provider_slug": "upstream.slug", "api_key_name": "key_alias", "is_byok": "is_byok"}
LONGEST_LABEL = 120


def speaks(span: Span) -> bool:
    return any(key.startswith(OWN) for key in span.attributes)


def call_fields(span: Span) -> dict[str, Any] | None:
    attributes = span.attributes
    if span.name.startswith(INNER) or genai.model(attributes) is None:
        return None
    metadata = {
        key.removeprefix(METADATA): value for key, value in attributes.items() if key.startswith(METADATA) and not key.startswith(OWN)
    }
    fields = genai.described(span)
    for field, size in FIELDS.items():
        fields[field] = fields[field] or text(metadata.pop(field, None), size)
    return said({
        **fields,
        "provider": NAME,
        "gateway": NAME,
        "tags": tags_of({**genai.own_tags(span), **own_tags(attributes), **short(metadata)}, span.source.resource),
        **genai.usage(attributes),
    })  # fmt: skip


def own_tags(attributes: Attributes) -> dict[str, Scalar]:
    return {OWN_TAGS[key.removeprefix(OWN)]: value for key, value in picked(attributes, (f"{OWN}{name}" for name in OWN_TAGS)).items()}


def short(metadata: Attributes) -> dict[str, Scalar]:
    """The caller's labels: longer text may be what somebody wrote."""
    return {
        key: value
        for key, value in metadata.items()
        if len(key) <= LONGEST_LABEL and len(str(value)) <= LONGEST_LABEL and "\n" not in str(value)
    }
