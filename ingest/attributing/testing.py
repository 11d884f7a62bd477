"""Tries the present rules on one call: one that is stored, or one as the event door takes it."""

from typing import Any

import msgspec
from django.utils import timezone

from governance.attribution.explaining import Explained, explain
from governance.attribution.matching import Facts
from governance.attribution.rules import AttributionRules, attribution_rules_of
from governance.errors import Invalid
from governance.pricing.book import current_book
from governance.pricing.terms import terms_of
from governance.pricing.usage import Usage
from governance.tenancy.access import Actor, Right, require
from governance.tenancy.directory import directory_now
from governance.tenancy.models import ApiKey
from ingest.attributing.facts import KeyFacts, facts_of_event, facts_of_row
from ingest.formats.event import UsageEvent
from ingest.models import UsageEvent as Stored

LONGEST = 64 * 1024


def rules_now(actor: Actor) -> AttributionRules:
    """The organization's rules as they are at this moment."""
    require(actor, Right.MANAGE_ORGANIZATION)
    return attribution_rules_of(directory_now(actor.organization))


def stored_explained(actor: Actor, row: Stored) -> tuple[Facts, Explained]:
    """A stored call by the present rules."""
    rules = rules_now(actor)
    key = ApiKey.objects.filter(organization=actor.organization, pk=row.api_key_id or 0).first()
    facts = facts_of_row(row, key=KeyFacts() if key is None else KeyFacts(key.name, key.member_id))
    return facts, explain(facts, rules)


def event_read(text: str | bytes) -> UsageEvent:
    """An event as the door takes it; its id and its time may be left out. Raises Invalid."""
    if len(text) > LONGEST:
        raise Invalid(f"An event has at most {LONGEST:,} bytes.", field="event")
    try:
        given: Any = msgspec.json.decode(text)
        if not isinstance(given, dict):
            raise Invalid('An event is an object such as {"model": "claude-sonnet-4-5", "harness": "codex"}.', field="event")
        whole = {"occurred_at": timezone.now(), "model": "unknown", **given}
        return msgspec.json.decode(msgspec.json.encode(whole), type=UsageEvent)
    except msgspec.ValidationError as error:
        raise Invalid(f"{error}.", field="event") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid("This is no JSON.", field="event") from error


def event_explained(actor: Actor, event: UsageEvent, *, key: ApiKey | None = None, door: str = "rest") -> tuple[Facts, Explained]:
    """An event that came with this key by the present rules; nothing is stored."""
    rules = rules_now(actor)
    known = KeyFacts() if key is None else KeyFacts(key.name, key.member_id, key.defaults)
    named = terms_of(rules.directory).rate(
        current_book(), provider=event.provider or (known.defaults or {}).get("provider", ""), model=event.model, at=event.occurred_at, usage=Usage(), context=event.tags,
        team_id=None, is_metered=True,
    )  # fmt: skip
    facts = facts_of_event(event, key=known, rating=named, door=door)
    return facts, explain(facts, rules)
