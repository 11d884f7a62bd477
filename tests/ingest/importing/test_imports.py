"""A file becomes events once, through every interruption, and undoing it takes back exactly those."""

import gzip
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.budgets.models import BudgetPeriod, Session
from governance.budgets.services import budget_create
from governance.errors import Conflict, DomainError, Forbidden, Invalid, NotFound
from governance.tenancy.access import member_actor, system_actor
from governance.tenancy.models import Member
from governance.tenancy.months import month_close
from ingest.formats.event import UsageEvent as Event
from ingest.importing import files, services, working
from ingest.importing.mapping import Meaning
from ingest.importing.models import ImportPart, ImportPiece, ImportRefusal, ImportRun
from ingest.importing.selectors import import_get, import_preview, imported_before, imports_visible
from ingest.models import UsageEvent, UsageRollup
from ingest.services import events_store
from ingest.verify import differences
from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
State = ImportRun.State


def at(hours: int = 1) -> str:
    return (timezone.now() - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:00:00Z")


def table(number: int, *, first: int = 0, broken: Callable[[int], bool] = lambda index: False) -> bytes:
    rows = (
        f"{at()},claude-sonnet-4-5,{'x' if broken(index) else 1000},100,call-{index},s-{index % 3},platform"
        for index in range(first, first + number)
    )
    return "\n".join(("time,model,input tokens,output tokens,id,session,team", *rows)).encode()


def upload(member: Member, body: bytes, name: str = "usage.csv") -> ImportRun:
    return services.import_create(
        actor=member_actor(member), file_name=name, sent=[body[start : start + 1000] for start in range(0, len(body), 1000)]
    )


def work(run: ImportRun, **changes: Any) -> ImportRun:
    while working.import_run_work(run.pk, **changes):
        pass
    run.refresh_from_db()
    assert differences(run.organization) == []
    return run


def started(member: Member, body: bytes, **changes: Any) -> ImportRun:
    run = upload(member, body)
    services.import_start(actor=member_actor(member), run=run)
    return work(run, **changes)


def test_a_file_is_counted_once_however_often_it_comes(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="All", scope_kind="organization", period_kind="month", limit_amount=Decimal(10))
    run = started(admin, table(25), chunk=10)
    assert (run.state, run.rows_seen, run.rows_accepted, run.rows_duplicate, run.rows_rejected) == (State.DONE, 25, 25, 0, 0)
    assert UsageEvent.objects.count() == 25
    spent = BudgetPeriod.objects.get().spent
    assert spent == sum(UsageEvent.objects.values_list("cost", flat=True)) > 0
    again = started(admin, table(26), chunk=7)
    assert (again.rows_accepted, again.rows_duplicate) == (1, 25)
    assert imported_before(upload(admin, table(25))) == run
    assert not ImportPiece.objects.filter(run__in=(run, again)).exists()


def test_a_preview_shows_cost_and_faults_and_stores_nothing(admin: Member) -> None:
    run = upload(admin, table(5, broken=lambda index: index == 2))
    rows = import_preview(member_actor(admin), run).rows
    assert [row.status for row in rows] == ["accepted", "accepted", "rejected", "accepted", "accepted"]
    assert (rows[0].cost, rows[0].currency, rows[0].is_priced) == (Decimal("0.0045"), "USD", True)
    assert "(x)" in rows[2].reason
    assert not UsageEvent.objects.exists()
    assert not Session.objects.exists()
    assert import_preview(member_actor(admin), run).rows == rows


def test_gzip_is_unpacked_and_broken_gzip_is_told(admin: Member) -> None:
    assert started(admin, gzip.compress(table(3))).rows_accepted == 3
    with pytest.raises(DomainError, match=r"damaged|cut short"):
        upload(admin, gzip.compress(table(300))[:-20])
    assert ImportRun.objects.count() == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"  \n ", b"PK\x03\x04rest of a workbook", b"\n\n\n", b'"' + b"a" * 200_000, b"h" * 150_000 + b",b\n1,2\n", b"x" * 1_100_000],
)
def test_what_is_no_table_is_refused_and_not_kept(admin: Member, body: bytes) -> None:
    with pytest.raises(Invalid):
        upload(admin, body)
    assert not ImportPiece.objects.exists()


def test_files_are_bounded(admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_UNPACKED", 10_000)
    with pytest.raises(Invalid, match="Unpacked"):
        upload(admin, gzip.compress(b"time,model\n" + b"a" * 100_000))
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    with pytest.raises(Invalid, match="as it is sent"):
        upload(admin, table(10))
    monkeypatch.undo()
    for _ in range(files.MOST_OPEN):
        upload(admin, table(1))
    with pytest.raises(Conflict):
        upload(admin, table(1))


def test_a_worker_that_dies_doubles_nothing_and_loses_nothing(admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows have no ids, so that what makes them one call is the file's own."""
    row = f"{at()},claude-sonnet-4-5,1000\n"
    run = upload(admin, ("time,model,input tokens\n" + row * 30).encode())
    services.import_start(actor=member_actor(admin), run=run)

    def dies(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        assert working.import_run_work(run.pk, seconds=0, chunk=4)
        with monkeypatch.context() as patch:
            patch.setattr(working, "_pause_where_much_is_refused", dies)
            with pytest.raises(KeyboardInterrupt):
                working.import_run_work(run.pk, chunk=4)
    assert run.pk in working.runs_stalled(timezone.now() + timedelta(minutes=1))
    run = work(run, chunk=4)
    assert (run.rows_seen, run.rows_accepted, UsageEvent.objects.count()) == (30, 30, 30)


def test_a_cell_beyond_all_numbers_or_days_is_refused_and_the_others_count(admin: Member) -> None:
    odd = (f"{at()},claude-sonnet-4-5,7e1000000,a", f"{at()},claude-sonnet-4-5,1e999999999,b", "9999-12-31,claude-sonnet-4-5,5,c")
    run = upload(
        admin, "\n".join(("time,model,input tokens,id", *odd, *(f"{at()},claude-sonnet-4-5,5,{name}" for name in "defg"))).encode()
    )
    meaning = msgspec.structs.replace(services.meaning_of(run), time_zone="Etc/GMT+12")
    services.import_map(actor=member_actor(admin), run=run, meaning=meaning)
    assert [row.status for row in import_preview(member_actor(admin), run).rows] == ["rejected"] * 3 + ["accepted"] * 4
    services.import_start(actor=member_actor(admin), run=run)
    run = work(run)
    assert (run.state, run.rows_accepted, run.rows_rejected) == (State.DONE, 4, 3)


def test_what_nobody_foresaw_pauses_it_and_says_so_and_it_can_go_on(admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*args: object, **kwargs: object) -> None:
        raise LookupError("odd")

    run = upload(admin, table(10))
    services.import_start(actor=member_actor(admin), run=run)
    with monkeypatch.context() as patch:
        patch.setattr(working, "_pause_where_much_is_refused", breaks)
        assert not working.import_run_work(run.pk, chunk=4)
    run.refresh_from_db()
    assert (run.state, run.rows_seen, UsageEvent.objects.count()) == (State.PAUSED, 0, 0)
    assert "rows 1 to 4" in run.why_paused
    assert run.pk not in working.runs_stalled(timezone.now() + timedelta(minutes=1))
    services.import_start(actor=member_actor(admin), run=run)
    assert work(run).rows_accepted == 10


def test_many_refused_rows_pause_it_and_it_goes_on_when_told(admin: Member) -> None:
    run = started(admin, table(100, broken=lambda index: index % 2 == 0), chunk=40)
    assert (run.state, run.rows_seen, run.rows_rejected) == (State.PAUSED, 40, 20)
    assert "row 1 because" in run.why_paused
    services.import_start(actor=member_actor(admin), run=run)
    run = work(run, chunk=40)
    assert (run.state, run.rows_accepted, run.rows_rejected) == (State.DONE, 50, 50)
    refusal = ImportRefusal.objects.order_by("row")[0]
    assert (refusal.row, refusal.line, refusal.field, refusal.value) == (1, 2, "input_tokens", "x")


def test_a_small_file_most_of_whose_rows_cannot_be_read_pauses_before_any_is_counted(admin: Member) -> None:
    actor = member_actor(admin)
    run = started(admin, table(5, broken=lambda index: index > 0))
    assert (run.state, run.rows_seen, UsageEvent.objects.count()) == (State.PAUSED, 0, 0)
    assert "4 of the first 5 rows" in run.why_paused
    assert not upload(admin, table(5)).is_remembered
    services.import_map(actor=actor, run=run, changes={"constants": {"harness": "codex"}})
    services.import_start(actor=actor, run=run)
    assert work(run).state == State.PAUSED
    services.import_start(actor=actor, run=run)
    run = work(run)
    assert (run.state, run.rows_accepted, run.rows_rejected) == (State.DONE, 1, 4)
    assert upload(admin, table(5)).is_remembered


def test_undoing_takes_back_exactly_what_it_stored_and_it_counts_anew(admin: Member) -> None:
    budget_create(actor=member_actor(admin), name="All", scope_kind="organization", period_kind="month", limit_amount=Decimal(10))
    other = Event(occurred_at=timezone.now(), model="claude-sonnet-4-5", id="else", session="s-1", input_tokens=5)
    events_store(actor=system_actor(admin.organization), api_key=None, source="rest", events=[other])
    before = (BudgetPeriod.objects.get().spent, Session.objects.get().cost)
    earlier = started(admin, table(5))
    run = started(admin, table(20), chunk=6)
    services.import_undo(actor=member_actor(admin), run=run)
    run = work(run)
    assert (run.state, run.events_removed, run.events_posted) == (State.UNDONE, 15, 0)
    assert UsageEvent.objects.count() == 6
    services.import_undo(actor=member_actor(admin), run=earlier)
    work(earlier)
    assert (BudgetPeriod.objects.get().spent, Session.objects.get().cost) == before
    assert AuditRecord.objects.filter(action="import.undone").count() == 2
    assert started(admin, table(20)).rows_accepted == 20


def test_undoing_goes_on_after_its_worker_died(admin: Member) -> None:
    run = started(admin, table(20), chunk=5)
    services.import_undo(actor=member_actor(admin), run=run)
    assert working.import_run_work(run.pk, seconds=0)
    assert (UsageEvent.objects.count(), ImportPart.objects.filter(is_undone=True).count()) == (15, 1)
    assert work(run).events_removed == 20
    assert not UsageEvent.objects.exists()


def test_undoing_in_a_closed_month_takes_the_money_back_in_the_open_one(admin: Member) -> None:
    then = timezone.localtime(timezone.now(), admin.organization.zone).replace(day=1, hour=12) - timedelta(days=10)
    row = f"{then.isoformat()},claude-sonnet-4-5,1000,old"
    run = started(admin, f"time,model,input tokens,id\n{row}\n".encode())
    month_close(actor=member_actor(admin), month=then.date().replace(day=1), reason="reported")
    services.import_undo(actor=member_actor(admin), run=run)
    run = work(run)
    assert (run.events_removed, run.events_posted) == (0, 1)
    assert run.cost_undone == Decimal("0.003")
    assert UsageEvent.objects.count() == 1
    assert sum(UsageRollup.objects.values_list("cost", flat=True)) == 0
    assert started(admin, f"time,model,input tokens,id\n{row}\n".encode()).rows_duplicate == 1


def test_a_total_is_priced_like_the_calls_it_is_of(admin: Member) -> None:
    """Sonnet costs twice as much above 200,000 tokens of input: a day's calls together are no such call."""
    body = f"usage_date_utc,model_version,usage_input_tokens_no_cache,usage_output_tokens\n{at()[:10]},claude-sonnet-4-5,1000000,1000\n".encode()
    run = started(admin, body)
    assert (run.rows_accepted, run.events_accepted) == (1, 10)
    assert sum(UsageEvent.objects.values_list("cost", flat=True)) == Decimal("3.015")
    grown = started(admin, body.replace(b"1000000", b"1700000"))
    assert (grown.rows_accepted, grown.rows_rejected, UsageEvent.objects.count()) == (0, 1, 10)


def test_the_mapping_is_remembered_for_files_of_the_same_columns(admin: Member, stranger: Member) -> None:
    body = f"wann,was,wieviel\n{at()},claude-sonnet-4-5,7\n".encode()
    run = upload(admin, body)
    with pytest.raises(Invalid):
        services.import_start(actor=member_actor(admin), run=run)
    meaning = Meaning({"wann": "occurred_at", "was": "model", "wieviel": "input_tokens"}, {"team": "platform"})
    services.import_map(actor=member_actor(admin), run=run, meaning=meaning)
    services.import_start(actor=member_actor(admin), run=run)
    assert work(run).rows_accepted == 1
    assert UsageEvent.objects.get().team_label == "platform"
    next_run = upload(admin, body.replace(b",7", b",8"))
    assert (next_run.is_remembered, services.meaning_of(next_run)) == (True, meaning)
    assert not upload(stranger, body).is_remembered


def test_an_encoding_that_was_taken_wrongly_can_be_set(admin: Member) -> None:
    run = upload(admin, f"time,model,user\n{at()},claude-sonnet-4-5,J\xf6rg\n".encode("cp1252"))
    assert run.encoding == "cp1252"
    services.import_map(actor=member_actor(admin), run=run, encoding="utf-8")
    run.refresh_from_db()
    assert "\ufffd" in str(import_preview(member_actor(admin), run).rows[0].event)
    with pytest.raises(Invalid):
        services.import_map(actor=member_actor(admin), run=run, encoding="ebcdic")


def test_steps_are_refused_where_they_cannot_be_taken(admin: Member) -> None:
    run = upload(admin, table(3))
    actor = member_actor(admin)
    for step in (services.import_undo, services.import_pause):
        with pytest.raises(Conflict):
            step(actor=actor, run=run)
    services.import_cancel(actor=actor, run=run)
    assert not ImportPiece.objects.exists()
    for again in (services.import_start, services.import_undo, services.import_pause):
        with pytest.raises(Conflict):
            again(actor=actor, run=run)


def test_only_who_manages_the_organization_imports(admin: Member, lead: Member, engineer: Member, stranger: Member) -> None:
    run = upload(admin, table(1))
    for member in (lead, engineer):
        with pytest.raises(Forbidden):
            upload(member, table(1))
        with pytest.raises(Forbidden):
            imports_visible(member_actor(member))
    with pytest.raises(NotFound):
        import_get(member_actor(stranger), run.pk)
    with pytest.raises(NotFound):
        services.import_start(actor=member_actor(stranger), run=run)


def test_files_that_nobody_goes_on_with_are_forgotten(admin: Member) -> None:
    run = upload(admin, table(1))
    assert working.files_forget(timezone.now()) == 0
    assert working.files_forget(timezone.now() + timedelta(days=8)) == 1
    run.refresh_from_db()
    assert (run.state, ImportPiece.objects.count()) == (State.CANCELLED, 0)
