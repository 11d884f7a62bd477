"""Each source's format, from recorded lists: which amounts become which meters, what is left out, and what is refused as a whole."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from governance.errors import Invalid
from governance.pricing.sources import genai, litellm, openrouter, own
from governance.pricing.sources.rows import BEGINNING, Listing, SourceModel, SourceRow

LISTS = Path(__file__).parents[3] / "golden" / "prices"


def recorded(name: str) -> bytes:
    return (LISTS / name).read_bytes()


def model(listing: Listing, provider: str, slug: str) -> SourceModel:
    return next(found for seller in listing.providers if seller.slug == provider for found in seller.models if found.slug == slug)


def bases(row: SourceRow) -> dict[str, str]:
    return {meter: rate["base"] for meter, rate in row.rates.items()}


def test_openrouter_amounts_for_one_become_amounts_for_the_meters_units() -> None:
    listing = openrouter.read(recorded("openrouter.json"))
    opus = model(listing, "openrouter", "anthropic/claude-opus-4.6")

    assert bases(opus.rows[0]) == {
        "input_tokens": "5",
        "output_tokens": "25",
        "cache_read_tokens": "0.5",
        "cache_write_tokens": "6.25",
        "web_searches": "10",
    }
    assert (opus.name, opus.context_window, opus.rows[0].valid_from) == ("Anthropic: Claude Opus 4.6", 1_000_000, BEGINNING)


def test_openrouter_price_of_long_prompts_is_a_tier() -> None:
    sonnet = model(openrouter.read(recorded("openrouter.json")), "openrouter", "anthropic/claude-sonnet-4.5").rows[0]

    assert sonnet.rates["input_tokens"] == {"per": 1_000_000, "base": "3", "tiers": [[200_000, "6"]]}
    assert sonnet.rates["cache_write_1h_tokens"] == {"per": 1_000_000, "base": "6"}


def test_openrouter_zero_is_free_for_tokens_and_nothing_for_other_charges() -> None:
    listing = openrouter.read(recorded("openrouter.json"))

    assert bases(model(listing, "openrouter", "openai/gpt-oss-20b:free").rows[0]) == {"input_tokens": "0", "output_tokens": "0"}
    assert bases(model(listing, "openrouter", "perplexity/sonar").rows[0])["requests"] == "5"
    assert "output_reasoning_tokens" not in bases(model(listing, "openrouter", "google/gemini-3.1-pro-preview").rows[0])


def test_openrouter_every_digit_is_kept() -> None:
    lite = model(openrouter.read(recorded("openrouter.json")), "openrouter", "google/gemini-3.1-flash-lite-preview")

    assert bases(lite.rows[0])["cache_write_tokens"] == "0.08333333333333334"


def test_openrouter_prices_that_vary_are_left_out_and_counted() -> None:
    listing = openrouter.read(recorded("openrouter.json"))

    assert listing.left_out == {"the price varies by call": 1, "an amount cannot be read": 1}
    assert {"openrouter/auto", "deepseek/deepseek-night"}.isdisjoint(found.slug for found in listing.providers[0].models)


def test_litellm_floats_become_the_amounts_they_stand_for() -> None:
    sonnet = model(litellm.read(recorded("litellm.json")), "anthropic", "claude-sonnet-4-5")

    assert bases(sonnet.rows[0]) == {
        "input_tokens": "3",
        "cache_read_tokens": "0.3",
        "cache_write_tokens": "3.75",
        "cache_write_1h_tokens": "6",
        "output_tokens": "15",
        "web_searches": "10",
    }
    assert (sonnet.rows[1].context, bases(sonnet.rows[1])["output_tokens"]) == ({"processing": "batch"}, "7.5")


def test_litellm_long_context_and_service_tiers() -> None:
    gpt = model(litellm.read(recorded("litellm.json")), "openai", "gpt-5.4")
    by_kind = {tuple(row.context.items()): row.rates for row in gpt.rows}

    assert by_kind[()]["input_tokens"] == {"per": 1_000_000, "base": "2.5", "tiers": [[272_000, "5"]]}
    assert by_kind[("service_tier", "priority"),]["output_tokens"]["base"] == "30"
    assert by_kind[("service_tier", "flex"),]["input_tokens"]["tiers"] == [[272_000, "2.5"]]


def test_litellm_ranges_are_tiers() -> None:
    qwen = model(litellm.read(recorded("litellm.json")), "dashscope", "qwen3-max").rows[0]

    assert qwen.rates["output_tokens"] == {"per": 1_000_000, "base": "6", "tiers": [[32_000, "12"], [128_000, "15"]]}


def test_litellm_names_lose_the_route_and_providers_get_the_catalogues_names() -> None:
    listing = litellm.read(recorded("litellm.json"))
    names = {(seller.slug, found.slug) for seller in listing.providers for found in seller.models}

    assert names >= {
        ("zai", "glm-5"),
        ("azure", "gpt-5.4"),
        ("google", "gemini-2.5-pro"),
        ("google", "claude-sonnet-4-5"),
        ("aws", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("moonshotai", "kimi-k2.5"),
    }


def test_litellm_what_is_not_a_price_here_is_left_out_and_counted() -> None:
    listing = litellm.read(recorded("litellm.json"))
    names = {found.slug for seller in listing.providers for found in seller.models}

    assert listing.left_out["for one region only"] == 3
    assert listing.left_out["run by oneself or by subscription"] == 1
    assert listing.left_out["another entry of the same model"] == 2
    assert names.isdisjoint({"sample_spec", "llama3", "eu/gpt-4o-2024-08-06"})


def test_litellm_units_beside_tokens() -> None:
    listing = litellm.read(recorded("litellm.json"))

    assert bases(model(listing, "openai", "whisper-1").rows[0]) == {"audio_seconds": "0.36"}
    assert bases(model(listing, "cohere", "rerank-v3.5").rows[0]) == {"rerank_searches": "2"}


def test_litellm_noise_of_binary_floats_is_no_other_price() -> None:
    body = (
        b'{"m": {"litellm_provider": "p", "mode": "chat", "input_cost_per_token": 1.0000000000000002e-07, "output_cost_per_token": 3e-7}}'
    )

    assert bases(model(litellm.read(body), "p", "m").rows[0]) == {"input_tokens": "0.1", "output_tokens": "0.3"}


def test_genai_list_from_outside_says_what_the_bundled_one_does() -> None:
    listing = genai.read(recorded("genai-prices.json"))
    opus, deepseek = model(listing, "anthropic", "claude-opus-4-8"), model(listing, "deepseek", "deepseek-chat")

    assert bases(opus.rows[0])["cache_write_1h_tokens"] == "10"
    assert (opus.rows[1].context, bases(opus.rows[1])) == ({"processing": "batch"}, {"input_tokens": "2.5", "output_tokens": "12.5"})
    assert [(row.valid_from, bases(row)["output_tokens"]) for row in deepseek.rows] == [
        (BEGINNING, "1.1"),
        (datetime(2025, 9, 29, tzinfo=UTC), "0.42"),
    ]


@pytest.mark.parametrize("pattern", ["(a+)+$", "((x|y)*)*z", "(unclosed", "(?:a*b*)*"])
def test_genai_pattern_that_could_keep_a_worker_busy_is_refused(pattern: str) -> None:
    body = recorded("genai-prices.json").replace(b'"contains": "deepseek"', b'"regex": ' + msgspec.json.encode(pattern))

    with pytest.raises(Invalid, match="pattern"):
        genai.read(body)


def test_own_csv_has_dates_tiers_kinds_units_and_currencies() -> None:
    listing = own.read(recorded("zhipu.csv"), provider="zhipuai")
    glm, air = model(listing, "zhipuai", "glm-5"), model(listing, "zhipuai", "glm-5-air")
    march = datetime(2026, 3, 16, tzinfo=UTC)

    assert [(row.valid_from, row.valid_to, row.context, bases(row)["input_tokens"]) for row in glm.rows] == [
        (datetime(2026, 2, 12, tzinfo=UTC), march, {}, "0.8"),
        (march, None, {}, "1.098"),
        (march, None, {"processing": "batch"}, "0.549"),
    ]
    assert glm.rows[1].announced_at == datetime(2026, 3, 13, tzinfo=UTC)
    assert {"equals": "z-ai/glm-5"} in glm.match["or"]
    assert (air.rows[0].currency, air.rows[0].rates["input_tokens"]) == (
        "CNY",
        {"per": 1_000_000, "base": "0.8", "tiers": [[32_000, "1.6"]]},
    )


def test_own_json_says_the_same() -> None:
    body = b'{"prices": [{"model": "glm-5", "input": "1", "output": 2.5, "web_searches": "10", "currency": "usd", "valid_from": "2026-02-12T08:00+08:00"}]}'
    glm = model(own.read(body, provider="zhipuai"), "zhipuai", "glm-5").rows[0]

    assert bases(glm) == {"input_tokens": "1", "output_tokens": "2.5", "web_searches": "10"}
    assert glm.valid_from == datetime(2026, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"model,input\nm,abc\n", "Line 2: 'abc' is no amount"),
        (b"model,input\nm,NaN\n", "Line 2"),
        (b"model,smell\nm,1\n", "no column 'smell'"),
        (b"model,input\n,1\n", "names no model"),
        (b"model,input,per\nm,1,5k\n", "'per'"),
        (b"model,input,valid_from\nm,1,soon\n", "'valid_from'"),
        (b"model,input\nm,1\nm,2\n", "two prices"),
        (b"model,input\nm,1,2,3\n", "columns"),
        (b"model,input,hours\nm,1,25:00-26:00\n", "'hours'"),
        (b"model,factor\nm,1.1\n", "'factor' is for a kind of call"),
        (b"model,input,region,factor\nm,1,eu,1.1\n", "amounts or a factor"),
        (b"model,input,valid_from\nm,1,0001-01-01\n", "too far away"),
        (b"model,input\n", "no price"),
        (b"", "no price"),
        (b"model,input\nm,1\x00\n", "characters"),
        (b"\xff\xfe\x00m", "neither JSON nor CSV"),
        (b'[{"model": "m", "input": 1e999999999}]', "no amount"),
        (b'[{"model": "m", "input": true}]', "no amount"),
        (b"[1]", "no array"),
    ],
)
def test_own_list_that_cannot_be_read_is_refused_as_a_whole_and_says_where(body: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        own.read(body, provider="p")


HOSTILE: list[tuple[str, bytes]] = [
    ("a page", b"<!doctype html><html><body>Sign in</body></html>"),
    ("nothing", b""),
    ("no list", b"{}"),
    ("an empty list", b"[]"),
    ("an empty list within", b'{"data": []}'),
    ("other keys", b'{"models": [{"name": "m", "price": {"in": "1"}}]}'),
    ("deep", b"[" * 100_000),
    ("deep within", b'{"data":' * 3000 + b"1" + b"}" * 3000),
    ("not a number", b'{"data": [{"id": "m", "pricing": {"prompt": NaN, "completion": 1}}]}'),
    ("beyond numbers", b'{"data": [{"id": "m", "pricing": {"prompt": "1e400", "completion": "1"}}]}'),
    ("text for a number", b'{"data": [{"id": "m", "pricing": {"prompt": "free", "completion": "1"}}]}'),
    ("wrong kinds", b'{"data": [1, null, "x", [], {"id": 5, "pricing": 7}]}'),
    ("not utf-8", b'{"data": "\xff\xfe"}'),
    ("half a list", b'{"data": [{"id": "m", "pri'),
]


@pytest.mark.parametrize("read", [openrouter.read, litellm.read, genai.read], ids=["openrouter", "litellm", "genai"])
@pytest.mark.parametrize("body", [body for _, body in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_what_is_no_price_list_is_refused_with_a_sentence(read: Any, body: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        read(body)

    assert 10 < len(refusal.value.detail) < 400


def test_name_that_cannot_be_stored_is_left_out() -> None:
    body = b'{"data": [{"id": "a\\u0000b", "pricing": {"prompt": "1", "completion": "1"}}, {"id": "m", "pricing": {"prompt": "0", "completion": "0"}}]}'
    listing = openrouter.read(body)

    assert [found.slug for found in listing.providers[0].models] == ["m"]
