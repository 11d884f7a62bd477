"""Other clients' formats: LiteLLM's batches beside native ones, what a record costs to parse, and the import of a long transcript."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ingest.formats import native, records
from tests.bench import telemetry
from tests.bench.events import Calls
from tests.golden.answers import CHAT, GENERATED, MESSAGE

if TYPE_CHECKING:
    from tests.bench.measures import Bench

ROOT = Path(__file__).resolve().parents[2]
BATCH = 100
BATCHES_EACH = 40
PARSED = 2_000
LINES = 1_000_000
# Of a turn: what a person wrote, an answer in two lines, and what a tool gave back.
LINES_OF_A_CALL = 4


def litellm_batch(calls: Calls, size: int = BATCH) -> bytes:
    """The same calls as a native batch has, as LiteLLM's callback posts them."""
    return json.dumps([litellm_record(calls.event()) for _ in range(size)]).encode()


def litellm_record(event: dict[str, Any]) -> dict[str, Any]:
    """A StandardLoggingPayload with the parts of a real one that are long: the map of the model, headers, messages, an answer."""
    real: dict[str, Any] = json.loads((ROOT / "tests/golden/litellm/001.json").read_text())["body"][0]
    end = datetime.fromisoformat(event["occurred_at"]).timestamp()
    prompt = event["input_tokens"] + event["cache_read_tokens"] + event["cache_write_5m_tokens"]
    usage = {
        "prompt_tokens": prompt, "completion_tokens": event["output_tokens"], "total_tokens": prompt + event["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": event["cache_read_tokens"], "cache_creation_tokens": event["cache_write_5m_tokens"]},
        "completion_tokens_details": {"reasoning_tokens": event["reasoning_tokens"]},
    }  # fmt: skip
    return {
        **real, "litellm_call_id": str(uuid4()), "trace_id": event["session"], "custom_llm_provider": event["provider"], "model": event["model"], "endTime": end,
        "startTime": end - event["latency_ms"] / 1000, "end_user": event["member"], "hidden_params": None, "user_agent": "claude-cli/2.1.4", "request_tags": [],
        "metadata": {**real["metadata"], "user_api_key_team_alias": event["team"], "user_api_key_project_alias": event["project"], "usage_object": usage},
    }  # fmt: skip


def litellm(bench: "Bench") -> None:
    """Calls a second by either door, 100 a request."""
    base = BATCH * bench.rate(to=bench.product, path="/api/v1/events", kind="batch of 100", clients=4, each=BATCHES_EACH)
    ours = BATCH * bench.rate(to=bench.product, path="/api/v1/events/litellm", kind="litellm", clients=4, each=BATCHES_EACH)
    bench.note("native 100 events/s", base)
    bench.note("litellm events/s", ours)
    bench.note("litellm ratio", ours / base)


def parsing(bench: "Bench") -> None:
    """Microseconds of processor time that parsing takes, from body to event, by format."""
    from tests.golden.harness_files import FILES

    calls = Calls(1)
    now = datetime.now(UTC)
    single = {"openai": CHAT, "anthropic": MESSAGE, "gemini": GENERATED}
    bodies = {"litellm": litellm_batch(calls, PARSED), **{name: json.dumps([answer] * PARSED).encode() for name, answer in single.items()}}
    bodies["claude-code"] = "\n".join(transcript_lines(PARSED * LINES_OF_A_CALL)).encode()
    for file in FILES:
        if file.path.suffix == ".jsonl" and file.harness != "claude-code":
            # Each time under other ids: repeats of a call are put together.
            texts = (file.path.read_text().replace(file.ids[0], f"{file.ids[0]}{number}") for number in range(PARSED // len(file.ids)))
            bodies[file.harness] = "\n".join(texts).encode()
    native_batch = calls.batch(PARSED)
    bench.note("parse native us", cost_us(lambda: len(native.parse(native_batch, limit=PARSED).events)))
    for name, read in telemetry.parsed(calls).items():
        bench.note(f"parse {name} us", cost_us(read))
    for name, body in bodies.items():
        parse = lambda name=name, body=body: len(records.parse(body, name=name, labels={}, received_at=now).events)  # noqa: E731
        bench.note(f"parse {name} us", cost_us(parse))


def cost_us(parse: Callable[[], int]) -> float:
    before = time.process_time()
    events = parse()
    return (time.process_time() - before) * 1_000_000 / events


def transcript_lines(count: int) -> Iterator[str]:
    """A transcript of so many lines, written in the last day, with text of the length that such lines have."""
    begun = datetime.now(UTC) - timedelta(hours=20)
    stamp = uuid4().hex[:12]
    shared = {"isSidechain": False, "userType": "external", "cwd": "/home/dev/project", "sessionId": str(uuid4()), "version": "2.1.329", "gitBranch": "main"}
    text = "The quick brown fox jumps over the lazy dog. " * 9
    for call in range(count // LINES_OF_A_CALL):
        at = (begun + timedelta(milliseconds=250 * call)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        base = {**shared, "timestamp": at, "uuid": f"{stamp}-{call}"}
        yield json.dumps({**base, "type": "user", "promptId": f"p-{call // 10}", "message": {"role": "user", "content": text}})
        usage = {**MESSAGE["usage"], "input_tokens": call % 3000, "output_tokens": 50 + call % 900}
        for content in ({"type": "text", "text": text}, {"type": "tool_use", "id": f"toolu_{call}", "name": "Bash", "input": {"command": "ls"}}):
            message = {"id": f"msg_{stamp}{call:08}", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": [content], "usage": usage}
            yield json.dumps({**base, "type": "assistant", "requestId": f"req_{stamp}{call:08}", "message": message})
        yield json.dumps({**base, "type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "content": text}]}})


def transcript(bench: "Bench") -> None:
    """Calls a second from a transcript into the tables by `manage.py collect`, and the most memory that it took."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "transcript.jsonl"
        with path.open("w") as file:
            file.writelines(f"{line}\n" for line in transcript_lines(LINES))
        begun = time.monotonic()
        run = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "collect", "claude-code", str(path), "--again"],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds = time.monotonic() - begun
        megabytes = path.stat().st_size / 1_000_000
    print(run.stdout.strip(), flush=True)
    bench.note("transcript MB", megabytes)
    bench.note("transcript lines/s", LINES / seconds)
    bench.note("transcript events/s", LINES / LINES_OF_A_CALL / seconds)
    bench.note("transcript peak MB", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
