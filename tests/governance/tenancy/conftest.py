"""One person of every role, and one thing of every kind to look at."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from governance.approvals.models import ApprovalRequest, Delegation
from governance.approvals.services import request_create
from governance.attribution.services import rule_create
from governance.budgets.models import Budget, Freeze
from governance.notices.models import Delivery, Endpoint, Notice, Signal
from governance.notices.sealing import sealed
from governance.notices.signing import new_secret
from governance.notices.tokens import link_make
from governance.pricing.book import current_book
from governance.pricing.models import PriceRun
from governance.pricing.own_names import name_mapping_add
from governance.pricing.services import model_add
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member, Organization, Role, ServiceAccount, Team
from ingest.importing.services import import_create
from ingest.models import GuardFinding, GuardRule, GuardTrial, RejectedInput, ReratingRun
from ingest.quarantine.services import rule_create as mending_create
from ingest.services import events_store
from tests.conftest import key_of, person
from tests.governance.approvals.conftest import FROZEN_SESSION, budget_of, frozen_session_period
from tests.governance.billing.billed_things import billed_things
from tests.ingest.test_store import event


@dataclass(frozen=True)
class Things:
    """What the named parts of addresses stand for."""

    slug: str
    key: str
    budget_id: int
    request_id: object
    team_id: int
    member_id: int
    key_id: int
    rejected_id: int
    account_id: int
    rule_id: int
    trial_id: int
    finding_id: int
    token: str
    endpoint_id: int
    delivery_id: int
    notice_id: int
    provider: str
    model: str
    plan_id: int
    fleet_id: int
    freeze_id: int
    delegation_id: int
    team_slug: str
    run_id: int
    month: str
    reading_id: int
    mapping_id: int
    import_id: int
    attribution_id: int
    attribution_run_id: int
    mending_id: int
    call_id: str
    client: str = "claude-code"

    @property
    def parts(self) -> dict[str, str]:
        return {name: str(value) for name, value in vars(self).items()}


@pytest.fixture
def people(organization: Organization, team: Team) -> dict[str, Member]:
    """By role; the engineer and the approver are in team platform."""
    return {role: person(organization, email=f"{role}@acme.example", role=role, team=team if role in (Role.ENGINEER, Role.APPROVER) else None) for role in Role}


@pytest.fixture
def things(organization: Organization, people: dict[str, Member], team: Team) -> Things:
    """A budget of the team, a frozen session of the engineer, its request, a key, and an input that was refused."""
    engineer = people[Role.ENGINEER]
    budget: Budget = budget_of(organization, name="Platform session", scope_kind="session", period_kind="session", team=team)
    period = frozen_session_period(engineer, budget)
    request: ApprovalRequest = request_create(actor=member_actor(engineer), period_id=period.pk, amount=Decimal(50), reason="Two thirds are done.")
    rejected = RejectedInput.objects.create(organization=organization, received_at=timezone.now(), door="events", kind="rejected", code="invalid", reason="no time", payload=b"{}")
    account = ServiceAccount.objects.create(organization=organization, name="collector")
    now = timezone.now()
    rule = GuardRule.objects.create(organization=organization, kind="repeat", name="Loops", action="ask")
    trial = GuardTrial.objects.create(organization=organization, kind="repeat", starts_at=now, ends_at=now)
    evidence = {"calls": 12, "of_calls": 12, "since": now.isoformat(), "model": "claude-sonnet-4-5", "amount": "6", "context_tokens": 50_000, "output_tokens": 500}
    finding = GuardFinding.objects.create(
        organization=organization, rule=rule, rule_version=1, session_key=FROZEN_SESSION, number=1, team_id=team.pk, member_id=engineer.pk, at=now, found_at=now,
        evidence=evidence, action="ask", state="told",
    )  # fmt: skip
    endpoint = Endpoint.objects.create(
        organization=organization, channel="webhook", name="Collector", kinds=["freeze.started"], address=sealed("https://hooks.example/in"),
        shown_address="https://hooks.example/in", secret=sealed(new_secret()),
    )  # fmt: skip
    signal = Signal.objects.create(organization=organization, kind="freeze.started", facts={})
    delivery = Delivery.objects.create(organization=organization, endpoint=endpoint, signal=signal, state="dead", next_attempt_at=timezone.now())
    notice = Notice.objects.create(
        organization=organization, recipient="x@acme.example", subject="Frozen", body="", key="k", state="dead", next_attempt_at=timezone.now()
    )
    delegation = Delegation.objects.create(organization=organization, delegator=people[Role.APPROVER], delegate=people[Role.ADMIN], starts_at=now, ends_at=now + timedelta(days=1))
    token = link_make(organization=organization, request_id=request.pk, member=None).rpartition("/")[2]
    billed = billed_things(engineer)
    model = model_add(actor=None, provider="acme-gpu", slug="own/model")
    current_book(refresh=True)
    reading = PriceRun.objects.create(source="litellm", state="done", started_at=now, finished_at=now)
    run = ReratingRun.objects.create(
        organization=organization, reason="list corrected", starts_at=now - timedelta(days=1), ends_at=now, maker_label="x", created_at=now
    )
    attribution = rule_create(
        actor=system_actor(organization), name="Codex", conditions=[{"field": "harness", "op": "is", "values": ["codex"]}], team=team
    )
    history = ReratingRun.objects.create(
        organization=organization, kind="attribution", reason="rules", starts_at=now - timedelta(days=1), ends_at=now, maker_label="x", created_at=now
    )
    mapping = name_mapping_add(actor=system_actor(organization), name="prod-chat", model=model, valid_from=now)
    sent = event(1, session="", team=team.slug, member=engineer.user.email)
    called = events_store(actor=system_actor(organization), api_key=None, source="rest", events=[sent])[0].id
    table = f"time,model,input tokens\n{now.isoformat()},claude-sonnet-4-5,7\n".encode()
    imported = import_create(actor=system_actor(organization), file_name="october.csv", sent=[table])
    mending = mending_create(actor=system_actor(organization), action="drop", field="colour")
    return Things(
        organization.slug, FROZEN_SESSION, budget.pk, request.pk, team.pk, engineer.pk, key_of(organization, name="old").row.pk, rejected.pk, account.pk,
        rule.pk, trial.pk, finding.pk,
        token, endpoint.pk, delivery.pk, notice.pk, "acme-gpu", model.slug, billed.plan.pk, billed.fleet.pk, Freeze.objects.get(session_key=FROZEN_SESSION).pk, delegation.pk, team.slug,
        run.pk, "2026-01", reading.pk, mapping.pk, imported.pk, attribution.pk, history.pk, mending.pk, called,
    )  # fmt: skip
