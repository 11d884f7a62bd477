"""`manage.py reprice`: a run from its plan to its end, and what cannot be."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Team
from ingest.models import UsageEvent
from ingest.rerating.models import ReratingRun
from ingest.rerating.services import run_create
from tests.ingest.few_prices import few_prices
from tests.ingest.rerating.prices_changed import price_of_sonnet
from tests.ingest.test_store import COST, event, store

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]


def said(*arguments: object) -> str:
    out = StringIO()
    call_command("reprice", *map(str, arguments), stdout=out)
    return out.getvalue()


def planned(member: Member, *more: str) -> str:
    days = ("--from", str(timezone.now().date() - timedelta(days=2)), "--to", str(timezone.now().date() + timedelta(days=1)))
    return said("plan", member.organization.slug, *days, "--reason", "the list was wrong", *more)


def test_run_is_planned_applied_and_listed(admin: Member, team: Team) -> None:
    store(admin, event(1), event(2, team=""))
    price_of_sonnet(input_amount="6", output_amount="30")
    words = planned(admin, "--team", team.slug, "--model", "claude-sonnet-4-5")
    run = ReratingRun.objects.get()
    assert f"Run {run.pk} would change 1 of 1 calls by +0.0045 USD" in words
    assert f"{team.name}: 1 calls" in words
    assert set(UsageEvent.objects.values_list("cost", flat=True)) == {COST}
    assert "done, 1 of 1 calls seen, 1 changed, +0.0045 USD" in said("apply", run.pk, "--here")
    assert UsageEvent.objects.get(external_id="call-1").cost == 2 * COST
    assert "the list was wrong (Weighhouse)" in said("list", admin.organization.slug)
    assert "done" in said("watch", run.pk)


def test_run_is_paused_resumed_and_cancelled(admin: Member) -> None:
    store(admin, event(1))
    price_of_sonnet(input_amount="6", output_amount="30")
    planned(admin)
    run = ReratingRun.objects.get()
    said("apply", run.pk)
    assert "paused" in said("pause", run.pk)
    assert "running" in said("resume", run.pk)
    assert "cancelled" in said("cancel", run.pk)
    with pytest.raises(CommandError, match="cancelled"):
        said("apply", run.pk)
    assert UsageEvent.objects.get().cost == COST


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("apply", "987654"), "no run"), (("list", "nowhere"), "no organization"), (("plan", "acme", "--from", "monday", "--to", "2026-01-01", "--reason", "x"), "no day"),
        (("resume",), "required"), ((), "required"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(arguments: tuple[str, ...], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        said(*arguments)


def test_plan_refuses_a_team_that_is_not_there(admin: Member) -> None:
    with pytest.raises(CommandError, match="no team nobody"):
        planned(admin, "--team", "nobody")


def test_only_a_paused_run_is_resumed(admin: Member) -> None:
    now = timezone.now()
    run = run_create(actor=member_actor(admin), reason="why", starts_at=now - timedelta(days=1), ends_at=now)
    with pytest.raises(CommandError, match="not paused"):
        said("resume", run.pk)
