"""Loading the demo: what is there already, what was broken off, and what was typed wrongly."""

import stat
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from governance.approvals.models import ApprovalRequest
from governance.budgets.models import Budget, BudgetPeriod, ThresholdCrossing
from governance.errors import Conflict
from governance.notices.models import Notice
from governance.periods import PeriodKind
from governance.tenancy.models import ApiKey, Organization
from ingest.demo import budgets, cast, loading
from ingest.demo.budgets import roomy, settled_window, tight
from ingest.demo.loading import demo_load
from ingest.demo.organization import PASSWORD_FILE
from ingest.demo.progress import Progress, demo_progress
from ingest.demo.simulation import Plan
from ingest.demo.stories import FROZEN_SESSION
from ingest.models import UsageEvent
from ingest.verify import differences

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC).replace(microsecond=0)
PLAN = Plan(3, 10, 400, NOW - timedelta(minutes=1))


def test_a_load_that_was_broken_off_is_completed_by_loading_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(loading, "BATCH", 50)
        store, calls = loading.store, Counter[str]()

        def store_thrice(*arguments: Any, **named: Any) -> Counter[str]:
            calls["all"] += 1
            if calls["all"] > 3:
                raise KeyboardInterrupt
            return store(*arguments, **named)

        patched.setattr(loading, "store", store_thrice)
        with pytest.raises(KeyboardInterrupt):
            demo_load(plan=PLAN, processes=1, folder=tmp_path)
    history = UsageEvent.objects.exclude(session=FROZEN_SESSION)
    stored = history.count()
    assert 0 < stored < PLAN.events
    organization = Organization.objects.get(slug=cast.SLUG)
    assert demo_progress(organization) == Progress(UsageEvent.objects.count(), PLAN.events)

    loaded = demo_load(plan=Plan(99, 1, 1, NOW - timedelta(days=2)), again=True, processes=1)

    assert loaded.plan == PLAN
    assert loaded.outcomes == {"accepted": PLAN.events - stored, "duplicate": stored}
    assert history.filter(external_id__startswith=PLAN.tag).count() == PLAN.events
    assert demo_progress(organization) is None
    assert differences(loaded.organization) == []
    assert Budget.objects.filter(organization=loaded.organization).count() == 15


def test_the_session_that_waits_for_a_decision_is_there_before_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "history_load", broken)
    with pytest.raises(KeyboardInterrupt):
        demo_load(plan=PLAN, processes=1)
    period = BudgetPeriod.objects.get(session_key=FROZEN_SESSION, frozen_at__isnull=False)
    assert 100 <= period.spent < 104
    assert ApprovalRequest.objects.get().session_key == FROZEN_SESSION


def test_budgets_are_there_before_the_days_that_they_are_not_measured_by(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(3, 60, 400, PLAN.until)
    monkeypatch.setattr(loading, "BATCH", 10)
    made, create = [], budgets.budgets_create

    def noted(**given: Any) -> None:
        made.append(UsageEvent.objects.exclude(session=FROZEN_SESSION).count())
        create(**given)

    monkeypatch.setattr(budgets, "budgets_create", noted)
    loaded = demo_load(plan=plan, processes=1)
    assert len(made) == 1
    assert 0 < made[0] < plan.events
    first = budgets.history_since(loaded.organization, plan.until)
    assert made[0] >= sum(quota for day, quota in zip(plan.calendar, plan.quotas, strict=True) if day.date >= first)


def test_loading_tells_of_no_session_of_the_past() -> None:
    loaded = demo_load(plan=PLAN, processes=1)
    held = BudgetPeriod.objects.get(session_key=FROZEN_SESSION, frozen_at__isnull=False)
    keys = Notice.objects.filter(organization=loaded.organization).values_list("key", flat=True)
    # Of the session that is held, its freeze tells that the limit was passed.
    assert {":".join(key.split(":")[:2]) for key in keys if not key.startswith("request:")} == {f"frozen:{held.pk}"}
    assert ThresholdCrossing.objects.filter(period=held).exists()
    assert Budget.objects.get(name="Any session").thresholds == [50, 80, 100]


def test_the_password_is_kept_where_only_its_owner_reads_it(tmp_path: Path) -> None:
    loaded = demo_load(plan=Plan(3, 1, 5, PLAN.until), processes=1, folder=tmp_path / "new")
    path = tmp_path / "new" / PASSWORD_FILE
    assert loaded.password_path == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert [line.split()[0].partition(".")[0] for line in lines] == ["ana", "tomasz", "jonas", "mira"]
    assert all(line.endswith(f" {loaded.password}") for line in lines)


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Conflict, match="cannot be written"):
        demo_load(plan=PLAN, processes=1, folder=tmp_path / "file" / "folder")
    assert not Organization.objects.filter(slug=cast.SLUG).exists()


@pytest.mark.parametrize("again", [False, True])
def test_a_real_organization_of_that_name_is_left_alone(again: bool) -> None:
    real = Organization.objects.create(slug=cast.SLUG, name="A real one", time_zone="UTC")
    with pytest.raises(Conflict, match="no demo"):
        demo_load(plan=PLAN, again=again, processes=1)
    assert not UsageEvent.objects.filter(organization=real).exists()


def test_a_revoked_key_does_not_keep_the_history_from_being_completed() -> None:
    demo_load(plan=Plan(3, 2, 20, PLAN.until), processes=1)
    ApiKey.objects.update(revoked_at=NOW)
    assert demo_load(plan=PLAN, again=True, processes=1).outcomes == {"duplicate": 20}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--events", "0"], "--events from 1"),
        (["--events", "-5"], "--events from 1"),
        (["--events", "99999999999"], "--events from 1 to 20000000"),
        (["--days", "0"], "--days from 1 to 390"),
        (["--days", "391"], "--days from 1 to 390"),
        (["--processes", "0"], "--processes from 1"),
        (["--events", "many"], "invalid int"),
        (["--until", "2999-01-01"], "future"),
        (["--until", "2020-01-01"], "older than 400 days"),
        (["--until", "0001-01-01T00:00+14:00"], "no instant"),
        (["--until", "yesterday"], "no instant"),
        (["--frobnicate"], "unrecognized"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_a_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("demo", "load", *arguments)
    assert not Organization.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "run `manage.py demo load` first"),
        (["--rate", "0"], "--rate from 0.01"),
        (["--rate", "nan"], "--rate from 0.01"),
        (["--url", "nonsense"], "no address"),
        (["--url", "ftp://example.com"], "no address"),
    ],
)
def test_traffic_that_cannot_begin_is_refused_in_a_sentence(arguments: list[str], sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("demo", "traffic", *arguments)


@pytest.mark.parametrize(
    ("until", "kind", "first"),
    [
        (datetime(2026, 11, 21, 15, tzinfo=UTC), "month", "2026-11-01"),
        (datetime(2026, 11, 2, 15, tzinfo=UTC), "quarter", "2026-10-01"),
        (datetime(2026, 10, 2, 15, tzinfo=UTC), "year", "2026-01-01"),
        (datetime(2026, 1, 2, 15, tzinfo=UTC), "lifetime", "0001-01-01"),
    ],
)
def test_a_team_is_near_the_limit_of_a_window_that_is_some_days_old(until: datetime, kind: PeriodKind, first: str) -> None:
    organization = Organization(slug="x", name="X", time_zone="Europe/Berlin")
    found, day = settled_window(until, organization)
    assert (found, day.isoformat()) == (kind, first)


def test_limits_are_numbers_that_people_would_set() -> None:
    assert [roomy(Decimal(amount)) for amount in ("0", "100", "1000", "29000")] == [20, 120, 1100, 31500]
    assert [tight(Decimal(amount)) for amount in ("0", "30", "2833.43")] == [1, 31, 2870]
