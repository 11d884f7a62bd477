"""The events that the clients post, as JSON: live calls of many people's sessions. Made ahead, so that making them costs nothing measured."""

import json
import random
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.bench import labels

SESSIONS_AT_ONCE = 100
CALLS_OF_A_SESSION = 150
SPREAD_MINUTES = 10


class Calls:
    """One client's stream of calls: a hundred sessions at a time, each ending after a while and followed by a new one."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.stamp = f"{seed}-{secrets.token_hex(4)}"
        self.count = 0

    def event(self) -> dict[str, Any]:
        """The next call."""
        chance = self.random
        self.count += 1
        slot = chance.randrange(SESSIONS_AT_ONCE)
        era = self.count // (SESSIONS_AT_ONCE * CALLS_OF_A_SESSION)
        team = labels.TEAMS[slot % len(labels.TEAMS)]
        number = slot // len(labels.TEAMS) % labels.PEOPLE_PER_TEAM
        kind = (slot + number) % 2 + (slot % 2) * 2
        provider, model, role = labels.CALLS[kind][min(int(chance.expovariate(1.0)), 2)]
        at = datetime.now(UTC) - timedelta(seconds=chance.random() * 60 * SPREAD_MINUTES)
        output = chance.randrange(50, 4000)
        return {
            "occurred_at": at.isoformat(), "request_id": f"req_{self.stamp}_{self.count}", "provider": provider, "model": model,
            "harness": labels.HARNESSES[kind], "harness_version": "2.1.4", "gateway": "litellm", "team": team,
            "project": labels.project(team, slot % labels.PROJECTS_PER_TEAM), "member": labels.person(team, number),
            "session": f"s-{self.stamp}-{slot}-{era}", "trace": f"t-{self.stamp}-{slot}-{self.count // 20}", "role": role, "task_class": "code",
            "environment": "production", "input_tokens": chance.randrange(20, 3000), "cache_read_tokens": chance.randrange(0, 90_000),
            "cache_write_5m_tokens": chance.randrange(0, 4000), "output_tokens": output, "reasoning_tokens": output // 3,
            "latency_ms": chance.randrange(400, 40_000), "ttft_ms": chance.randrange(100, 2000), "tags": {"branch": "main"},
        }

    def single(self) -> bytes:
        return json.dumps(self.event()).encode()

    def batch(self, size: int) -> bytes:
        return json.dumps({"events": [self.event() for _ in range(size)]}).encode()

    def authorization(self) -> bytes:
        """The question before a call."""
        event = self.event()
        named = ("session", "team", "project", "member", "provider", "model", "harness", "gateway", "role", "input_tokens")
        return json.dumps({name: event[name] for name in named} | {"max_output_tokens": 4000, "ttl_seconds": 300}).encode()
