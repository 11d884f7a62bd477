"""Examples for the description of the API of counting once."""

from typing import Any

COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens")
CALL, OTHER = "5f2a7c54-0c63-8e6b-6f3c-0de3f9b0a2d4", "0b7f2fd1-8f3e-8a60-9c11-6a0f7a0f3e55"
REPORTS: dict[str, Any] = {
    "call": CALL, "occurred_at": "2026-11-21T10:04:00Z", "session": "cc-7f31d04b92ae", "model": "claude-sonnet-4-5",
    "reports": [
        {
            "id": 41, "source": "harness:otlp", "kind": "harness", "door": "otlp", "how": "first", "own_id": "req_011CQ4pvX7abcd0001", "reported_at": "2026-11-21T10:04:00Z",
            "seen_at": "2026-11-21T10:04:02Z", "differs": [{"field": "output_tokens", "reported": "57", "counted": "60"}],
        },
        {
            "id": 42, "source": "gateway:litellm", "kind": "gateway", "door": "litellm", "how": "matched", "own_id": "2c3bd870-bb5a-45fd-a8b3-9a24380f0001",
            "reported_at": "2026-11-21T10:04:01Z", "seen_at": "2026-11-21T10:04:09Z", "differs": [],
        },
    ],
}  # fmt: skip
SPLIT_IN = {"reason": "Two calls of two terminals"}
SPLIT = {"call": CALL, "new": OTHER}
JOIN_IN = {"other": OTHER, "reason": "The gateway asked twice and was billed once"}
JOIN = {"call": CALL}
_CALL: dict[str, Any] = {
    "call": CALL, "occurred_at": "2026-11-21T10:04:00Z", "provider": "anthropic", "model": "claude-sonnet-4-5", "sources": ["harness:otlp"], "input_tokens": 120,
    "cache_read_tokens": 10240, "cache_write_5m_tokens": 2048, "cache_write_1h_tokens": None, "output_tokens": 57, "cost": "0.011967",
}  # fmt: skip
PAIRS: dict[str, Any] = {
    "pairs": [{
        "id": 12, "session": "cc-7f31d04b92ae", "noted_at": "2026-11-21T10:04:09Z",
        "calls": [_CALL, _CALL | {"call": OTHER, "occurred_at": "2026-11-21T10:04:01Z", "sources": ["gateway:litellm"], "output_tokens": 58, "cost": "0.011982"}],
    }],
    "next": None,
}  # fmt: skip
TRUST_OUT: dict[str, Any] = {"kinds": ["vendor", "gateway", "harness"], "is_default": True}
TRUST_IN: dict[str, Any] = {"kinds": ["gateway", "vendor", "harness"]}
TRUSTED: dict[str, Any] = TRUST_IN | {"is_default": False}
_ALL: dict[str, Any] = {
    "group": "", "calls": 41, "both": 30, "gateway_only": 4, "harness_only": 7, "other": 0,
    "sources": {"gateway:litellm+harness:otlp": 30, "gateway:litellm": 4, "harness:otlp": 7},
}  # fmt: skip
COVERAGE: dict[str, Any] = {
    "since": "2026-11-20T12:00:00Z", "until": "2026-11-21T12:00:00Z", "by": "harness", "total": _ALL, "groups": [_ALL | {"group": "claude-code"}], "is_cut": False,
}  # fmt: skip
