"""The clock of recurring work: it keeps nothing that being killed could break."""

from pathlib import Path

import pytest
from celery.beat import Service

from governance.conf.addresses import Address
from governance.conf.celery import app, begin
from governance.conf.installation import Installation


def test_beat_asks_for_every_task_and_keeps_no_file(tmp_path: Path) -> None:
    beat = app.Beat(schedule=str(tmp_path / "schedule"))
    scheduler = Service(app, scheduler_cls=beat.scheduler_cls, schedule_filename=beat.schedule).scheduler
    assert {name for name in scheduler.schedule if not name.startswith("celery.")} == set(app.conf.beat_schedule)
    scheduler.sync()
    scheduler.close()
    assert list(tmp_path.iterdir()) == []
    place = Installation(Address("127.0.0.1", 8000), tmp_path, is_demo=False, has_traffic=False)
    assert str(tmp_path) not in " ".join(place.beat().command)


def test_worker_that_begins_lets_what_somebody_waits_for_go_before_what_is_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, float] = {}
    monkeypatch.setattr(app, "send_task", lambda task, countdown=0.0: sent.update({task: countdown}))
    begin()
    at_once = [task for task, countdown in sent.items() if not countdown]
    assert at_once == ["governance.conf.tasks.heartbeat"]
    assert "ingest.tasks.partitions_ensure" in sent
