"""Files that are known by their headers, and what other headers mostly mean. Pure; docs/import.md says how each was checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from ingest.importing import values
from ingest.importing.mapping import FIELDS, NUMERIC, Meaning


@dataclass(frozen=True, slots=True)
class Export:
    """A product's export: the headers by which it is known, what they mean, and what all its rows have in common."""

    name: str
    known_by: frozenset[str]
    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    is_input_whole: bool = False
    are_totals: bool = False


EXPORTS = (
    Export(
        "OpenAI usage",
        frozenset({"start_time", "input_tokens", "output_tokens", "num_model_requests"}),
        {
            "start_time": "occurred_at",
            "end_time": "period_end",
            "model": "model",
            "input_tokens": "input_tokens",
            "input_cached_tokens": "cache_read_tokens",
            "output_tokens": "output_tokens",
            "num_model_requests": "calls",
            "project_name": "project",
            "user_email": "member",
            "project_id": "tag",
            "user_id": "tag",
            "api_key_id": "tag",
            "batch": "tag",
            "service_tier": "tag:service_tier",
            "usage_type": "tag",
        },
        {"provider": "openai"},
        is_input_whole=True,
        are_totals=True,
    ),
    Export(
        "Anthropic console usage",
        frozenset({"usage_date_utc", "model_version", "usage_input_tokens_no_cache", "usage_output_tokens"}),
        {
            "usage_date_utc": "occurred_at",
            "model_version": "model",
            "usage_input_tokens_no_cache": "input_tokens",
            "usage_input_tokens_cache_write_5m": "cache_write_5m_tokens",
            "usage_input_tokens_cache_write": "cache_write_5m_tokens",
            "usage_input_tokens_cache_write_1h": "cache_write_1h_tokens",
            "usage_input_tokens_cache_read": "cache_read_tokens",
            "usage_output_tokens": "output_tokens",
            "web_search_count": "unit:web_searches",
            "workspace": "project",
            "api_key": "tag",
            "usage_type": "tag",
            "context_window": "tag",
            "inference_geo": "tag",
            "speed": "tag:speed",
        },
        {"provider": "anthropic"},
        are_totals=True,
    ),
    Export(
        "OpenRouter activity",
        frozenset({"generation_id", "created_at", "tokens_prompt", "tokens_completion"}),
        {
            "generation_id": "request_id",
            "created_at": "occurred_at",
            "model_permaslug": "model",
            "tokens_prompt": "input_tokens",
            "tokens_cached": "cache_read_tokens",
            "tokens_completion": "output_tokens",
            "tokens_reasoning": "reasoning_tokens",
            "cost_total": "reported_cost",
            "user": "member",
            "generation_time_ms": "latency_ms",
            "time_to_first_token_ms": "ttft_ms",
            "provider_name": "tag:upstream",
            "variant": "tag",
            "api_key_name": "tag",
            "app_name": "tag",
            "finish_reason_normalized": "tag:finish_reason",
        },
        {"provider": "openrouter", "gateway": "openrouter"},
        is_input_whole=True,
    ),
    Export(
        "LiteLLM spend logs",
        frozenset({"request_id", "call_type", "spend", "prompt_tokens", "completion_tokens", "startTime"}),
        {
            "request_id": "request_id",
            "endTime": "occurred_at",
            "model": "model",
            "custom_llm_provider": "provider",
            "prompt_tokens": "input_tokens",
            "completion_tokens": "output_tokens",
            "spend": "reported_cost",
            "end_user": "member",
            "session_id": "session",
            "status": "status",
            "model_group": "tag",
            "call_type": "tag",
            "team_id": "tag",
            "user": "tag",
            "cache_hit": "tag",
            "metadata.usage_object.prompt_tokens_details.cached_tokens": "cache_read_tokens",
            "metadata.usage_object.completion_tokens_details.reasoning_tokens": "reasoning_tokens",
            "metadata.usage_object.cache_creation_input_tokens": "cache_write_5m_tokens",
            "metadata.user_api_key_team_alias": "team",
            "metadata.user_api_key_alias": "tag:api_key",
        },
        {"gateway": "litellm"},
        is_input_whole=True,
    ),
)
# What headers mostly mean elsewhere, as letters and digits alone.
ALIASES = {
    "occurred_at": (
        "timestamp",
        "time",
        "date",
        "datetime",
        "createdat",
        "created",
        "starttime",
        "endtime",
        "day",
        "usagedate",
        "requesttime",
        "calltime",
        "eventtime",
        "when",
        "at",
        "ts",
    ),
    "model": ("modelname", "modelid", "modelversion", "modelpermaslug", "modelslug"),
    "id": ("callid", "eventid", "generationid"),
    "request_id": ("requestid", "responseid", "vendorrequestid"),
    "provider": ("vendor", "providername", "customllmprovider"),
    "harness": ("tool", "agent", "client", "application", "app", "appname"),
    "team": ("teamname", "teamalias", "department", "group"),
    "project": ("projectname", "workspace", "workspacename"),
    "member": ("user", "username", "useremail", "email", "enduser", "person", "employee"),
    "session": ("sessionid", "conversationid", "runid", "threadid"),
    "input_tokens": ("input", "prompttokens", "tokensprompt", "tokensin", "inputtoken", "uncachedinputtokens", "promptokens"),
    "cache_read_tokens": ("cachedtokens", "inputcachedtokens", "cachedinputtokens", "cacheread", "cachereadinputtokens", "tokenscached"),
    "cache_write_5m_tokens": ("cachewrite", "cachewritetokens", "cachecreationinputtokens", "cachecreationtokens"),
    "output_tokens": ("output", "completiontokens", "tokenscompletion", "tokensout", "outputtoken", "generatedtokens"),
    "reasoning_tokens": ("reasoning", "tokensreasoning", "thinkingtokens", "thoughtstokens"),
    "reported_cost": ("cost", "costusd", "spend", "amount", "totalcost", "price", "amountusd", "costtotal", "costinusd", "kosten"),
    "latency_ms": ("latency", "durationms", "duration", "responsetimems", "completiontimems"),
    "environment": ("env",),
    "calls": ("requests", "numrequests", "requestcount", "numcalls", "callcount", "nrequests", "nummodelrequests"),
}
BY_ALIAS = {alias: name for name, aliases in ALIASES.items() for alias in aliases} | {name.replace("_", ""): name for name in FIELDS}
# Input under these names holds what caches served, as OpenAI's usage has it.
WHOLE_INPUT = frozenset(("prompttokens", "tokensprompt", "promptokens"))
# Under these a header says an amount of time of another unit, or text that somebody wrote.
NOT_GUESSED = frozenset(("latency", "duration"))


@dataclass(frozen=True, slots=True)
class Guess:
    """What a file seems to be: the product whose export it is ("": none that is known), and what its columns mean."""

    name: str
    meaning: Meaning


def guess(headers: Sequence[str], samples: Sequence[Mapping[str, str]], *, delimiter: str = ",") -> Guess:
    """The meaning by the headers, and by the delimiter and some rows how times and numbers are written."""
    export = next((one for one in EXPORTS if one.known_by <= set(headers)), None)
    if export is None:
        found = Guess("", _by_names(headers))
    else:
        columns: dict[str, str] = {}
        for header in headers:
            target = export.columns.get(header, "")
            if target and (target in ("tag", "unit") or target not in columns.values()):
                columns[header] = target
        found = Guess(
            export.name, Meaning(columns, dict(export.constants), is_input_whole=export.is_input_whole, are_totals=export.are_totals)
        )
    return Guess(found.name, _as_written(found.meaning, samples, delimiter=delimiter))


def _by_names(headers: Sequence[str]) -> Meaning:
    columns: dict[str, str] = {}
    is_input_whole = False
    for header in headers:
        bare = "".join(character for character in header.lower() if character.isalnum())
        target = (
            f"tag:{header[5:]}"[:204]
            if header.startswith("tags.")
            else f"unit:{header[6:]}"[:45]
            if header.startswith("units.")
            else BY_ALIAS.get(bare, "")
        )
        if target and bare not in NOT_GUESSED and target not in columns.values():
            columns[header] = target
            is_input_whole = is_input_whole or bare in WHOLE_INPUT
    return Meaning(columns, is_input_whole=is_input_whole, are_totals="calls" in columns.values())


def _as_written(meaning: Meaning, samples: Sequence[Mapping[str, str]], *, delimiter: str) -> Meaning:
    """The meaning with the order of days and the sign for fractions that the rows have."""
    times = [row.get(header, "") for row in samples for header, target in meaning.columns.items() if target == "occurred_at"]
    numbers = [row.get(header, "") for row in samples for header, target in meaning.columns.items() if target.partition(":")[0] in NUMERIC]
    counts = [row.get(header, "") for row in samples for header, target in meaning.columns.items() if target.endswith("_tokens")]
    decimal = values.decimal_of(numbers, counts=counts, times=times, delimiter=delimiter)
    return msgspec.structs.replace(meaning, date_order=values.order_of(times), decimal=decimal)
