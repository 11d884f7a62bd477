"""Measures readings of a price list as large as the whole catalogue: all of it new to the source, nothing new, and every price changed."""

import time
from collections.abc import Callable

import msgspec

from governance.pricing.book import current_book
from governance.pricing.sync.services import source_sync, trust_set
from governance.pricing.sync.trust import DEFAULT


def price_map(factor: float) -> bytes:
    """The book's models with their ordinary prices times the factor, in LiteLLM's format."""
    found = {}
    for model in current_book(refresh=True).models():
        row = model.standard[-1] if model.standard else None
        amounts = {name: row.rates.get(meter) for name, meter in (("input", "input_tokens"), ("output", "output_tokens"))} if row else {}
        costs = {f"{name}_cost_per_token": float(rate["base"]) / rate["per"] * factor for name, rate in amounts.items() if rate and "base" in rate}
        if any(costs.values()):
            found[f"{model.provider}/{model.slug}"] = {"litellm_provider": model.provider, "mode": "chat", **costs}
    return msgspec.json.encode(found)


def sources(note: Callable[[str, float], None]) -> None:
    """One round. The list is believed before all others when its prices change, so that each becomes a row."""
    trust_set(actor=None, provider="", sources=[])
    body = price_map(1.0)
    _timed(note, "sync s, quotes", body)
    _timed(note, "sync s, nothing new", body)
    changed = price_map(1.1)
    trust_set(actor=None, provider="", sources=["litellm", *(kind for kind in DEFAULT if kind != "litellm")])
    _timed(note, "sync s, all changed", changed)


def _timed(note: Callable[[str, float], None], name: str, body: bytes) -> None:
    started, used = time.monotonic(), time.process_time()
    run = source_sync(actor=None, source="litellm", body=body)
    seconds, used = time.monotonic() - started, time.process_time() - used
    if name == "sync s, quotes":
        note("sync models", run.models_read)
    note(name, seconds)
    note(f"{name}, processor", used)
