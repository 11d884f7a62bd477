"""Gemini CLI's chats (~/.gemini/tmp/*/chats/session-*.json[l]): one call for each answer that has tokens.

`tokens.input` includes cached tokens, `output` leaves thoughts out. What tools' results took of the prompt stands beside both.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from .buckets import Reported, disjoint
from .reading import Rewriting
from .values import Fields, count, identifier, instant, known, listed, mapping, tags, text

NAME = "gemini-cli"
HARNESS = "gemini-cli"
MARKS = (b'"tokens"', b'"sessionId"', b'"messages"')


class Reader(Rewriting):
    """Remembers the session. Older files are one document with a list of messages, newer ones have one message a line."""

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        if record.get("sessionId"):
            self.context["session"] = identifier(record["sessionId"])
            self.context["kind"] = text(record.get("kind"))
        # A rewritten list repeats messages that have lines of their own; by their ids they count once.
        for message in [record, *listed(mapping(record.get("$set")).get("messages")), *listed(record.get("messages"))]:
            if isinstance(message, dict) and message.get("type") == "gemini" and isinstance(message.get("tokens"), dict):
                yield from self.together(identifier(message.get("id")), self._call(message))

    def _call(self, message: Mapping[str, Any]) -> Fields:
        is_subagent = self.context.get("kind") not in ("", "main", None)
        return known(
            {
                "id": identifier(message.get("id")),
                "occurred_at": instant(message.get("timestamp")),
                "harness": HARNESS,
                "provider": "google",
                "model": text(message.get("model")),
                "session": self.context.get("session", ""),
                "role": "subagent" if is_subagent else "",
                **tokens(message["tokens"]),
                "tags": tags(kind=self.context["kind"]) if is_subagent else {},
            }
        )


def tokens(usage: Mapping[str, Any]) -> Fields:
    """The disjoint buckets: the tools' part of the prompt is input like any other."""
    tool, prompt = count(usage.get("tool")), count(usage.get("input"))
    reported = Reported(
        input=prompt + tool if isinstance(prompt, int) and isinstance(tool, int) else prompt,
        output=usage.get("output"),
        cache_read=usage.get("cached"),
        reasoning=usage.get("thoughts"),
        total=usage.get("total"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=False)
