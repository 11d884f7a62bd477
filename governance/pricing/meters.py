"""What can be metered in a call: every usage key a price may name, how many units its amount is for, and which keys are parts of which.

The keys are those of genai-prices (its unit table is compared with this one in a test), and after them some for what it does
not meter: images by the piece, seconds of video, seconds a call ran. `input_tokens` here is all of the
input, cached or not: `governance.pricing.arithmetic` adds our disjoint buckets up to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

MILLION = 1_000_000
MODALITIES = ("text", "audio", "image", "video")
REQUESTS = "requests"
# Stands in a row for a kind of call for every meter that the call has an amount for; only a factor may be given for it.
EVERY_METER = "*"
Rates = TypeVar("Rates")


@dataclass(frozen=True, slots=True)
class Meter:
    """A usage key, the number of units one amount is for, and its dimensions: more dimensions make a part of what has fewer."""

    key: str
    per: int
    dimensions: frozenset[tuple[str, str]]


def _token_meters(modality: str | None) -> list[Meter]:
    infix = f"_{modality}" if modality else ""

    def meter(key: str, direction: str, kind: str = "", lifetime: str = "") -> Meter:
        dimensions = {"family": "tokens", "direction": direction, "modality": modality, "token_type": kind, "cache_ttl": lifetime}
        return Meter(key, MILLION, frozenset((name, value) for name, value in dimensions.items() if value))

    return [
        meter(f"input{infix}_tokens", "input"),
        meter(f"cache{infix}_read_tokens", "input", "cache_read"),
        meter(f"cache{infix}_write_tokens", "input", "cache_write"),
        meter(f"cache{infix}_write_5m_tokens", "input", "cache_write", "5m"),
        meter(f"cache{infix}_write_1h_tokens", "input", "cache_write", "1h"),
        meter(f"input{infix}_tool_tokens", "input", "tool"),
        meter(f"output{infix}_tokens", "output"),
        meter(f"output{infix}_reasoning_tokens", "output", "reasoning"),
        meter(f"output{infix}_citation_tokens", "output", "citation"),
    ]


def _other(key: str, per: int, **dimensions: str) -> Meter:
    return Meter(key, per, frozenset(dimensions.items()))


_ALL = [
    *(meter for modality in (None, *MODALITIES) for meter in _token_meters(modality)),
    _other("input_characters", MILLION, family="characters", direction="input"),
    _other("input_text_messages", 1000, family="messages", direction="input", modality="text"),
    _other("audio_seconds", 3600, family="durations", modality="audio"),
    _other("input_audio_seconds", 3600, family="durations", direction="input", modality="audio"),
    _other("output_audio_seconds", 3600, family="durations", direction="output", modality="audio"),
    _other("input_pixels", 1_000_000_000, family="pixels", direction="input"),
    _other("input_document_pages", 1000, family="document_pages", direction="input"),
    _other("input_annotated_document_pages", 1000, family="document_pages", direction="input", page_type="annotated"),
    _other("rerank_searches", 1000, family="rerank"),
    _other("web_searches", 1000, family="tool_calls", tool_type="web_search"),
    _other("social_searches", 1000, family="tool_calls", tool_type="social_search"),
    _other("storage_searches", 1000, family="tool_calls", tool_type="storage_search"),
    _other("code_executions", 1000, family="tool_calls", tool_type="code_execution"),
    _other(REQUESTS, 1000, family="requests"),
]
# What genai-prices has no unit for.
_OWN = [
    _other("input_images", 1, family="images", direction="input"),
    _other("output_images", 1, family="images", direction="output"),
    _other("output_characters", MILLION, family="characters", direction="output"),
    _other("video_seconds", 1, family="durations", modality="video"),
    _other("input_video_seconds", 1, family="durations", direction="input", modality="video"),
    _other("output_video_seconds", 1, family="durations", direction="output", modality="video"),
    _other("compute_seconds", 1, family="compute"),
]
OWN_METERS = frozenset(meter.key for meter in _OWN)
# In the order in which people read them: input, its cached parts, output, its parts, then everything else.
METERS: dict[str, Meter] = {meter.key: meter for meter in (*_ALL, *_OWN)}
_PLACES = {key: place for place, key in enumerate(METERS)}

# Meters that the buckets of a usage already state; `units` cannot state them again.
BUCKET_METERS = frozenset(
    {
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cache_write_5m_tokens",
        "cache_write_1h_tokens",
        "output_tokens",
        "output_reasoning_tokens",
    }
)
# What clients call some units, and the meter that is meant.
UNIT_ALIASES = {
    "web_search": "web_searches",
    "web_search_requests": "web_searches",
    "social_search": "social_searches",
    "x_searches": "social_searches",
    "file_search": "storage_searches",
    "file_searches": "storage_searches",
    "code_execution": "code_executions",
    "code_execution_requests": "code_executions",
    "rerank": "rerank_searches",
    "search_units": "rerank_searches",
    "characters": "input_characters",
    "pages": "input_document_pages",
    "document_pages": "input_document_pages",
    "audio_input_tokens": "input_audio_tokens",
    "audio_output_tokens": "output_audio_tokens",
    "image_input_tokens": "input_image_tokens",
    "image_output_tokens": "output_image_tokens",
    "citation_tokens": "output_citation_tokens",
    "images": "output_images",
    "images_generated": "output_images",
    "generated_images": "output_images",
    "images_read": "input_images",
    "generated_video_seconds": "output_video_seconds",
    "running_seconds": "compute_seconds",
    "predict_time": "compute_seconds",
}


def unit_key(name: str) -> str:
    """The meter that a key of `Usage.units` means, or the key itself."""
    return UNIT_ALIASES.get(name, name)


def in_order(rates: Mapping[str, Rates]) -> dict[str, Rates]:
    """The rates, or whatever is kept by meter, in the order of METERS; what is for every meter comes last."""
    return {key: rates[key] for key in sorted(rates, key=lambda key: _PLACES.get(key, len(_PLACES)))}


def contains(whole: str, part: str) -> bool:
    """True when `part` is counted within `whole` as well (or is the same meter)."""
    return METERS[whole].dimensions <= METERS[part].dimensions


def _overlaps(joined: Meter) -> list[tuple[str, str]]:
    """Pairs of meters whose common part is exactly `joined`: with both reported and not it, the arithmetic has a gap."""
    within = [meter for meter in METERS.values() if meter.dimensions < joined.dimensions]
    return [
        (left.key, right.key)
        for left, right in combinations(within, 2)
        if left.dimensions | right.dimensions == joined.dimensions
        and not left.dimensions <= right.dimensions
        and not right.dimensions <= left.dimensions
    ]


PARTS: dict[str, frozenset[str]] = {key: frozenset(other for other in METERS if other != key and contains(key, other)) for key in METERS}
OVERLAPS: dict[str, list[tuple[str, str]]] = {key: _overlaps(meter) for key, meter in METERS.items()}
