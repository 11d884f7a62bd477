"""Files that harnesses wrote, and the calls that are in them."""

from pathlib import Path
from typing import Any, NamedTuple

from tests.golden.captures import FOLDER

CLAUDE = {
    "input_tokens": 120,
    "cache_read_tokens": 10240,
    "cache_write_5m_tokens": 1536,
    "cache_write_1h_tokens": 512,
    "output_tokens": 57,
    "reasoning_tokens": 0,
}
OPENAI = {"input_tokens": 476, "cache_read_tokens": 1024, "cache_write_5m_tokens": 0, "output_tokens": 200, "reasoning_tokens": 64}
GEMINI = {"input_tokens": 300, "cache_read_tokens": 1000, "output_tokens": 130, "reasoning_tokens": 40}
COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
QWEN_SESSION = {"sessionId": "8dd3f850-8dba-40e6-9d7b-7de2cd2057e8", "cwd": "/home/dev/project", "version": "0.24.4"}


class Written(NamedTuple):
    """One file: the harness, its path, and for each call in it what says which call it is, with its counts."""

    harness: str
    path: Path
    ids: list[str]
    counts: dict[str, int]


def written(harness: str, name: str, counts: dict[str, int], *ids: str) -> Written:
    return Written(harness, FOLDER / name, list(ids), counts)


FILES = [
    written("claude-code", "claude-code/transcripts/959ca271-a37a-4851-8fdf-92812b5983b4.jsonl", CLAUDE, "req_011Mock000001", "req_011Mock000002"),
    written(
        "claude-code", "claude-code/transcripts/9c0e28ed-690f-416a-920d-23a083de80d3.jsonl", CLAUDE,
        "req_011Mock000008", "req_011Mock000009", "req_011Mock000010", "req_011Mock000483",
    ),
    written("claude-code", "claude-code-via-litellm/transcript-09cdacfa.jsonl", CLAUDE, "req_011Mock000505", "req_011Mock000506"),
    written(
        "codex", "codex-cli/sessions/rollout-2026-11-21T10-04-01-01a1fd90-17f4-7822-bd3d-fdfa2624eb70.jsonl", OPENAI,
        "resp_Mock00000103", "resp_Mock00000104", "resp_Mock00000106",
    ),
    written("gemini-cli", "gemini-cli/chats/session-2026-11-21T10-06-12403391.jsonl", GEMINI, "5d631af3-d233-4feb-b849-03d1a41528e4"),
    written("opencode", "opencode/opencode.db.rows.jsonl", OPENAI, "msg_1fd9d0b7d0019jumnj1r9vD9X1", "msg_1fd9d0fe6001nPrj1euDdV4i3e"),
    written("opencode", "opencode/opencode-export-session.json", OPENAI, "msg_1fd9d0b7d0019jumnj1r9vD9X1", "msg_1fd9d0fe6001nPrj1euDdV4i3e"),
    written("openclaw", "openclaw/transcript_events.jsonl", OPENAI, "chatcmpl-Mock00000478", "chatcmpl-Mock00000479"),
]  # fmt: skip


def qwen_chat() -> list[dict[str, Any]]:
    """A chat of two answers as Qwen Code writes it: each with its note before it, which has the same counts and more."""
    records: list[dict[str, Any]] = [
        {**QWEN_SESSION, "uuid": "u-1", "type": "user", "timestamp": "2026-11-21T10:00:00.000Z", "message": {"role": "user"}}
    ]
    for number in (1, 2):
        at = f"2026-11-21T10:00:0{number}.000Z"
        told = {
            "event.name": "qwen-code.api_response", "event.timestamp": at, "response_id": f"chatcmpl-Mock0000020{number}", "model": "gpt-5",
            "duration_ms": 130, "ttft_ms": 90, "input_token_count": 1500, "output_token_count": 200, "cached_content_token_count": 1024,
            "thoughts_token_count": 64, "tool_token_count": 0, "total_token_count": 1700, "prompt_id": f"{QWEN_SESSION['sessionId']}########{number}",
        }  # fmt: skip
        usage = {
            "promptTokenCount": 1500,
            "candidatesTokenCount": 200,
            "cachedContentTokenCount": 1024,
            "thoughtsTokenCount": 64,
            "totalTokenCount": 1700,
        }
        base = {**QWEN_SESSION, "timestamp": at}
        records.append({**base, "uuid": f"t-{number}", "type": "system", "subtype": "ui_telemetry", "systemPayload": {"uiEvent": told}})
        records.append(
            {**base, "uuid": f"a-{number}", "type": "assistant", "model": "gpt-5", "usageMetadata": usage, "message": {"role": "model"}}
        )
    return records
