"""Claude Code's transcripts (~/.claude/projects/**/*.jsonl): one call for each `requestId`, however many lines it takes.

Input excludes cached tokens. A request with text and a tool call is two lines with the same usage. Calls of sub-agents stand in
files of their own with the same shape. `cost-state` lines are sums of a session and are not read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from .buckets import Reported, disjoint
from .reading import Rewriting
from .values import Fields, amount, count, elapsed_ms, folder, identifier, instant, known, listed, mapping, tags, text

NAME = "claude-code"
HARNESS = "claude-code"
SYNTHETIC = "<synthetic>"
MOST_REQUESTS = 16
ADVISOR = ":advisor:"
# A line without one of these says nothing that is read; a line is looked at for them before it is decoded.
MARKS = (b'"assistant"', b'"api-request"', b'"promptId"')
# What an advisor's call does not share with the one it is within.
OF_THE_CALL = (
    "request_id", "units", "latency_ms", "ttft_ms", "reported_cost", "input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "output_tokens", "reasoning_tokens",
)  # fmt: skip
USUAL = ("", "standard", "normal", "default")


class Reader(Rewriting):
    """Remembers the prompt that is being answered, the requests that were sent, and calls whose lines may go on."""

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        kind = record.get("type")
        if kind == "user" and record.get("promptId"):
            self.context["prompt"] = identifier(record["promptId"])
        elif kind == "api-request":
            self._note(record)
        elif kind == "assistant":
            message = mapping(record.get("message"))
            if message.get("model") == SYNTHETIC or record.get("isApiErrorMessage"):
                return self._failed(record)
            if isinstance(message.get("usage"), dict):
                fields = self._call(record, message)
                return self._all(fields, message["usage"])
        return ()

    def _all(self, fields: Fields, usage: Mapping[str, Any]) -> Iterable[Fields]:
        """The call, and those of an advisor within it; before it those that are whole because it follows."""
        yield from self._followed(fields)
        yield from self.together(fields.get("request_id") or fields["id"], fields)
        for within in advice(usage, fields):
            yield from self.together(within["id"], within)

    def _followed(self, fields: Fields) -> Iterable[Fields]:
        """Calls that no later line goes on with: a conversation makes its next call when it has the answer to the one before."""
        waiting: dict[str, Fields] = self.context.get("open", {})
        name, chain = fields.get("request_id") or fields["id"], chain_of(fields)
        for key in [key for key, one in waiting.items() if chain and chain_of(one) == chain and key.partition(ADVISOR)[0] != name]:
            yield waiting.pop(key)

    def _note(self, record: Mapping[str, Any]) -> None:
        """Keeps what a request says before its answer: the model asked for, and when."""
        sent: dict[str, Any] = self.context.setdefault("sent", {})
        sent[identifier(record.get("id"))] = [text(mapping(record.get("params")).get("model")), text(record.get("timestamp"))]
        while len(sent) > MOST_REQUESTS:
            sent.pop(next(iter(sent)))

    def _request(self, record: Mapping[str, Any]) -> tuple[str, str]:
        """(model, time) of the request that the record answers, where the file says so."""
        found = self.context.get("sent", {}).get(identifier(record.get("requestRef"))) or ("", "")
        return found[0], found[1]

    def _call(self, record: Mapping[str, Any], message: Mapping[str, Any]) -> Fields:
        usage = message["usage"]
        self.context["model"] = text(message.get("model"))
        at = instant(record.get("timestamp"))
        return known(
            {
                **self._shared(record, at),
                "request_id": identifier(record.get("requestId")) or identifier(message.get("id")),
                "id": identifier(message.get("id")) or identifier(record.get("uuid")),
                "provider": provider_of(identifier(message.get("id"))),
                "model": text(message.get("model")),
                **tokens(usage),
                "units": searches(usage),
                "latency_ms": elapsed_ms(self._request(record)[1], at),
                "reported_cost": amount(record.get("costUSD")),
                "tags": {**labels(record), **modes(usage)},
            }
        )

    def _failed(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        """A call that the API refused: an event without counts. Other lines that Claude Code made up are no calls."""
        model = self._request(record)[0] or text(record.get("requestedModel")) or self.context.get("model", "")
        if not record.get("isApiErrorMessage") or not model:
            return
        yield known(
            {
                **self._shared(record, instant(record.get("timestamp"))),
                "request_id": identifier(record.get("requestId")),
                "id": identifier(record.get("uuid")),
                "provider": "anthropic",
                "model": model,
                "status": "error",
                "tags": labels(record),
            }
        )

    def _shared(self, record: Mapping[str, Any], at: str) -> Fields:
        return {
            "occurred_at": at,
            "harness": HARNESS,
            "harness_version": text(record.get("version"), 80),
            # A fork repeats the lines of the session it was made from, which made the calls in them.
            "session": identifier(record.get("requestSessionId")) or identifier(record.get("sessionId")),
            "trace": self.context.get("prompt", ""),
            "role": "subagent" if record.get("isSidechain") is True or record.get("agentId") else "",
        }


def tokens(usage: Mapping[str, Any]) -> Fields:
    """The disjoint buckets of an Anthropic usage block, with those of compactions, which its own counts leave out."""
    found = block_tokens(usage)
    for step in iterations(usage, "compaction"):
        for name, number in block_tokens(step).items():
            if isinstance(number, int) and isinstance(found.get(name, 0), int):
                found[name] = found.get(name, 0) + number
    return found


def iterations(usage: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """The steps of one kind that a request took."""
    return [step for step in listed(usage.get("iterations")) if isinstance(step, dict) and step.get("type") == kind]


def advice(usage: Mapping[str, Any], call: Fields) -> list[Fields]:
    """The calls of an advisor within a call: another model's, at its prices, in no count of the call itself."""
    found = []
    for number, step in enumerate(iterations(usage, "advisor_message")):
        if model := text(step.get("model")):
            name = f"{call.get('request_id') or call.get('id')}{ADVISOR}{number}"
            shared = {field: value for field, value in call.items() if field not in OF_THE_CALL}
            found.append({**shared, "id": name, "model": model, "role": "advisor", **block_tokens(step)})
    return found


def block_tokens(usage: Mapping[str, Any]) -> Fields:
    """The buckets of one block. Cache writes without a split count as five-minute writes."""
    split = mapping(usage.get("cache_creation"))
    reported = Reported(
        input=usage.get("input_tokens"),
        output=usage.get("output_tokens"),
        cache_read=usage.get("cache_read_input_tokens"),
        cache_write=usage.get("cache_creation_input_tokens"),
        cache_write_5m=split.get("ephemeral_5m_input_tokens"),
        cache_write_1h=split.get("ephemeral_1h_input_tokens"),
        reasoning=mapping(usage.get("output_tokens_details")).get("thinking_tokens"),
    )
    return disjoint(reported, cache_in_input=False, reasoning_in_output=True)


def searches(usage: Mapping[str, Any]) -> Fields:
    """What the server's own tools are billed by."""
    number = count(mapping(usage.get("server_tool_use")).get("web_search_requests"))
    return {"web_searches": number} if number else {}


def modes(usage: Mapping[str, Any]) -> dict[str, str]:
    """How the call was processed, where it was not the usual way: prices may go by it."""
    found = tags(service_tier=usage.get("service_tier"), speed=usage.get("speed"), inference_geo=usage.get("inference_geo"))
    return {name: value for name, value in found.items() if value not in USUAL and value != "not_available"}


def labels(record: Mapping[str, Any]) -> dict[str, str]:
    return tags(
        folder=folder(record.get("cwd")),
        git__branch=record.get("gitBranch"),
        entrypoint=record.get("entrypoint"),
        agent__id=record.get("agentId"),
        effort=record.get("effort"),
    )


def chain_of(call: Fields) -> tuple[str, str] | None:
    """The conversation that makes its calls one after another: a session's, or an agent's of it. None where agents of one file have no id."""
    agent = call.get("tags", {}).get("agent.id", "")
    return None if call.get("role") == "subagent" and not agent else (call.get("session", ""), agent)


def provider_of(message_id: str) -> str:
    """Who served the call: Bedrock and Vertex mark their message ids."""
    if message_id.startswith("msg_bdrk_"):
        return "aws"
    return "google" if message_id.startswith("msg_vrtx_") else "anthropic"
