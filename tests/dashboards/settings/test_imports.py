"""The pages of imports: a file is sent, looked at, imported, and undone; too large and broken ones are told plainly."""

from datetime import timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from governance.conf import uploads
from governance.tenancy.models import Member
from ingest.importing import working
from ingest.importing.models import ImportRun
from ingest.models import UsageEvent
from tests.ingest.few_prices import few_prices

__all__ = ["few_prices"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("few_prices")]
LIST = "/o/acme/settings/imports"


@pytest.fixture
def signed_in(client: Client, admin: Member) -> Client:
    client.force_login(admin.user)
    return client


def file(body: str, name: str = "october.csv") -> dict[str, SimpleUploadedFile]:
    return {"file": SimpleUploadedFile(name, body.encode())}


def table() -> str:
    then = (timezone.now() - timedelta(hours=1)).isoformat()
    return f"moment,model,input tokens,user\n{then},claude-sonnet-4-5,1000,anna\n{then},claude-sonnet-4-5,x,anna\n"


def test_a_file_is_sent_looked_at_imported_and_undone(signed_in: Client) -> None:
    sent = signed_in.post(LIST, file(table()))
    run = ImportRun.objects.get()
    page = f"{LIST}/{run.pk}"
    assert sent["Location"] == page
    waiting = signed_in.get(page).content.decode()
    assert "No column says when a call was" in waiting
    form = {"encoding": "utf-8", "delimiter": ",", "time_zone": "UTC", "date_order": "ymd", "decimal": ".", "all-team": "platform"}
    columns = {"column-0": "occurred_at", "column-1": "model", "column-2": "input_tokens", "column-3": "member"}
    assert signed_in.post(page, {**form, **columns, "action": "look"}).status_code == 302
    looked = signed_in.get(page).content.decode()
    assert "$0.003" in looked
    assert "whole number is expected" in looked.lower() or "number with a decimal point" in looked
    assert signed_in.post(page, {**form, **columns, "action": "start"}).status_code == 302
    assert "about" in signed_in.get(page).content.decode()
    working.import_run_work(run.pk)
    done = signed_in.get(page).content.decode()
    assert "Undo" in done
    assert (UsageEvent.objects.get().member_label, UsageEvent.objects.get().team_label) == ("anna", "platform")
    lines = signed_in.get(f"{page}?format=csv").content.decode().splitlines()
    assert len(lines) == 2
    assert signed_in.post(page, {"action": "undo"}).status_code == 302
    working.import_run_work(run.pk)
    assert not UsageEvent.objects.exists()
    assert "undone" in signed_in.get(page).content.decode()


def test_the_next_file_of_these_columns_needs_no_mapping(signed_in: Client) -> None:
    test_a_file_is_sent_looked_at_imported_and_undone(signed_in)
    signed_in.post(LIST, file(table()))
    assert "would be counted" in signed_in.get(f"{LIST}/{ImportRun.objects.latest('pk').pk}").content.decode()


def test_a_file_that_is_too_large_is_told_so_and_not_kept(signed_in: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 1_000)
    answer = signed_in.post(LIST, file("time,model\n" + "x" * 200_000))
    assert answer.status_code == 422
    assert "Compress it with gzip" in answer.content.decode()
    assert not ImportRun.objects.exists()


@pytest.mark.parametrize("body", ["", "\n\n", "PK\x03\x04workbook"])
def test_what_is_no_table_is_refused_on_the_page(signed_in: Client, body: str) -> None:
    answer = signed_in.post(LIST, file(body))
    assert (answer.status_code, ImportRun.objects.count()) == (422, 0)


def test_a_step_that_cannot_be_taken_is_told(signed_in: Client) -> None:
    signed_in.post(LIST, file(table()))
    page = f"{LIST}/{ImportRun.objects.get().pk}"
    assert signed_in.post(page, {"action": "undo"}).status_code == 409
    assert signed_in.post(page, {"action": "start"}).status_code == 409
    assert signed_in.post(page, {"action": "cancel"}).status_code == 302
