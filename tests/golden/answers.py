"""Vendors' answers as their APIs give them, with the usage that all captures here have."""

from typing import Any

CHAT_USAGE = {
    "prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700, "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0},
}  # fmt: skip
CHAT: dict[str, Any] = {
    "id": "chatcmpl-Mock00000125", "object": "chat.completion", "created": 1795255928, "model": "gpt-5-2025-08-07", "service_tier": "default", "usage": CHAT_USAGE,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "SECRET"}}],
}  # fmt: skip
RESPONSE = {
    "id": "resp_Mock00000103", "object": "response", "created_at": 1795255928, "status": "completed", "model": "gpt-5-2025-08-07", "service_tier": "flex",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "SECRET"}]}],
    "usage": {
        "input_tokens": 1500, "input_tokens_details": {"cached_tokens": 1024}, "output_tokens": 200, "output_tokens_details": {"reasoning_tokens": 64}, "total_tokens": 1700,
    },
}  # fmt: skip
MESSAGE: dict[str, Any] = {
    "id": "msg_01Mock00000001", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [{"type": "text", "text": "SECRET"}],
    "usage": {
        "input_tokens": 120, "cache_creation_input_tokens": 2048, "cache_read_input_tokens": 10240, "output_tokens": 57, "service_tier": "standard",
        "cache_creation": {"ephemeral_5m_input_tokens": 1536, "ephemeral_1h_input_tokens": 512}, "output_tokens_details": {"thinking_tokens": 0},
    },
}  # fmt: skip
GENERATED: dict[str, Any] = {
    "responseId": "mock-Zx81aB7cD2eF9gH4iJ6k", "modelVersion": "gemini-2.5-pro", "candidates": [{"content": {"parts": [{"text": "SECRET"}]}}],
    "usageMetadata": {
        "promptTokenCount": 1300, "cachedContentTokenCount": 1000, "candidatesTokenCount": 90, "thoughtsTokenCount": 40, "totalTokenCount": 1430,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1300}],
    },
}  # fmt: skip
CONVERSED = {
    "ResponseMetadata": {"RequestId": "4f1a2b3c-5d6e-4f70-8a9b-0c1d2e3f4a5b", "HTTPStatusCode": 200}, "output": {"message": {"content": [{"text": "SECRET"}]}}, "stopReason": "end_turn",
    "usage": {
        "inputTokens": 120, "outputTokens": 57, "totalTokens": 12465, "cacheReadInputTokens": 10240, "cacheWriteInputTokens": 2048,
        "cacheDetails": [{"ttl": "5m", "inputTokens": 1536}, {"ttl": "1h", "inputTokens": 512}],
    },
    "metrics": {"latencyMs": 551},
}  # fmt: skip
OLLAMA: dict[str, Any] = {
    "model": "llama3.2", "created_at": "2026-11-21T10:12:08.499127734Z", "message": {"role": "assistant", "content": "SECRET"}, "done": True, "done_reason": "stop",
    "total_duration": 4883583458, "load_duration": 1334875, "prompt_eval_count": 26, "prompt_eval_duration": 342546000, "eval_count": 282, "eval_duration": 4535599000,
}  # fmt: skip
