"""The collector on files that grow, are cut, replaced and forked: every call is handed on, and counted once."""

import json
import os
import re
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from ingest.collector import files, places
from ingest.collector.collecting import Collector
from ingest.collector.positions import Positions
from ingest.collector.readers.values import Fields
from ingest.collector.sending import Away
from tests.golden.harness_files import CLAUDE, FILES, Written, qwen_chat

TRANSCRIPT = next(file for file in FILES if file.path.name.startswith("9c0e28ed"))
LINES = TRANSCRIPT.path.read_bytes().splitlines(keepends=True)


class Sink:
    """Takes calls, unless it is away."""

    def __init__(self) -> None:
        self.calls: list[Fields] = []
        self.is_away = False

    def __call__(self, harness: str, calls: list[Fields]) -> None:
        if self.is_away:
            raise Away("nobody is there")
        self.calls += json.loads(json.dumps(calls))

    @property
    def ids(self) -> list[str]:
        return [call.get("request_id") or call["id"] for call in self.calls]

    def counted(self) -> dict[str, tuple[Any, ...]]:
        """The counts of each call, as a server that counts each id once would have them."""
        return {call.get("request_id") or call["id"]: tuple(call.get(name) for name in CLAUDE) for call in reversed(self.calls)}


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "collector.json"


def collector(sink: Sink, state: Path | None, **options: Any) -> Collector:
    return Collector(sink, Positions(state), **options)


def aged(path: Path) -> None:
    """As if nobody had written to it for an hour."""
    then = time.time() - 3600
    os.utime(path, (then, then))


def copied(file: Written, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file.path.name
    shutil.copy(file.path, path)
    aged(path)
    return path


def test_a_file_is_read_once_and_again_only_what_was_added(sink: Sink, state: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(LINES[:8]))
    for count in (8, 14, len(LINES), len(LINES)):
        path.write_bytes(b"".join(LINES[:count]))
        aged(path)
        collector(sink, state).round("claude-code", path)
    assert sink.ids == TRANSCRIPT.ids
    assert set(sink.counted().values()) == {tuple(CLAUDE.values())}


def test_the_last_call_waits_while_its_file_is_being_written(sink: Sink, state: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = next(index for index, line in enumerate(LINES) if b'"assistant"' in line)
    path.write_bytes(b"".join(LINES[: first + 1]))
    collector(sink, state).round("claude-code", path)
    assert sink.calls == []
    with path.open("ab") as file:
        file.write(LINES[first + 1])
    collector(sink, state).round("claude-code", path)
    assert sink.calls == []
    aged(path)
    collector(sink, state).round("claude-code", path)
    assert sink.ids == TRANSCRIPT.ids[:1]
    assert sink.calls[0]["latency_ms"] == 131


def test_all_but_the_last_call_of_a_file_that_was_just_written_go_at_once_and_the_round_says_what_waits(
    sink: Sink, state: Path, tmp_path: Path
) -> None:
    for name in ("9c0e28ed", "959ca271"):
        file = next(one for one in FILES if one.path.name.startswith(name))
        shutil.copyfile(file.path, tmp_path / file.path.name)
    for _ in range(2):
        done = collector(sink, state).round("claude-code", tmp_path)
        assert (len(sink.calls), done.waiting) == (4, 2)
    for path in tmp_path.glob("*.jsonl"):
        aged(path)
    done = collector(sink, state).round("claude-code", tmp_path)
    assert (done.calls, done.waiting, len(set(sink.ids)), len(sink.ids)) == (2, 0, 6, 6)
    assert set(sink.counted().values()) == {tuple(CLAUDE.values())}


def test_calls_of_agents_that_share_a_file_and_have_no_id_wait_for_each_others_lines(sink: Sink, tmp_path: Path) -> None:
    """As older versions wrote them: lines of several agents in turn, with the whole count in the last one of each."""
    told = [json.loads(line) for line in LINES if b'"assistant"' in line and b'"usage"' in line]

    def line(request: str, output: int) -> bytes:
        message = {**told[0]["message"], "id": f"msg_{request}", "usage": {**told[0]["message"]["usage"], "output_tokens": output}}
        return json.dumps({**told[0], "requestId": request, "isSidechain": True, "message": message}).encode() + b"\n"

    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(line(request, output) for output in (1, 90) for request in ("one", "two", "three")))
    assert collector(sink, None).round("claude-code", path) == (1, 0, 0, 3)
    aged(path)
    collector(sink, None).round("claude-code", path)
    assert [(call["request_id"], call["output_tokens"]) for call in sink.calls] == [("one", 90), ("two", 90), ("three", 90)]


@pytest.mark.parametrize("cut", [1, 40, 300, 900])
def test_a_line_that_is_half_written_is_read_when_it_is_whole(sink: Sink, state: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    body = b"".join(LINES)
    at = body.index(b"req_011Mock000010") - cut
    path.write_bytes(body[:at])
    collector(sink, state).round("claude-code", path)
    path.write_bytes(body)
    aged(path)
    collector(sink, state).round("claude-code", path)
    assert sorted(sink.counted()) == sorted(TRANSCRIPT.ids)


@pytest.mark.parametrize("length", [20, 200, 600])
def test_a_line_whose_writer_rests_in_the_middle_of_it_is_read_when_it_is_whole(
    sink: Sink, state: Path, tmp_path: Path, length: int
) -> None:
    path = tmp_path / "a.jsonl"
    whole = b"".join(LINES)
    for rest in (b"", LINES[-1][:length]):
        path.write_bytes(b"".join(LINES[:-1]) + rest)
        aged(path)
        assert collector(sink, state).round("claude-code", path).unread == 0
    path.write_bytes(whole.rstrip())
    aged(path)
    assert collector(sink, state, is_final=True).round("claude-code", path).unread == 0
    path.write_bytes(whole + whole.replace(b"req_011Mock", b"req_012Mock"))
    aged(path)
    collector(sink, state).round("claude-code", path)
    assert sorted(sink.counted()) == sorted(TRANSCRIPT.ids + [name.replace("req_011Mock", "req_012Mock") for name in TRANSCRIPT.ids])


def test_half_a_sign_in_a_label_or_id_costs_nothing(sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    odd = [{**json.loads(line), "gitBranch": "feat-\ud83d"} for line in LINES]
    path.write_text("".join(json.dumps(record) + "\n" for record in odd))
    collector(sink, None, is_final=True).round("claude-code", path)
    assert sink.ids == TRANSCRIPT.ids
    assert {call["tags"]["git.branch"] for call in sink.calls} == {"feat-"}


@pytest.mark.parametrize(
    "odd", [{"offset": "x"}, {"offset": -5}, {"offset": 5.5}, {"identity": 7}, {"context": 7}, {"context": None}, {"offset": True}]
)
def test_a_place_that_is_none_is_unknown(sink: Sink, state: Path, tmp_path: Path, odd: dict[str, Any]) -> None:
    path = copied(TRANSCRIPT, tmp_path / "p")
    collector(sink, state).round("claude-code", path)
    noted = json.loads(state.read_text())
    state.write_text(json.dumps({key: position | odd for key, position in noted.items()}))
    collector(sink, state).round("claude-code", path)
    assert sink.ids == TRANSCRIPT.ids * 2
    assert json.loads(state.read_text()) == noted


def test_a_file_that_was_cut_or_replaced_is_read_from_its_beginning(sink: Sink, state: Path, tmp_path: Path) -> None:
    path = copied(TRANSCRIPT, tmp_path / "p")
    collector(sink, state).round("claude-code", path)
    other = next(file for file in FILES if file.path.name.startswith("959ca271"))
    path.write_bytes(other.path.read_bytes())
    aged(path)
    collector(sink, state).round("claude-code", path)
    path.write_bytes(other.path.read_bytes() + b"".join(LINES))
    aged(path)
    collector(sink, state).round("claude-code", path)
    assert sorted(sink.counted()) == sorted(TRANSCRIPT.ids + other.ids)


def test_a_file_that_was_cut_and_has_grown_past_the_place_again_is_read_from_its_beginning(sink: Sink, state: Path, tmp_path: Path) -> None:
    path = copied(TRANSCRIPT, tmp_path / "p")
    collector(sink, state).round("claude-code", path)
    # As rotation by copying leaves it: the same file, which begins as it did.
    path.write_bytes(LINES[0] + b"".join(LINES).replace(b"req_011Mock", b"req_012Mock") * 2)
    aged(path)
    collector(sink, state).round("claude-code", path)
    assert sorted(sink.counted()) == sorted(TRANSCRIPT.ids + [name.replace("req_011", "req_012") for name in TRANSCRIPT.ids])


def test_what_could_not_be_sent_is_sent_when_the_server_is_back(sink: Sink, state: Path, tmp_path: Path) -> None:
    path = copied(TRANSCRIPT, tmp_path / "p")
    sink.is_away = True
    for _ in range(3):
        with pytest.raises(Away):
            collector(sink, state).round("claude-code", path)
    sink.is_away = False
    collector(sink, state).round("claude-code", path)
    assert sink.ids == TRANSCRIPT.ids


def test_a_lost_state_sends_again_and_loses_nothing(sink: Sink, state: Path, tmp_path: Path) -> None:
    copied(TRANSCRIPT, tmp_path / "p")
    collector(sink, state).round("claude-code", tmp_path / "p")
    state.write_text("{ not JSON")
    collector(sink, state).round("claude-code", tmp_path / "p")
    assert sink.ids == TRANSCRIPT.ids * 2


def test_a_poisoned_line_harms_no_other(sink: Sink, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    poison = [
        b'{"type": "assistant", "message": {"usage": 7}}\n',
        b'{"type": "assistant", broken\n',
        b'\xff\xfe"assistant"\n',
        b'["assistant"]\n',
        b'{"type": "assistant", "message": {"usage": {}, "model": "x"}}\n',
    ]
    path.write_bytes(b"".join(line for pair in zip(LINES, poison * 9, strict=False) for line in pair))
    done = collector(sink, None, is_final=True).round("claude-code", path)
    assert sink.ids == TRANSCRIPT.ids
    assert done.unread > 0


@pytest.mark.parametrize("number", [b"1e400", b"-1e400", b"Infinity", b"NaN"])
def test_a_number_that_json_does_not_have_costs_its_own_call_only(sink: Sink, tmp_path: Path, number: bytes) -> None:
    path = tmp_path / "a.jsonl"
    odd = TRANSCRIPT.ids[1].encode()
    path.write_bytes(
        b"".join(re.sub(rb'"input_tokens": ?[0-9]+', b'"input_tokens":' + number, line) if odd in line else line for line in LINES)
    )
    done = collector(sink, None, is_final=True).round("claude-code", path)
    assert sink.ids == [name for name in TRANSCRIPT.ids if name != odd.decode()]
    assert done.unread == 1


def test_a_line_too_long_to_hold_is_passed_over(sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 10_000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES[0] + b'{"assistant": "' + b"x" * 25_000 + b'"}\n' + b"".join(LINES[1:]))
    collector(sink, None, is_final=True).round("claude-code", path)
    assert sink.ids == TRANSCRIPT.ids


def test_forks_and_sub_agents_are_read_after_what_they_come_from(sink: Sink, tmp_path: Path) -> None:
    original = copied(TRANSCRIPT, tmp_path / "p")
    fork = tmp_path / "p" / "0-fork.jsonl"
    fork.write_bytes(original.read_bytes().replace(b"9c0e28ed-690f-416a-920d-23a083de80d3", b"11111111-690f-416a-920d-23a083de80d3"))
    collector(sink, None, is_final=True).round("claude-code", tmp_path / "p")
    assert sink.ids == TRANSCRIPT.ids * 2
    assert {call["session"] for call in sink.calls[:4]} == {"9c0e28ed-690f-416a-920d-23a083de80d3"}


def store(path: Path, harness: str) -> None:
    """The captured rows, in a database with the columns that they have."""
    rows = [json.loads(line) for line in next(file for file in FILES if file.harness == harness).path.read_text().splitlines()]
    with sqlite3.connect(path) as database:
        for table in dict.fromkeys(row["table"] for row in rows):
            mine = [{name: value for name, value in row.items() if name != "table"} for row in rows if row["table"] == table]
            database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(mine[0])})")
            for row in mine:
                values = [json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()]
                database.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", values)


@pytest.mark.parametrize(("harness", "name"), [("opencode", "opencode.db"), ("openclaw", "openclaw-agent.sqlite")])
def test_a_database_is_read_as_it_is_and_then_only_what_changed(sink: Sink, state: Path, tmp_path: Path, harness: str, name: str) -> None:
    path = tmp_path / name
    store(path, harness)
    before = path.read_bytes()
    ids = next(file for file in FILES if file.harness == harness).ids
    collector(sink, state).round(harness, path)
    assert sorted(sink.ids) == sorted(ids)
    for _ in range(3):
        collector(sink, state).round(harness, path)
    assert sorted(sink.counted()) == sorted(ids)
    assert len(sink.calls) <= 3
    assert path.read_bytes() == before


def test_a_message_that_is_still_being_answered_waits_for_its_end(sink: Sink, state: Path, tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    store(path, "opencode")
    with sqlite3.connect(path) as database:
        (data,) = database.execute("SELECT data FROM message WHERE id = 'msg_1fd9d0fe6001nPrj1euDdV4i3e'").fetchone()
        begun = {
            **json.loads(data),
            "time": {"created": 1795256291302},
            "tokens": {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}},
        }
        database.execute("UPDATE message SET data = ? WHERE id = 'msg_1fd9d0fe6001nPrj1euDdV4i3e'", [json.dumps(begun)])
    collector(sink, state).round("opencode", path)
    assert sink.ids == ["msg_1fd9d0b7d0019jumnj1r9vD9X1"]
    with sqlite3.connect(path) as database:
        database.execute("UPDATE message SET data = ?, time_updated = 1795256299999 WHERE id = 'msg_1fd9d0fe6001nPrj1euDdV4i3e'", [data])
    collector(sink, state).round("opencode", path)
    assert sink.ids == ["msg_1fd9d0b7d0019jumnj1r9vD9X1", "msg_1fd9d0fe6001nPrj1euDdV4i3e"]


def test_each_harness_is_found_where_it_keeps_its_files(sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "QWEN_HOME", "XDG_DATA_HOME", "OPENCLAW_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    here = {
        "claude-code": ".claude/projects/-home-dev-project",
        "codex": ".codex/sessions/2026/11/21",
        "gemini-cli": ".gemini/tmp/1afbf223/chats",
    }
    for harness, folder in here.items():
        copied(next(file for file in FILES if file.harness == harness), tmp_path / folder)
    chat = tmp_path / ".qwen/projects/-home-dev-project/chats/8dd3f850.jsonl"
    chat.parent.mkdir(parents=True)
    chat.write_text("\n".join(json.dumps(record) for record in qwen_chat()) + "\n")
    (tmp_path / ".local/share/opencode").mkdir(parents=True)
    store(tmp_path / ".local/share/opencode/opencode.db", "opencode")
    (tmp_path / ".openclaw/agents/main/agent").mkdir(parents=True)
    store(tmp_path / ".openclaw/agents/main/agent/openclaw-agent.sqlite", "openclaw")
    for harness in ("claude-code", "codex", "gemini-cli", "qwen-code", "opencode", "openclaw"):
        assert any(place.folder.is_dir() for place in places.places(harness))
        assert collector(sink, None, is_final=True).round(harness).calls > 0
