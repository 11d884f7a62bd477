"""LiteLLM's generic_api batches: lists of StandardLoggingPayload, one for each call it made.

Prompt tokens include what caches served and took, completion tokens include reasoning, for every vendor. `session_id` is always
empty; the session is in `trace_id`. An answer from LiteLLM's own cache is no call. A call counts once by the vendor's id or else by
`litellm_call_id`; a failed attempt has the id of the retry that succeeds, so it gets one of its own. The records of `generic_api_use_v1` are refused: they are
texts of Python's, their counts as well, and their times are of the proxy's own clock, without its zone (LiteLLM 1.106.2, `_get_v1_logging_payload`).
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from ingest.collector.readers.reading import Stateless
from ingest.collector.readers.values import Fields, Misread, amount, count, identifier, instant, known, listed, mapping, since_1970_s, text
from ingest.formats.answers import unusual
from ingest.formats.buckets import Reported, disjoint

NAME = "litellm"
ZONELESS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")
VENDOR_IDS = ("llm_provider-request-id", "llm_provider-x-request-id")
# By the first word of the caller's User-Agent, in lower case.
HARNESSES = {
    "claude-cli": "claude-code", "codex_cli_rs": "codex", "codex_exec": "codex", "geminicli": "gemini-cli", "geminicli-tui": "gemini-cli",
    "opencode": "opencode", "qwencode": "qwen-code",
}  # fmt: skip
# What a spend tag such as `project:alpha`, or the caller's metadata, may say of a field.
TAG_FIELDS = {
    "team": "team",
    "project": "project",
    "env": "environment",
    "environment": "environment",
    "role": "role",
    "task_class": "task_class",
    "task": "task",
}
NO_TAGS = frozenset(("trace_id", "session_id", "user_id", "headers", "tags", "used_client_oauth_token"))
NOBODY = "default_user_id"
MOST_TAGS = 24
TOTALS = ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens")


class Record(TypedDict, total=False):
    """What is read of a payload: all else, such as messages, the answer and the model's map, is passed over undecoded."""

    id: Any
    litellm_call_id: Any
    trace_id: Any
    session_id: Any
    call_type: Any
    cache_hit: Any
    stream: Any
    status: Any
    error_str: Any
    error_information: Any
    custom_llm_provider: Any
    startTime: Any
    endTime: Any
    completionStartTime: Any
    model: Any
    model_group: Any
    metadata: Any
    response_cost: Any
    response_cost_failure_debug_info: Any
    cost_breakdown: Any
    prompt_tokens: Any
    completion_tokens: Any
    total_tokens: Any
    request_tags: Any
    end_user: Any
    user_agent: Any
    hidden_params: Any


class Reader(Stateless):
    shape = Record

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if str(record.get("cache_hit")).lower() == "true":
            return
        metadata = mapping(record.get("metadata"))
        is_ok = succeeded(record)
        told, tags = said(record, metadata)
        yield known(
            {
                **told,
                **ids(record, is_ok=is_ok),
                **model(record),
                **harness(text(record.get("user_agent") or metadata.get("user_agent"))),
                "occurred_at": ended(record.get("endTime")),
                "gateway": "litellm",
                "session": session(record),
                "member": member(record, metadata),
                **{name: value for name, value in owners(metadata).items() if value},
                "status": "ok" if is_ok else "error",
                **durations(record),
                **(tokens(record, metadata) if is_ok else {}),
                "units": units(mapping(metadata.get("usage_object"))) if is_ok else {},
                "reported_cost": cost(record) if is_ok else None,
                "tags": tags,
            }
        )


def ended(stamp: Any) -> str:
    """When the call ended. Raises Misread where nothing says of what zone that time is."""
    at = instant(stamp)
    if ZONELESS.fullmatch(at):
        raise Misread(
            "occurred_at",
            "The time has no zone. LiteLLM writes it so by `generic_api_use_v1`, with counts that are text: switch that off there.",
        )
    return at


def succeeded(record: Mapping[str, Any]) -> bool:
    """Whether a call was answered. Versions before 1.50 say no status, only an error where there was one."""
    status = record.get("status")
    return status == "success" if status else not (record.get("error_str") or record.get("error_information"))


def ids(record: Mapping[str, Any], *, is_ok: bool) -> Fields:
    """The vendor's id of the request, where LiteLLM passes it on, else LiteLLM's of the call, or one of a failed attempt: as its other outputs have it."""
    call = identifier(record.get("litellm_call_id")) or identifier(record.get("id"))
    if not is_ok:
        attempt = f"{call}-failed-{ended_ms(record.get('endTime'))}"
        return {"request_id": attempt, "id": attempt}
    sent = mapping(mapping(record.get("hidden_params")).get("additional_headers"))
    return {"request_id": next((identifier(sent[name]) for name in VENDOR_IDS if sent.get(name)), call), "id": call}


def ended_ms(end: Any) -> str:
    """The end of an attempt in milliseconds, as LiteLLM's other outputs name a failed one too."""
    return f"{since_1970_s(end) * 1000:.0f}" if isinstance(end, int | float) else text(end)


def model(record: Mapping[str, Any]) -> Fields:
    """Who bills and the model, without the provider that LiteLLM writes before it. Resellers' own names keep their maker."""
    provider = text(record.get("custom_llm_provider"), 80)
    name = text(record.get("model")) or text(record.get("model_group")) or "unknown"
    name = name.removeprefix(f"{provider}/") if provider else name
    return {"provider": provider, "model": name.rpartition("/")[2] if provider.startswith("bedrock") else name}


def harness(user_agent: str) -> Fields:
    name, _, version = user_agent.partition(" ")[0].partition("/")
    known_as = HARNESSES.get(name.lower())
    return {"harness": known_as, "harness_version": version.partition("/")[0][:80]} if known_as else {}


def session(record: Mapping[str, Any]) -> str:
    """What the caller named; LiteLLM makes one up for each call that names none, which is then the call's own id."""
    named = identifier(record.get("session_id")) or identifier(record.get("trace_id"))
    return "" if named == identifier(record.get("litellm_call_id")) else named


def member(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The person: whom the caller named, else whose key it is. What Claude Code sends is a device, and an account where somebody is signed in."""
    named = text(record.get("end_user"), 254)
    if named.startswith("{"):
        try:
            named = text(json.loads(str(record["end_user"])).get("account_uuid"), 254)
        except ValueError:
            named = ""
    elif named.startswith("user_") and "_account_" in named and "_session_" in named:
        named = named.partition("_account_")[2].rpartition("_session_")[0].strip("_")
    owner = text(metadata.get("user_api_key_user_id"), 254)
    return named or text(metadata.get("user_api_key_user_email"), 254) or ("" if owner == NOBODY else owner)


def owners(metadata: Mapping[str, Any]) -> Fields:
    """The team and project of the key, which the caller cannot choose."""
    return {
        "team": text(metadata.get("user_api_key_team_alias")) or text(metadata.get("user_api_key_team_id")),
        "project": text(metadata.get("user_api_key_project_alias")) or text(metadata.get("user_api_key_project_id")),
    }


def said(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[Fields, dict[str, str]]:
    """Fields and tags in spend tags and in the caller's metadata. `name:value` and `name=value` are read as such, any other tag is true."""
    words: dict[str, str] = {}
    for name, value in mapping(metadata.get("requester_metadata")).items():
        if name not in NO_TAGS and isinstance(value, str | int | float) and len(str(value)) <= 200:
            words[text(name, 120)] = text(value)
    for tag in listed(record.get("request_tags")):
        if isinstance(tag, str) and not tag.startswith("User-Agent: ") and tag.strip():
            name, sign, value = tag.partition(":") if ":" in tag else tag.partition("=")
            words[text(name, 120)] = text(value) if sign else "true"
    fields = {TAG_FIELDS[name]: value for name, value in words.items() if name in TAG_FIELDS}
    tags = {name: value for name, value in words.items() if name and value and name not in TAG_FIELDS}
    own = {
        "key_alias": text(metadata.get("user_api_key_alias")),
        "model_group": text(record.get("model_group")),
        "user_agent": text(record.get("user_agent")),
        # Of Anthropic's answers LiteLLM keeps the id, which a transcript has as well.
        "vendor.response_id": answer if (answer := identifier(record.get("id"))).startswith("msg_") else "",
        **unusual(service_tier=mapping(record.get("cost_breakdown")).get("service_tier")),
    }
    return fields, {**dict(list(tags.items())[:MOST_TAGS]), **{name: value for name, value in own.items() if value}}


def durations(record: Mapping[str, Any]) -> Fields:
    """Whole and first-token latency. LiteLLM's clock of streamed /v1/messages starts when the stream has nearly ended."""
    if record.get("call_type") == "anthropic_messages" and record.get("stream"):
        return {}
    start, first, end = (record.get(name) for name in ("startTime", "completionStartTime", "endTime"))
    return {
        "latency_ms": between_ms(start, end),
        "ttft_ms": between_ms(start, first) if record.get("stream") else None,
    }


def between_ms(start: Any, end: Any) -> int | None:
    if not all(isinstance(second, int | float) and not isinstance(second, bool) for second in (start, end)):
        return None
    return max(0, round((since_1970_s(end) - since_1970_s(start)) * 1000))


def tokens(record: Mapping[str, Any], metadata: Mapping[str, Any]) -> Fields:
    """The disjoint buckets; none where LiteLLM reports nothing but zeros, because then it did not learn the usage.

    `usage_object` has the names of chat completions, for calls of the responses API in some versions theirs.
    """
    usage = mapping(metadata.get("usage_object"))
    usage = usage if any(usage.get(name) is not None for name in TOTALS) else record
    if not any(usage.get(name) for name in TOTALS):
        return {}
    read = mapping(usage.get("prompt_tokens_details")) or mapping(usage.get("input_tokens_details"))
    written = mapping(usage.get("completion_tokens_details")) or mapping(usage.get("output_tokens_details"))
    split = mapping(read.get("cache_creation_token_details")) or mapping(usage.get("cache_creation"))
    reported = Reported(
        input=first(usage.get("prompt_tokens"), usage.get("input_tokens")),
        output=first(usage.get("completion_tokens"), usage.get("output_tokens")),
        cache_read=first(usage.get("cache_read_input_tokens"), read.get("cached_tokens")),
        cache_write=first(usage.get("cache_creation_input_tokens"), read.get("cache_creation_tokens"), read.get("cache_write_tokens")),
        cache_write_5m=split.get("ephemeral_5m_input_tokens"),
        cache_write_1h=split.get("ephemeral_1h_input_tokens"),
        reasoning=written.get("reasoning_tokens"),
        total=usage.get("total_tokens"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)


def first(*counts: Any) -> Any:
    return next((one for one in counts if one is not None), None)


def units(usage: Mapping[str, Any]) -> Fields:
    """What is billed by other than text's tokens: searches, sound by its tokens or, in transcriptions, by its seconds, reranked searches."""
    asked = count(mapping(usage.get("server_tool_use")).get("web_search_requests"))
    heard = usage.get("seconds") if usage.get("type") == "duration" else None
    found = {
        "web_searches": asked or count(mapping(usage.get("prompt_tokens_details")).get("web_search_requests")),
        "input_audio_tokens": count(mapping(usage.get("prompt_tokens_details")).get("audio_tokens")),
        "output_audio_tokens": count(mapping(usage.get("completion_tokens_details")).get("audio_tokens")),
        "audio_seconds": amount(heard),
        "search_units": count(mapping(usage.get("billed_units")).get("search_units")),
    }
    return {name: value for name, value in found.items() if value}


def cost(record: Mapping[str, Any]) -> str | None:
    return None if record.get("response_cost_failure_debug_info") else amount(record.get("response_cost"))
