"""Reads LiteLLM's price map (model_prices_and_context_window.json): amounts in USD for one token, second, query or page, as floats."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from governance.errors import Invalid
from governance.pricing.catalogue import provider_family
from governance.pricing.meters import in_order
from governance.pricing.sources import amounts
from governance.pricing.sources.rows import BEGINNING, Listing, SourceModel, SourceProvider, SourceRow

SOURCE = "litellm"
ADDRESS = "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json"
EXAMPLE_KEY = "sample_spec"
METERS_BY_KEY = {
    "input_cost_per_token": "input_tokens",
    "output_cost_per_token": "output_tokens",
    "cache_read_input_token_cost": "cache_read_tokens",
    "cache_creation_input_token_cost": "cache_write_tokens",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h_tokens",
    "output_cost_per_reasoning_token": "output_reasoning_tokens",
    "input_cost_per_audio_token": "input_audio_tokens",
    "output_cost_per_audio_token": "output_audio_tokens",
    "cache_read_input_audio_token_cost": "cache_audio_read_tokens",
    "cache_creation_input_audio_token_cost": "cache_audio_write_tokens",
    "input_cost_per_image_token": "input_image_tokens",
    "output_cost_per_image_token": "output_image_tokens",
    "cache_read_input_image_token_cost": "cache_image_read_tokens",
    "input_cost_per_video_token": "input_video_tokens",
    "output_cost_per_video_token": "output_video_tokens",
    "citation_cost_per_token": "output_citation_tokens",
    "input_cost_per_character": "input_characters",
    "input_cost_per_query": "rerank_searches",
    "input_cost_per_request": "requests",
    "input_cost_per_second": "audio_seconds",
    "ocr_cost_per_page": "input_document_pages",
    "input_cost_per_image": "input_images",
    "output_cost_per_image": "output_images",
    "output_cost_per_character": "output_characters",
    "input_cost_per_video_per_second": "input_video_seconds",
    "output_cost_per_video_per_second": "output_video_seconds",
}
SPELLING = re.compile(r"(?P<base>.+?)(?:_above_(?P<thousands>\d+)k_tokens)?(?:_(?P<kind>batches|flex|priority))?")
KINDS = {None: {}, "batches": {"processing": "batch"}, "flex": {"service_tier": "flex"}, "priority": {"service_tier": "priority"}}
# Of these a charge that cannot be metered is beside the tokens; of others (pictures, films, speech) it is the price itself.
TOKEN_MODES = frozenset({"chat", "completion", "responses", "embedding", "moderation", "rerank", "audio_transcription", "ocr"})
SEARCHES = "search_context_cost_per_query"
# What people run themselves or subscribe to stands in the map with a price of 0 or with somebody else's.
NOT_SOLD = frozenset({"ollama", "ollama_chat", "lemonade", "github_copilot", "chatgpt", "microsoft_365_copilot", "llamagate", "petals"})
PROVIDERS = {
    "gemini": "google",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "bedrock_mantle": "aws",
    "azure_text": "azure",
    "azure_ai": "azure",
    "text-completion-openai": "openai",
    "text-completion-codestral": "mistral",
    "codestral": "mistral",
    "cohere_chat": "cohere",
    "voyage": "voyageai",
    "meta_llama": "meta",
    "fireworks_ai-embedding-models": "fireworks",
    "bigmodel": "zhipuai",
}
VERTEX = "vertex_ai"
REGIONAL = re.compile(
    r"(?:(?:us|eu|apac|ap|au|jp|ca|sa|me|af|global|global-standard)(?:[./])|[a-z]{2}(?:-gov)?-[a-z]+-\d/|\d+-month-commitment/)", re.ASCII
)
SIZED = re.compile(r"(?:(?:hd|standard|low|medium|high)/)?\d+-x-\d+/|(?:hd|standard|low|medium|high)/|max-x-max/|\d+-steps/", re.ASCII)
LABELS = {"no": "no provider or no prices", "region": "for one region only", "free": "0 there means free as well as not known"}


def read(body: bytes) -> Listing:
    """The map, by provider as the catalogue names them. Raises Invalid when it is no such map."""
    document = amounts.document(body)
    if not isinstance(document, dict):
        raise Invalid("This is not LiteLLM's price map: it is no object of models.")
    left_out: Counter[str] = Counter()
    sellers: defaultdict[str, dict[str, SourceModel]] = defaultdict(dict)
    for key, entry in document.items():
        if key == EXAMPLE_KEY:
            continue
        try:
            provider, model = _model(key, entry)
        except _LeftOut as reason:
            left_out[str(reason)] += 1
            continue
        if model.slug in sellers[provider]:
            left_out["another entry of the same model"] += 1
        sellers[provider].setdefault(model.slug, model)
    if not any(sellers.values()):
        raise Invalid("None of the models in the map has a price that can be read.")
    return Listing([SourceProvider(slug, slug, None, None, [], list(models.values())) for slug, models in sellers.items()], dict(left_out))


class _LeftOut(Exception):
    """An entry the book takes nothing from, and why."""


def _model(key: str, entry: Any) -> tuple[str, SourceModel]:
    seller = entry.get("litellm_provider") if isinstance(entry, dict) else None
    if not amounts.is_name(seller, longest=80) or not amounts.is_name(key):
        raise _LeftOut(LABELS["no"])
    if seller in NOT_SOLD:
        raise _LeftOut("run by oneself or by subscription")
    provider, slug = provider_of(seller), _own_name(key, seller)
    if SIZED.match(slug):
        raise _LeftOut("for one size or quality only")
    if REGIONAL.match(slug):
        raise _LeftOut(LABELS["region"])
    try:
        rows = _rows(entry)
    except Invalid:
        raise _LeftOut("an amount cannot be read") from None
    window = entry.get("max_input_tokens")
    return provider, SourceModel(
        slug, {"equals": slug.lower()}, rows, context_window=window if isinstance(window, int) and 0 < window < 10**12 else None
    )


def provider_of(seller: str) -> str:
    """The catalogue's provider for a `litellm_provider`."""
    if seller.startswith(VERTEX):
        return "google"
    return PROVIDERS.get(seller) or provider_family(seller)


def _own_name(key: str, seller: str) -> str:
    """The name within the provider: without the route before it."""
    prefix, slash, rest = key.partition("/")
    names = {seller, provider_of(seller), VERTEX if seller.startswith(VERTEX) else seller, seller.removeprefix("text-completion-")}
    if seller.startswith("bedrock"):
        names.add("bedrock")
    if seller.startswith("azure"):
        names.add("azure")
    return rest if slash and prefix in names else key


def _rows(entry: Mapping[str, Any]) -> list[SourceRow]:
    """The ordinary row and those for batch, flex and priority calls."""
    bases: defaultdict[str | None, dict[str, Decimal]] = defaultdict(dict)
    tiers: defaultdict[str | None, dict[str, dict[int, Decimal]]] = defaultdict(lambda: defaultdict(dict))
    for key, value in entry.items():
        if "cost" not in key or key == SEARCHES:
            continue
        parts = SPELLING.fullmatch(key)
        meter = METERS_BY_KEY.get(parts["base"]) if parts else None
        if parts is None or meter is None:
            if entry.get("mode") not in TOKEN_MODES and value:
                raise _LeftOut("charges what cannot be metered")
            continue
        found = amounts.amount(value)
        if found is None:
            continue
        if parts["thousands"]:
            tiers[parts["kind"]][meter][int(parts["thousands"]) * 1000] = amounts.rounded(found)
        else:
            bases[parts["kind"]][meter] = amounts.rounded(found)
    _take_ranges(entry.get("tiered_pricing"), bases[None], tiers[None])
    ordinary = _ordinary(bases[None], entry)
    rows = [SourceRow(BEGINNING, None, _rates(ordinary, tiers[None]))]
    for order, kind in enumerate(kind for kind in KINDS if kind and bases.get(kind)):
        rows.append(SourceRow(BEGINNING, None, _rates(bases[kind], tiers[kind]), dict(KINDS[kind]), precedence=order))
    return rows


def _ordinary(bases: dict[str, Decimal], entry: Mapping[str, Any]) -> dict[str, Decimal]:
    """The ordinary amounts, searches included where one price holds for all sizes."""
    if not any(bases.values()):
        raise _LeftOut(LABELS["free"] if bases else LABELS["no"])
    has_tokens = any(value for meter, value in bases.items() if meter.endswith("_tokens"))
    charged = {meter: value for meter, value in bases.items() if value or (has_tokens and meter.endswith("_tokens"))}
    sizes = entry.get(SEARCHES)
    prices = {amounts.amount(value) for value in sizes.values()} if isinstance(sizes, dict) else set()
    if len(prices) == 1 and (price := prices.pop()):
        charged["web_searches"] = price
    if charged.get("output_reasoning_tokens") == charged.get("output_tokens"):
        charged.pop("output_reasoning_tokens", None)
    return charged


def _rates(bases: Mapping[str, Decimal], tiers: Mapping[str, Mapping[int, Decimal]]) -> dict[str, dict[str, Any]]:
    return in_order({meter: amounts.rate_of(meter, value, tiers.get(meter)) for meter, value in bases.items()})


def _take_ranges(ranges: Any, bases: dict[str, Decimal], tiers: dict[str, dict[int, Decimal]]) -> None:
    """`tiered_pricing`: amounts for ranges of the input's length, the first from 0 on."""
    for part in ranges if isinstance(ranges, list) else ():
        bounds = part.get("range") if isinstance(part, dict) else None
        start = amounts.amount(bounds[0]) if isinstance(bounds, list) and bounds else None
        if start is None:
            raise _LeftOut("charges by what is not the input's length")
        for key, meter in METERS_BY_KEY.items():
            found = amounts.amount(part.get(key))
            if found is not None and not start:
                bases[meter] = amounts.rounded(found)
            elif found is not None:
                tiers[meter][int(start)] = amounts.rounded(found)
