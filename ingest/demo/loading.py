"""Loads the simulated organization: people, prices, the session that waits for a decision, then the history, with budgets as soon as can be."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from django.db.models import Max
from django.utils import timezone

from governance import sql
from governance.approvals.models import ApprovalRequest
from governance.approvals.services import request_create
from governance.audit.models import AuditRecord
from governance.audit.services import audit_record
from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.selectors import session_freeze_of
from governance.errors import Conflict
from governance.pricing.book import current_book
from governance.pricing.models import PriceRow
from governance.pricing.services import prices_load
from governance.tenancy import access
from governance.tenancy.access import Actor, system_actor
from governance.tenancy.models import ApiKey, ApiKeyUse, Organization
from ingest.demo import budgets, guard, quarantine, rules, seats, stories, terms, told_twice
from ingest.demo import organization as build
from ingest.demo.prices import SOURCE as DEMO_PRICES
from ingest.demo.prices import contract_prices
from ingest.demo.progress import COMPLETED, LOADED
from ingest.demo.shapes import Stream
from ingest.demo.simulation import DaySimulation, Plan
from ingest.demo.workers import Job, Work, spread
from ingest.formats.event import UsageEvent
from ingest.models import ArrivalHour, EventIdentity
from ingest.models import UsageEvent as StoredEvent
from ingest.partitions import months_ensure
from ingest.services import events_store

SOURCE = "demo"
# Harnesses report by OpenTelemetry.
SOURCES: dict[Stream, str] = {"telemetry": "otlp"}
BATCH = 8_000
# What the statements of the storing transaction look for in the tables they fill.
SOUGHT = {
    StoredEvent: "organization_id, occurred_at, id, session",
    EventIdentity: "organization_id, key, event_id",
    Session: "organization_id, key, parent_key",
    BudgetPeriod: "id, organization_id, budget_id, starts_at, session_key, task_key",
}
# Plans that are right for so many groups of days stay right for more.
MOST_TAKEN = 8
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did. `outcomes` counts the answers; `password` is set when the organization is new."""

    organization: Organization
    plan: Plan
    outcomes: Counter[str]
    seconds: float
    password: str = ""
    password_path: Path | None = None


def silent(line: str) -> None:
    """Says nothing."""


def demo_load(*, plan: Plan, again: bool = False, processes: int = 2, folder: Path | None = None, say: Say = silent) -> Loaded:
    """Makes the organization and its history. Raises Conflict when it is there and `again` was not asked for.

    Loading again repeats the plan of the first load, whatever plan is given now: its events are known and count once.
    """
    started = timezone.now()
    organization = build.organization_find()
    if organization is not None and not again:
        raise Conflict(f"The organization {organization.slug} is there already; --again loads what is missing of it.")
    password, path = "", None
    if organization is None:
        password = build.password_new()
        # First, because nobody could sign in to an organization whose password was not kept.
        path = build.password_keep(folder, password) if folder is not None else None
        organization = build.organization_build(password)
        say(f"{organization.name}: people, teams and keys are in place.")
    actor = system_actor(organization)
    plan = plan_of(actor, plan)
    rules.attribution_rules_create(actor=actor)
    if not PriceRow.objects.exclude(source=DEMO_PRICES).exists():
        say("Loading the price book.")
        prices_load()
    # Well before the first event, so that the window never begins without a price.
    begins = plan.calendar[0].starts_at - timedelta(days=365)
    contract_prices(begins=begins, rises=plan.price_rise_at)
    terms.yuan_prices(begins=begins)
    terms.terms_create(actor=actor, plan=plan)
    # First what people come to see decided, then the days that budgets are measured by.
    budgets.session_budgets_create(actor=actor)
    seats.seats_create(actor=actor, begins=plan.calendar[0].date)
    months_ensure(today=plan.until.date(), months_back=plan.days // 28 + 1)
    session_hold(actor, plan, say=say)
    statistics_take()
    outcomes = history_load(organization, plan, processes=processes, say=say)
    budgets.session_thresholds_set(actor=actor)
    quarantine.quarantine_load(actor=actor, plan=plan, key=build.keys_of(organization)["nightly"])
    guard.rules_create(actor=actor)
    say(f"The runaway guard looked back: {guard.look_back(actor=actor, until=plan.until)} findings.")
    uses_note(organization)
    completed_note(actor, plan)
    return Loaded(organization, plan, outcomes, (timezone.now() - started).total_seconds(), password, path)


def plan_of(actor: Actor, plan: Plan) -> Plan:
    """The plan that this organization was first loaded by, noted in its record when this is the first time."""
    record = AuditRecord.objects.filter(organization=actor.organization, action=LOADED).order_by("pk").first()
    if record is None or record.new is None:
        facts = {"seed": plan.seed, "days": plan.days, "events": plan.events, "until": plan.until}
        audit_record(actor=actor, action=LOADED, target=("organization", actor.organization.pk), new=facts)
        return plan
    kept = record.new
    return Plan(kept["seed"], kept["days"], kept["events"], datetime.fromisoformat(kept["until"]).astimezone(UTC))


def completed_note(actor: Actor, plan: Plan) -> None:
    """Notes once that the history is whole, so that pages stop saying it is not."""
    if not AuditRecord.objects.filter(organization=actor.organization, action=COMPLETED).exists():
        audit_record(actor=actor, action=COMPLETED, target=("organization", actor.organization.pk), new={"events": plan.events})


def uses_note(organization: Organization) -> None:
    """Notes when each key was used last: what came with it did not come by its door."""
    came = ArrivalHour.objects.filter(organization=organization, api_key_id__gt=0).values_list("api_key_id").annotate(at=Max("last_at"))
    uses = [ApiKeyUse(organization=organization, api_key_id=key_id, last_used_at=at) for key_id, at in came]
    ApiKeyUse.objects.bulk_create(uses, update_conflicts=True, unique_fields=["api_key"], update_fields=["last_used_at"])


def history_load(organization: Organization, plan: Plan, *, processes: int, say: Say) -> Counter[str]:
    """Stores every event of the plan, groups of days at a time, and counts the answers.

    The latest days come first, because pages open on them; when those are in that budgets are measured by, budgets are made.
    """
    groups = day_groups(plan)[::-1]
    since = budgets.history_since(organization, plan.until)
    recent = [group for group in groups if plan.calendar[group[-1]].date >= since]
    outcomes: Counter[str] = Counter()
    with workers(processes, organization) as work:
        for number, found in enumerate(in_two(work, [(plan, group) for group in groups], len(recent)), 1):
            outcomes += found
            if number <= MOST_TAKEN and number.bit_count() == 1:
                statistics_take()
            if number == len(recent):
                budgets.budgets_create(actor=system_actor(organization), until=plan.until)
                say("Budgets are in place: the organization, every team, every session, the nightly job, and a pool.")
            if number % max(len(groups) // 8, 1) == 0 or number == len(groups):
                say(f"{outcomes.total():>9,} of {plan.events:,} events")
    return outcomes


def statistics_take() -> None:
    """Tells the planner how large the tables have become; autovacuum would come a minute later, and plans made for empty tables be kept till then."""
    sql.execute(f"ANALYZE {', '.join(f'{model._meta.db_table} ({columns})' for model, columns in SOUGHT.items())}")


def in_two(work: Work, jobs: list[Job], first: int) -> Iterator[Counter[str]]:
    """The counts of the first so many jobs, and only when all of those are done and taken the counts of the others."""
    yield from work(jobs[:first])
    yield from work(jobs[first:])


def day_groups(plan: Plan) -> list[list[int]]:
    """The plan's days in runs that come to about two batches each."""
    groups: list[list[int]] = [[]]
    size = 0
    for day in plan.calendar:
        if size > 0 and size + plan.quotas[day.index] > 2 * BATCH:
            groups.append([])
            size = 0
        groups[-1].append(day.index)
        size += plan.quotas[day.index]
    return groups


def workers(processes: int, organization: Organization) -> AbstractContextManager[Work]:
    """A context that gives a function from jobs to their counts: in this process, or spread over several."""
    if processes <= 1:
        loader = Loader(organization.pk)
        return nullcontext(lambda jobs: map(loader.run, jobs))
    return spread(organization.pk, processes)


class Loader:
    """Simulates days and stores them, by the key of the door each event came in by."""

    def __init__(self, organization_id: int) -> None:
        self.organization = Organization.objects.get(pk=organization_id)
        self.actor = system_actor(self.organization)
        self.keys = build.keys_of(self.organization)

    def run(self, job: tuple[Plan, list[int]]) -> Counter[str]:
        plan, days = job
        waiting: dict[Stream, list[UsageEvent]] = {stream: [] for stream in self.keys}
        told_again: list[UsageEvent] = []
        outcomes: Counter[str] = Counter()
        for index in days:
            found = DaySimulation(plan, plan.calendar[index]).events()
            if is_twice := index >= plan.days - told_twice.DAYS:
                told_again += told_twice.gateway_reports(
                    told_twice.harness_report(event) for stream, event in found if stream == "telemetry"
                )
            for stream, event in found:
                waiting[stream].append(told_twice.harness_report(event) if is_twice and stream == "telemetry" else event)
        for stream, events in waiting.items():
            for first in range(0, len(events), BATCH):
                outcomes += store(self.actor, self.keys[stream], events[first : first + BATCH], source=SOURCES.get(stream, SOURCE))
        # Further reports are no further calls of the plan.
        for first in range(0, len(told_again), BATCH):
            store(self.actor, self.keys["gateway"], told_again[first : first + BATCH], source=told_twice.GATEWAY)
        return outcomes


def store(actor: Actor, key: ApiKey, events: list[UsageEvent], *, source: str = SOURCE) -> Counter[str]:
    """The storing transaction; the answers by status."""
    answers = events_store(actor=actor, api_key=key, source=source, events=events)
    return Counter(answer.status for answer in answers)


def session_hold(actor: Actor, plan: Plan, *, say: Say) -> None:
    """Mira's session up to the call that freezes it; then she asks for more."""
    key = build.keys_of(actor.organization)["telemetry"]
    engineer = build.engineer_find(actor.organization)
    if engineer is None:
        say("Mira is no longer there: nobody's session freezes.")
        return
    mira = access.member_actor(engineer)
    if ApprovalRequest.objects.filter(organization=actor.organization, requester=mira.member).exists():
        return
    store(actor, key, stories.frozen_session(plan.until, plan.tag, calls=calls_to_the_limit(plan)), source=SOURCES["telemetry"])
    freeze = session_freeze_of(actor, stories.FROZEN_SESSION)
    if freeze is None:
        say("The session's limit was raised: it did not freeze.")
        return
    request_create(
        actor=mira,
        period_id=freeze.period_id,
        amount=Decimal(stories.REQUEST_AMOUNT),
        reason=stories.REQUEST_REASON,
        session_key=stories.FROZEN_SESSION,
    )
    say(f"Session {stories.FROZEN_SESSION} is frozen at its limit; Mira has asked for {stories.REQUEST_AMOUNT} USD more.")


def calls_to_the_limit(plan: Plan) -> int:
    """How many calls of Mira's session its limit pays for at the book's prices, the one that passes it included."""
    book = current_book(refresh=True)
    spent = Decimal(0)
    for number, event in enumerate(stories.frozen_session(plan.until, plan.tag), 1):
        rating = book.rate(provider=event.provider, model=event.model, at=event.occurred_at, usage=stories.usage_of(event))
        spent += rating.cost or 0
        if spent >= budgets.SESSION_LIMIT:
            return number
    return stories.FROZEN_CALLS
