"""The bodies of webhooks: {"type", "timestamp", "organization", "data"}, the same bytes at every attempt."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

TEST = "test"


def webhook_body(*, kind: str, at: datetime, organization: str, facts: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8. `at` is when it happened, `facts` what the kind's section in docs/notices.md lists."""
    told = {"type": kind, "timestamp": instant(at), "organization": organization, "data": dict(facts)}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


def instant(at: datetime) -> str:
    """UTC with microseconds: "2026-11-21T10:05:00.000000Z"."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
