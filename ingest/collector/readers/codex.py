"""Codex rollouts (~/.codex/sessions/**/rollout-*.jsonl): one call for each `token_usage_record`, by its `response_id`.

Input includes cached tokens, output includes reasoning. The same spend stands on a `token_count` line again and, summed, as turn and
thread usage; those are not read. Files of versions without records have `token_count` lines only: there each growth of the thread's
total is a call. A turn that failed has neither and is no call that anyone billed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from .buckets import Reported, disjoint
from .reading import Stateless
from .values import Fields, count, folder, identifier, instant, known, mapping, tags, text

NAME = "codex"
HARNESS = "codex"
MARKS = (b'"session_meta"', b'"turn_context"', b'"token_usage_record"', b'"token_count"', b'"thread_settings_applied"')


class Reader(Stateless):
    """Remembers the session, its model and provider, and whether its calls have records of their own."""

    def read(self, record: Mapping[str, Any]) -> Iterable[Fields]:
        payload = mapping(record.get("payload"))
        kind = record.get("type")
        if kind == "session_meta":
            self._begin(payload)
        elif kind == "turn_context":
            self._turn(payload.get("model"), payload.get("turn_id"), payload.get("effort"))
        elif kind == "token_usage_record":
            self.context["recorded"] = True
            return [self._recorded(record, payload)]
        elif kind == "event_msg":
            return self._event(record, payload)
        return ()

    def _begin(self, meta: Mapping[str, Any]) -> None:
        """A file begins with its own session; a fork goes on with those it was made from, which change nothing."""
        if "session" in self.context:
            return
        source = mapping(mapping(mapping(meta.get("source")).get("subagent")).get("thread_spawn"))
        git = mapping(meta.get("git"))
        self.context |= {
            "session": identifier(meta.get("id")),
            "root": identifier(meta.get("forked_from_id")) or identifier(meta.get("id")),
            "parent": identifier(source.get("parent_thread_id")) or identifier(meta.get("parent_thread_id")),
            "version": text(meta.get("cli_version"), 80),
            "provider": text(meta.get("model_provider"), 80),
            "tags": tags(
                folder=folder(meta.get("cwd")),
                originator=meta.get("originator"),
                git__branch=git.get("branch"),
                git__repository=repository(git.get("repository_url")),
                agent__name=source.get("agent_nickname") or source.get("agent_role"),
            ),
        }

    def _turn(self, model: object, turn: object, effort: object) -> None:
        self.context["model"] = text(model) or self.context.get("model", "")
        self.context["turn"] = identifier(turn)
        self.context["effort"] = text(effort)

    def _event(self, record: Mapping[str, Any], payload: Mapping[str, Any]) -> Iterable[Fields]:
        kind = payload.get("type")
        if kind == "thread_settings_applied":
            settings = mapping(payload.get("thread_settings"))
            self.context["model"] = text(settings.get("model")) or self.context.get("model", "")
            self.context["provider"] = text(settings.get("model_provider_id"), 80) or self.context.get("provider", "")
        if kind != "token_count" or self.context.get("recorded") or "session" not in self.context:
            return
        info = mapping(payload.get("info"))
        usage, so_far = mapping(info.get("last_token_usage")), count(mapping(info.get("total_token_usage")).get("total_tokens"))
        if usage and isinstance(so_far, int) and so_far > self.context.get("total", 0):
            self.context["total"] = so_far
            yield known({**self._shared(record, usage), "id": f"{self.context['root']}:{so_far}", "trace": self.context.get("turn", "")})

    def _recorded(self, record: Mapping[str, Any], payload: Mapping[str, Any]) -> Fields:
        session = identifier(payload.get("thread_id")) or self.context.get("session", "")
        above = identifier(payload.get("session_id"))
        return known(
            {
                **self._shared(record, mapping(payload.get("usage"))),
                "request_id": identifier(payload.get("response_id")),
                "session": session,
                "parent_session": self.context.get("parent") or (above if above != session else ""),
                "trace": identifier(payload.get("turn_id")),
            }
        )

    def _shared(self, record: Mapping[str, Any], usage: Mapping[str, Any]) -> Fields:
        parent = self.context.get("parent", "")
        return {
            "occurred_at": instant(record.get("timestamp")),
            "harness": HARNESS,
            "harness_version": self.context.get("version", ""),
            "provider": self.context.get("provider", ""),
            # Rollouts from before September 2025 name no model; their tokens are spent all the same.
            "model": self.context.get("model") or "unknown",
            "session": self.context.get("session", ""),
            "parent_session": parent,
            "role": "subagent" if parent else "",
            **tokens(usage),
            "tags": {**self.context.get("tags", {}), **tags(effort=self.context.get("effort"))},
        }


def tokens(usage: Mapping[str, Any]) -> Fields:
    """The disjoint buckets. A cache write has no lifetime here, which prices know as one of five minutes."""
    reported = Reported(
        input=usage.get("input_tokens"),
        output=usage.get("output_tokens"),
        cache_read=usage.get("cached_input_tokens"),
        cache_write=usage.get("cache_write_input_tokens"),
        reasoning=usage.get("reasoning_output_tokens"),
        total=usage.get("total_tokens"),
    )
    return disjoint(reported, cache_in_input=True, reasoning_in_output=True)


def repository(url: object) -> str:
    """owner/name of a git address, without the host, a user or a token in it."""
    parts = [part for part in str(url or "").removesuffix(".git").replace(":", "/").split("/") if part]
    return "/".join(parts[-2:]) if len(parts) >= 3 else ""
