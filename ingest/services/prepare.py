"""Turns events into rows: labels resolved, priced, with their identity. Reads nothing but what it is given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from governance.attribution.rules import AttributionRules
from governance.pricing.book import Book
from governance.pricing.terms import Terms
from governance.pricing.usage import Rating, Usage
from governance.tenancy.directory import Attribution, Directory, attribute
from ingest.attributing.facts import KeyFacts, facts_of_event
from ingest.formats.event import UsageEvent
from ingest.formats.secrets import labels_redacted
from ingest.once.sources import source_of
from ingest.services.identity import body_hash, identity_key, other_keys

OLDEST = timedelta(days=400)
NEWEST = timedelta(days=1)
METERED = "metered"


@dataclass(frozen=True, slots=True)
class Claim:
    """One event by what makes it the same call as another, before anything else about it is known."""

    index: int
    event: UsageEvent
    key: UUID
    body_hash: UUID
    # What other sources may know the call by, besides the key.
    others: tuple[UUID, ...] = ()
    # Who reports it (ingest/once/sources.py).
    source: str = ""


def claim_of(index: int, event: UsageEvent, door: str, *, defaults: Mapping[str, str] | None = None, api_key_id: int | None = None) -> Claim:
    event, defaults = labels_redacted(event), defaults or {}
    key = identity_key(event, door, default_provider=defaults.get("provider", ""))
    source = source_of(door, gateway=event.gateway or defaults.get("gateway", ""), api_key_id=api_key_id)
    return Claim(index, event, key, body_hash(event, default_provider=defaults.get("provider", "")), other_keys(event, key), source)


@dataclass(slots=True)
class Prepared:
    """One event ready to be stored: what it said, whom it belongs to, what it costs."""

    index: int
    event: UsageEvent
    key: UUID
    body_hash: UUID
    who: Attribution
    team_label: str
    project_label: str
    member_label: str
    harness: str
    gateway: str
    role: str
    task_class: str
    environment: str
    billing_mode: str
    rating: Rating
    source: str = ""
    is_after_freeze: bool = False
    # When a call counts whose month was closed when it came.
    counted_at: datetime | None = None
    # The rules that said something of the call, and what it said itself.
    ruled: Mapping[str, Any] | None = None

    @property
    def at(self) -> datetime:
        """When the call counts."""
        return self.counted_at or self.event.occurred_at

    @property
    def is_notional(self) -> bool:
        return self.billing_mode != METERED

    @property
    def cost(self) -> Decimal | None:
        return self.rating.cost


@dataclass(frozen=True, slots=True)
class Preparer:
    """What preparing needs besides the event: names, rules, prices and the key's default labels, all of one version. `door` took the event in."""

    directory: Directory
    rules: AttributionRules
    door: str
    now: datetime
    book: Book
    terms: Terms
    key: KeyFacts
    attributions: dict[tuple[str, str, str], Attribution]

    def prepare(self, claim: Claim) -> Prepared:
        """The event's row. Labels come from the event, else from the key's defaults, else from rules; those that override come first."""
        prepared = self._by_labels(claim)
        return self._by_rules(prepared) if self.rules else prepared

    def _by_labels(self, claim: Claim) -> Prepared:
        event = claim.event
        defaults = (self.key.defaults or {}).get
        team = event.team or defaults("team", "")
        project = event.project or defaults("project", "")
        member = event.member or defaults("member", "")
        who = self._attribution(team, project, member)
        billing_mode = event.billing_mode or defaults("billing_mode", METERED)
        return Prepared(
            index=claim.index,
            event=event,
            key=claim.key,
            body_hash=claim.body_hash,
            who=who,
            team_label=team,
            project_label=project,
            member_label=member,
            harness=(event.harness or defaults("harness", "")).lower(),
            gateway=(event.gateway or defaults("gateway", "")).lower(),
            role=event.role or defaults("role", ""),
            task_class=event.task_class or defaults("task_class", ""),
            environment=event.environment or defaults("environment", ""),
            billing_mode=billing_mode,
            source=claim.source,
            counted_at=self.now if self.directory.is_closed(event.occurred_at) else None,
            rating=self._rate(event, who.team_id, billing_mode),
        )

    def _by_rules(self, row: Prepared) -> Prepared:
        """The row as the rules have it. It is rated again where they change what decides its price."""
        facts = facts_of_event(row.event, key=self.key, rating=row.rating, door=self.door)
        decision = self.rules.decide(facts)
        kept = decision.kept(facts)
        if kept is None:
            return row
        is_rated_so = (decision.who.team_id, decision.billing_mode) == (row.who.team_id, row.billing_mode)
        rating = row.rating if is_rated_so else self._rate(row.event, decision.who.team_id, decision.billing_mode)
        return replace(
            row, who=decision.who, role=decision.role, task_class=decision.task_class, environment=decision.environment, billing_mode=decision.billing_mode,
            rating=rating, ruled=kept,
        )

    def _rate(self, event: UsageEvent, team_id: int | None, billing_mode: str) -> Rating:
        usage = Usage(
            event.input_tokens, event.cache_read_tokens, event.cache_write_5m_tokens, event.cache_write_1h_tokens,
            event.output_tokens, event.reasoning_tokens, event.units,
        )
        # Tags such as `processing: batch` are what a special price asks for.
        return self.terms.rate(
            self.book, provider=event.provider or (self.key.defaults or {}).get("provider", ""), model=event.model, at=event.occurred_at, usage=usage,
            context=event.tags, team_id=team_id, is_metered=billing_mode == METERED,
        )

    def _attribution(self, team: str, project: str, member: str) -> Attribution:
        labels = (team, project, member)
        found = self.attributions.get(labels)
        if found is None:
            found = attribute(self.directory, team=team, project=project, member=member, key_member_id=self.key.member_id)
            self.attributions[labels] = found
        return found


def out_of_range(event: UsageEvent, now: datetime) -> str:
    """Why the event's instant cannot be taken, or an empty string."""
    if event.occurred_at < now - OLDEST:
        return f"The time lies more than {OLDEST.days} days back."
    if event.occurred_at > now + NEWEST:
        return "The time lies more than a day in the future."
    return ""


def unresolved_labels(rows: Sequence[Prepared]) -> dict[tuple[str, str], tuple[int, datetime, datetime]]:
    """The names that nothing here goes by: (kind, value) → (calls, first seen, last seen)."""
    found: dict[tuple[str, str], tuple[int, datetime, datetime]] = {}
    for row in rows:
        for kind, value in _unknown_names(row):
            at = row.event.occurred_at
            calls, first, last = found.get((kind, value), (0, at, at))
            found[kind, value] = (calls + 1, min(first, at), max(last, at))
    return found


def _unknown_names(row: Prepared) -> list[tuple[str, str]]:
    who = row.who
    return unknown_names(
        named={"team": row.team_label, "project": row.project_label, "member": row.member_label}, known=(who.team_id, who.project_id, who.member_id),
        model="" if row.rating.price_id is not None or row.rating.term_id is not None else row.event.model, harness=row.harness,
    )


def unknown_names(
    *, named: Mapping[str, str], known: tuple[int | None, int | None, int | None], model: str, harness: str
) -> list[tuple[str, str]]:
    """(kind, value) of the names that nothing here goes by. `named` are the owners' labels, `known` their ids; a `model` that has a price is empty."""
    names = [(kind, label) for (kind, label), owner in zip(named.items(), known, strict=True) if label and owner is None]
    if model:
        names.append(("model", model))
    if harness and harness not in KNOWN_HARNESSES:
        names.append(("harness", harness))
    return names


KNOWN_HARNESSES = frozenset({
    "claude-code", "codex", "gemini-cli", "qwen-code", "opencode", "openclaw", "omnigent", "mimo-code", "zcode", "crewai", "autogen",
    "langchain", "llamaindex", "semantic-kernel", "pydantic-ai", "copilot", "cursor",
})
