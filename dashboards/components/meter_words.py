"""What meters, their units and the kinds of call a price is for are called on pages."""

from collections.abc import Mapping
from datetime import time

PER = {1: "each", 60: "per minute", 1000: "per 1,000", 3600: "per hour", 1_000_000: "per million", 1_000_000_000: "per billion"}
WORDS = {
    "input_tokens": "Input",
    "cache_read_tokens": "Read from cache",
    "cache_write_tokens": "Written to cache",
    "cache_write_5m_tokens": "Written to cache, 5 minutes",
    "cache_write_1h_tokens": "Written to cache, 1 hour",
    "output_tokens": "Output",
    "output_reasoning_tokens": "Reasoning",
    "requests": "Request",
    "*": "Everything",
}
KINDS = {
    ("processing", "batch"): "Batch",
    ("service_tier", "batch"): "Batch tier",
    ("service_tier", "flex"): "Flex tier",
    ("service_tier", "priority"): "Priority tier",
    ("service_tier", "default"): "Default tier",
    ("service_tier", "fast"): "Fast tier",
    ("speed", "fast"): "Fast mode",
}


def meter_label(meter: str) -> str:
    """What a meter counts, as a heading."""
    return WORDS.get(meter) or meter.replace("_", " ").capitalize()


def per_text(per: int) -> str:
    """How many units an amount is for."""
    return PER.get(per, f"per {per:,}")


def kind_label(context: Mapping[str, str]) -> str:
    """The kind of call that a row is for; "Ordinary" without a context."""
    parts = [KINDS.get((key, value)) or f"{key.replace('_', ' ')} {value}" for key, value in sorted(context.items())]
    return ", ".join(parts).capitalize() if parts else "Ordinary"


def hours_text(begins: time | None, ends: time | None) -> str:
    """The hours of every day a row is for; empty for all of them."""
    return "" if begins is None or ends is None else f"{begins:%H:%M} to {ends:%H:%M} UTC"
