"""The names that clients report find the right biller and model, and nothing is guessed."""

from datetime import UTC, datetime

import pytest

from governance.pricing.book import REMEMBERED_NAMES, Book
from governance.pricing.catalogue import facts_of, tier_of
from governance.pricing.matching import compile_rule
from governance.pricing.usage import Usage

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("firstParty", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("firstParty", "claude-sonnet-4-5-20250929[1m]", "anthropic/claude-sonnet-4-5"),
        ("anthropic", "Claude-Opus-4-8", "anthropic/claude-opus-4-8"),
        ("anthropic", "anthropic/claude-opus-4-8", "anthropic/claude-opus-4-8"),
        ("", "claude-opus-4-8", "anthropic/claude-opus-4-8"),
        ("", "anthropic/claude-opus-4-8", "anthropic/claude-opus-4-8"),
        ("litellm", "openai/gpt-5.4", "openai/gpt-5.4"),
        ("unknown", "gpt-5.4", "openai/gpt-5.4"),
        ("openai", "gpt-5.2-20251211", "openai/gpt-5.2"),
        ("azure.ai.openai", "gpt-5.4", "azure/gpt-5.4"),
        ("azure", "claude-opus-4-8", "azure/claude-opus-4-8"),
        ("", "azure/gpt-5.4", "azure/gpt-5.4"),
        ("vertex_ai", "claude-opus-4-6", "google/claude-opus-4-6"),
        ("gcp.gen_ai", "gemini-3.1-pro-preview", "google/gemini-3.1-pro-preview"),
        ("gemini", "models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("bedrock", "us.anthropic.claude-opus-4-6-v1", "aws/regional.anthropic.claude-opus-4-6-v1:0"),
        ("openrouter", "anthropic/claude-opus-4.8", "openrouter/anthropic/claude-opus-4.8"),
        ("", "openrouter/anthropic/claude-opus-4.8", "openrouter/anthropic/claude-opus-4.8"),
        ("zhipu", "glm-5-turbo", "zhipuai/GLM-5-Turbo"),
        ("xai", "grok-4.3", "x-ai/grok-4.3"),
        ("our own machine", "deepseek-v3.2", None),
        ("", "llama-3.3-70b", None),
        ("", "xiaomi/mimo-v2-pro", None),
        ("", "", None),
    ],
)
def test_reported_names_find_biller_and_model(book: Book, provider: str, model: str, found: str | None) -> None:
    match = book.find(provider, model, NOW)

    assert (match and f"{match.provider}/{match.model}") == found


def test_the_names_of_a_rated_call_find_its_model_again(book: Book) -> None:
    lost = [(model.provider, model.slug) for model in book.models() if book.entry(model.provider, model.slug) is not model]

    assert lost == []


def test_a_known_biller_that_does_not_sell_the_model_has_no_price(book: Book) -> None:
    assert book.find("openai", "claude-opus-4-8", NOW) is None


def test_remembered_names_do_not_grow_without_end(book: Book) -> None:
    for number in range(REMEMBERED_NAMES + 10):
        book.rate(provider="x", model=f"made-up-{number}", at=NOW, usage=Usage())

    assert len(book._names) <= REMEMBERED_NAMES


def test_rule_with_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="sounds_like"):
        compile_rule({"sounds_like": "claude"})


@pytest.mark.parametrize(
    ("provider", "model", "maker", "country", "is_open"),
    [
        ("anthropic", "claude-fable-5", "anthropic", "US", False),
        ("openrouter", "z-ai/glm-5", "zhipu", "CN", True),
        ("openrouter", "deepseek-r1-distill-llama-70b", "deepseek", "CN", True),
        ("openrouter", "qwen/qwen3-max", "alibaba", "CN", False),
        ("aws", "regional.anthropic.claude-opus-4-6-v1:0", "anthropic", "US", False),
        ("groq", "openai/gpt-oss-120b", "openai", "US", True),
        ("google", "gemma-3", "google", "US", True),
        ("openrouter", "stepfun/step-3.5-flash", "stepfun", "CN", True),
        ("openrouter", "stealth/crouton-alpha", "", "", None),
        ("x", "solo1", "", "", None),
    ],
)
def test_catalogue_knows_the_maker_behind_a_name(provider: str, model: str, maker: str, country: str, is_open: bool | None) -> None:
    assert facts_of(provider, model) == (maker, country, is_open)


@pytest.mark.parametrize(
    ("provider", "model", "tier"),
    [
        ("anthropic", "claude-opus-4-8", "flagship"),
        ("anthropic", "claude-fable-5", "flagship"),
        ("anthropic", "claude-sonnet-4-6", "standard"),
        ("anthropic", "claude-haiku-4-5", "economy"),
        ("openai", "gpt-5.4", "flagship"),
        ("openai", "gpt-5.4-mini", "economy"),
        ("openai", "gpt-4.1", "standard"),
        ("google", "gemini-3.1-pro-preview", "flagship"),
        ("google", "gemini-2.5-flash", "economy"),
        ("deepseek", "deepseek-v4-pro", "economy"),
        ("minimax", "MiniMax-M2.7", "economy"),
        ("openrouter", "openai/gpt-oss-120b:free", "economy"),
        ("voyageai", "voyage-3", "unknown"),
    ],
)
def test_tier_follows_the_output_amount_and_the_named_exceptions(book: Book, provider: str, model: str, tier: str) -> None:
    found = book.find(provider, model, NOW)

    assert found is not None and found.tier == tier  # noqa: PT018


def test_tier_word_is_a_word_and_not_a_part_of_one() -> None:
    assert tier_of("gemini-ultra", None) == "unknown"
