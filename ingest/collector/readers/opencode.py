"""OpenCode's messages: rows of its database (opencode.db), `opencode export`, the files of versions before the database, `run --format json`.

Input excludes cached tokens and output excludes reasoning; versions that say no total wrote down what the AI SDK gave, whose output has
reasoning in it but for Google's models. One assistant message is one call; the `step-finish` part of a message and the sums on a session
are the same spend again. A printed `step_finish` says no model: it counts where its sender names one. Calls that OpenCode makes for titles
are stored nowhere and cannot be counted.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .buckets import Reported, disjoint
from .reading import Stateless
from .values import Fields, amount, folder, identifier, instant, known, listed, mapping, tags, text

NAME = "opencode"
HARNESS = "opencode"
MARKS = (b'"tokens"', b'"session"', b'"version"')


class Reader(Stateless):
    """Remembers each session's version and the session above it."""

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if record.get("table") == "session":
            self._session(record, parent=record.get("parent_id"))
        elif record.get("table") == "message":
            yield from self._message({**written(record.get("data")), "id": record.get("id"), "sessionID": record.get("session_id")})
        elif "table" not in record and isinstance(record.get("info"), dict):
            self._session(record["info"], parent=record["info"].get("parentID"))
            for message in listed(record.get("messages")) or [record]:
                yield from self._message(mapping(mapping(message).get("info")))
        elif record.get("type") == "step_finish":
            yield from printed(record)
        elif "table" not in record:
            yield from self._message(record)

    def _session(self, row: Mapping[str, Any], *, parent: object) -> None:
        if identifier(row.get("id")).startswith("ses_"):
            self.context.setdefault("sessions", {})[identifier(row["id"])] = [text(row.get("version"), 80), identifier(parent)]

    def _message(self, message: Mapping[str, Any]) -> Iterable[Fields]:
        """The call of an assistant's message, once it is over: until then its counts are 0."""
        time, error = mapping(message.get("time")), mapping(message.get("error"))
        if message.get("role") != "assistant" or not isinstance(message.get("tokens"), dict) or not (time.get("completed") or error):
            return
        session = identifier(message.get("sessionID"))
        version, parent = self.context.get("sessions", {}).get(session, ("", ""))
        buckets = tokens(message["tokens"], provider=text(message.get("providerID"), 80))
        is_failed = bool(error) and not any(buckets.values())
        created, completed = time.get("created"), time.get("completed")
        yield known(
            {
                "id": identifier(message.get("id")),
                "occurred_at": instant(completed or created),
                "harness": HARNESS,
                "harness_version": version,
                "provider": text(message.get("providerID"), 80),
                "model": text(message.get("modelID")),
                "session": session,
                "parent_session": parent,
                "trace": identifier(message.get("parentID")),
                "role": "subagent" if parent else "",
                "status": "error" if error else "ok",
                **({} if is_failed else buckets),
                "reported_cost": None if is_failed else amount(message.get("cost")),
                "tags": tags(
                    folder=folder(mapping(message.get("path")).get("cwd")), agent__name=message.get("agent") or message.get("mode")
                ),
            }
        )


def written(data: object) -> Mapping[str, Any]:
    """A column as it stands in the database, where JSON is text, or as it was read from there."""
    if not isinstance(data, str):
        return mapping(data)
    try:
        return mapping(json.loads(data))
    except (ValueError, RecursionError):
        return {}


def printed(record: Mapping[str, Any]) -> Iterable[Fields]:
    """The call whose end `opencode run --format json` prints, under the id of its message."""
    part = mapping(record.get("part"))
    if not isinstance(part.get("tokens"), dict):
        return
    provider = text(record.get("providerID") or part.get("providerID"), 80)
    yield known(
        {
            "id": identifier(part.get("messageID")),
            "occurred_at": instant(record.get("timestamp")),
            "harness": HARNESS,
            "provider": provider,
            "model": text(record.get("modelID") or part.get("modelID")),
            "session": identifier(record.get("sessionID") or part.get("sessionID")),
            **tokens(part["tokens"], provider=provider),
            "reported_cost": amount(part.get("cost")),
        }
    )


def tokens(usage: Mapping[str, Any], *, provider: str) -> Fields:
    """The disjoint buckets."""
    is_apart = usage.get("total") is not None or provider.startswith("google")
    cache = mapping(usage.get("cache"))
    reported = Reported(
        input=usage.get("input"),
        output=usage.get("output"),
        cache_read=cache.get("read"),
        cache_write=cache.get("write"),
        reasoning=usage.get("reasoning"),
        total=usage.get("total"),
    )
    return disjoint(reported, cache_in_input=False, reasoning_in_output=not is_apart)
