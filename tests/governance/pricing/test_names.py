"""The names that clients report find the right biller and model, and nothing is guessed."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance.pricing.book import REMEMBERED_NAMES, Book
from governance.pricing.catalogue import facts_of, tier_of
from governance.pricing.matching import FINE_TUNE, ON_OWN_HARDWARE, UNCERTAIN, UNKNOWN, compile_rule
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
        ("", "openai/ft:gpt-4o-mini-2024-07-18:acme::id", "openai/ft:gpt-4o-mini"),
        ("", "ft:gpt-4o-2024-08-06:acme::id", "openai/ft:gpt-4o"),
        ("", "bedrock/us-east-1/anthropic.claude-opus-4-6-v1:0", "aws/regional.anthropic.claude-opus-4-6-v1:0"),
        ("", "bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("", "us.anthropic.claude-opus-4-6-v1:0", "aws/regional.anthropic.claude-opus-4-6-v1:0"),
        ("aws", "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-6-v1:0", "aws/regional.anthropic.claude-opus-4-6-v1:0"),
        ("aws", "arn:aws:bedrock:us-east-1:1:application-inference-profile/abcd1234", None),
        ("", "vertex_ai/claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("", "vertex_ai/europe-west4/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("google", "publishers/anthropic/models/claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("", "azure/eu/gpt-4o-2024-08-06", "azure/gpt-4o"),
        ("", "azure/global-standard/gpt-5.4", "azure/gpt-5.4"),
        ("", "azure/prod-chat", None),
        ("openrouter", "anthropic/claude-opus-4.6:thinking", "openrouter/anthropic/claude-opus-4.6"),
        ("openrouter", "deepseek/deepseek-r1:free", "openrouter/deepseek/deepseek-r1:free"),
        ("openrouter", "openai/gpt-5:nitro", None),
        ("openrouter", "openai/gpt-5:online", None),
        ("openrouter", "openai/gpt-5:free", None),
        ("anthropic", "claude-opus-4-6:batch", "anthropic/claude-opus-4-6"),
        ("x-ai", "grok-4-fast", "x-ai/grok-4-fast-reasoning"),
        ("", "ollama/deepseek-r1:14b", None),
        ("vllm", "deepseek-chat", None),
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


@pytest.mark.parametrize(
    ("provider", "model", "reason"),
    [
        ("openrouter", "openai/gpt-5:nitro", "“:nitro” asks for the fastest seller: another price than the model's own"),
        ("", "llama-3.3-70b-instruct", UNCERTAIN),
        ("openai", "ft:o3:acme::id", FINE_TUNE),
        ("", "hosted_vllm/deepseek-chat", ON_OWN_HARDWARE),
        ("azure", "prod-chat", UNKNOWN),
        ("azure", "claude-opus-4-6:batch", "no price for batch calls of this model"),
        ("deepseek", "deepseek-v4-pro:flex", "no price for flex calls of this model"),
    ],
)
def test_name_that_is_not_certain_stays_unpriced_and_says_why(book: Book, provider: str, model: str, reason: str) -> None:
    rating = book.rate(provider=provider, model=model, at=NOW, usage=Usage(input_tokens=10, output_tokens=1))

    assert (rating.cost, rating.reason) == (None, reason)


def test_what_an_uncertain_name_could_mean_is_listed(book: Book) -> None:
    could = book.resolve("", "llama-3.3-70b-instruct").candidates

    assert len(could) > 1
    assert {model.maker for model in could} == {"meta"}
    assert [model.slug for model in book.resolve("openrouter", "openai/gpt-5:online").candidates] == ["openai/gpt-5"]


@pytest.mark.parametrize(
    ("model", "context"),
    [("claude-opus-4-6:batch", {"processing": "batch"}), ("claude-opus-4-6-batch", {"processing": "batch"}), ("claude-opus-5-fast", {"speed": "fast"})],
)
def test_kind_of_call_in_the_name_costs_what_the_kind_costs(book: Book, model: str, context: dict[str, str]) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    plain = model.removesuffix("-batch").removesuffix("-fast").removesuffix(":batch")

    named = book.rate(provider="anthropic", model=model, at=NOW, usage=usage)
    said = book.rate(provider="anthropic", model=plain, at=NOW, usage=usage, context=context)

    assert named == said
    assert named.cost != book.rate(provider="anthropic", model=plain, at=NOW, usage=usage).cost
    lines = book.explain(
        provider=named.provider, model=named.model, at=NOW, usage=usage, context=book.call_context("anthropic", model, None), price_id=named.price_id
    )
    assert sum((line.cost for line in lines), Decimal(0)) == named.cost


def test_how_a_name_was_read_is_said_step_by_step(book: Book) -> None:
    steps = book.resolve("", "azure/eu/claude-opus-4-8").steps

    assert steps == (
        "“azure/” before the name is azure.",
        "“claude-opus-4-8” is one of the names of a model of anthropic.",
        "azure sells it at the list of anthropic.",
        "“eu” before it is where it was served.",
    )


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_can_be_read_as_a_name(book: Book, model: str, provider: str) -> None:
    match = book.resolve(provider, model)

    assert (match.entry is None) == bool(match.reason)
