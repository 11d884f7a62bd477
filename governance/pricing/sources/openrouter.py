"""Reads OpenRouter's public model list (`GET /api/v1/models`): amounts in USD for one token, search or request, as text."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from governance.errors import Invalid
from governance.pricing.sources import amounts
from governance.pricing.sources.rows import BEGINNING, Listing, SourceModel, SourceProvider, SourceRow

SOURCE = "openrouter"
ADDRESS = "https://openrouter.ai/api/v1/models"
PROVIDER = "openrouter"
METERS_BY_KEY = {
    "prompt": "input_tokens",
    "completion": "output_tokens",
    "input_cache_read": "cache_read_tokens",
    "input_cache_write": "cache_write_tokens",
    "input_cache_write_1h": "cache_write_1h_tokens",
    "internal_reasoning": "output_reasoning_tokens",
    "audio": "input_audio_tokens",
    "audio_output": "output_audio_tokens",
    "input_audio_cache": "cache_audio_read_tokens",
    "web_search": "web_searches",
    "request": "requests",
}
# Amounts of images are for a picture with some models and for a token with others, which the list does not tell.
UNREAD = frozenset({"image", "image_token", "image_output", "discount"})
OVERRIDES = "overrides"
THRESHOLD = "min_prompt_tokens"
VARIES = Decimal(-1)


def read(body: bytes) -> Listing:
    """The list as one provider. Raises Invalid when it is no such list."""
    document = amounts.document(body)
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise Invalid("This is not OpenRouter's model list: there is no 'data' with models in it.")
    left_out: Counter[str] = Counter()
    found: dict[str, SourceModel] = {}
    for entry in entries:
        model = _model(entry, left_out)
        if model is not None:
            found.setdefault(model.slug, model)
    if not found:
        raise Invalid("None of the models in the list has a price that can be read.")
    return Listing([SourceProvider(PROVIDER, "OpenRouter", None, None, [], list(found.values()))], dict(left_out))


def _model(entry: Any, left_out: Counter[str]) -> SourceModel | None:
    slug, pricing = (entry.get("id"), entry.get("pricing")) if isinstance(entry, dict) else (None, None)
    if not amounts.is_name(slug) or not isinstance(pricing, dict):
        left_out["no name or no prices"] += 1
        return None
    try:
        known = {key: value for key in METERS_BY_KEY if (value := amounts.amount(pricing.get(key))) is not None}
        above = _tiers(pricing.get(OVERRIDES))
    except Invalid:
        left_out["an amount cannot be read"] += 1
        return None
    if "prompt" not in known or "completion" not in known:
        left_out["no price for input or output"] += 1
        return None
    if VARIES in known.values():
        left_out["the price varies by call"] += 1
        return None
    if any(key not in METERS_BY_KEY and key not in UNREAD and key != OVERRIDES for key in pricing):
        left_out["charges something that is not known here (kept without it)"] += 1
    name, window = entry.get("name"), entry.get("context_length")
    return SourceModel(
        slug,
        {"equals": slug.lower()},
        [SourceRow(BEGINNING, None, _rates(known, above))],
        name=name if amounts.is_name(name) else "",
        context_window=window if isinstance(window, int) and 0 < window < 10**12 else None,
    )


def _rates(known: Mapping[str, Decimal], above: Mapping[int, Mapping[str, Decimal]]) -> dict[str, dict[str, Any]]:
    """By meter. A zero beside the two main amounts means that the model has no such charge of its own."""
    charged = {key: value for key, value in known.items() if value or key in ("prompt", "completion")}
    if charged.get("internal_reasoning") == charged["completion"]:
        charged.pop("internal_reasoning", None)
    return {
        METERS_BY_KEY[key]: amounts.rate_of(METERS_BY_KEY[key], value, {start: tier[key] for start, tier in above.items() if key in tier})
        for key, value in charged.items()
    }


def _tiers(overrides: Any) -> dict[int, dict[str, Decimal]]:
    """Amounts by the prompt tokens above which they hold. Raises Invalid for overrides of another kind, such as hours of the day."""
    found: dict[int, dict[str, Decimal]] = {}
    for override in overrides or ():
        start = amounts.amount(override.get(THRESHOLD)) if isinstance(override, dict) else None
        if not start or start < 0 or set(override) - {THRESHOLD} - METERS_BY_KEY.keys() - UNREAD:
            raise Invalid("The list has an override that is not for long prompts.")
        found[int(start)] = {key: value for key in METERS_BY_KEY if (value := amounts.amount(override.get(key))) is not None}
    return found
