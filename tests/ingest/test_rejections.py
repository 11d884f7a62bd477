"""What was not counted is listed, bounded, and can be sent through again."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from django.utils import timezone

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member
from ingest import rejections
from ingest.models import RejectedInput, UsageEvent
from ingest.rejections import Misfit, misfits_keep, rejected_input_get, rejected_inputs, rejected_replay
from tests.conftest import KeyInHand

pytestmark = pytest.mark.django_db
REJECTED = RejectedInput.Kind.REJECTED


def payload(**changes: Any) -> bytes:
    return json.dumps({"id": "call-1", "occurred_at": timezone.now().isoformat(), "model": "gpt-5", "input_tokens": 3} | changes).encode()


def keep(api_key: KeyInHand, *payloads: bytes, **changes: Any) -> list[RejectedInput]:
    facts: dict[str, Any] = {"kind": REJECTED, "code": "invalid_field", "reason": "It was wrong."}
    misfits_keep(api_key=api_key.row, door="rest", misfits=[Misfit(**(facts | {"payload": one} | changes)) for one in payloads])
    return list(RejectedInput.objects.order_by("id"))


def test_a_list_shows_the_organizations_own_newest_first(api_key: KeyInHand, admin: Member, stranger: Member) -> None:
    first, second = keep(api_key, payload(), payload())
    assert list(rejected_inputs(member_actor(admin))) == [second, first]
    assert not rejected_inputs(member_actor(stranger)).exists()
    with pytest.raises(NotFound):
        rejected_input_get(member_actor(stranger), first.pk)


def test_a_replay_counts_what_can_be_counted_by_now(api_key: KeyInHand, admin: Member) -> None:
    row = keep(api_key, payload())[0]
    outcomes = rejected_replay(actor=member_actor(admin), rejected=row)
    row.refresh_from_db()
    assert [outcome.status for outcome in outcomes] == ["accepted"]
    assert (row.replay_outcome, row.replayed_at is not None) == ("accepted", True)
    stored = UsageEvent.objects.get()
    assert (stored.source, stored.api_key_id) == ("rest", api_key.row.pk)
    audit = AuditRecord.objects.get(action="rejected_input.replayed")
    assert audit.old == {"replayed_at": None, "replay_outcome": ""}
    assert audit.new is not None
    assert audit.new["replay_outcome"] == "accepted"


def test_a_replay_happens_once(api_key: KeyInHand, admin: Member) -> None:
    row = keep(api_key, payload())[0]
    rejected_replay(actor=member_actor(admin), rejected=row)
    with pytest.raises(Conflict):
        rejected_replay(actor=member_actor(admin), rejected=row)


def test_what_is_still_wrong_can_be_tried_again(api_key: KeyInHand, admin: Member) -> None:
    row = keep(api_key, payload(input_tokens=-1))[0]
    for _ in range(2):
        assert [outcome.field for outcome in rejected_replay(actor=member_actor(admin), rejected=row)] == ["input_tokens"]
    row.refresh_from_db()
    assert row.replay_outcome == "rejected"
    assert RejectedInput.objects.count() == 1


def test_a_body_that_cannot_be_read_stays_rejected(api_key: KeyInHand, admin: Member) -> None:
    row = keep(api_key, b'{"events": [', kind=RejectedInput.Kind.ENVELOPE)[0]
    assert rejected_replay(actor=member_actor(admin), rejected=row)[0].code == "broken_json"


def test_a_whole_batch_is_as_good_as_its_worst_event(api_key: KeyInHand, admin: Member) -> None:
    events = [json.loads(payload()), json.loads(payload(id="call-2", colour=7))]
    row = keep(api_key, json.dumps({"events": events}).encode(), kind=RejectedInput.Kind.ENVELOPE)[0]
    assert len(rejected_replay(actor=member_actor(admin), rejected=row)) == 2
    row.refresh_from_db()
    assert row.replay_outcome == "rejected"
    assert UsageEvent.objects.count() == 1


def test_only_whole_inputs_are_replayed(api_key: KeyInHand, admin: Member) -> None:
    odds: list[dict[str, Any]] = [{"tags": {str(n): "x" * 1000 for n in range(70)}}, {"prompt": "what somebody wrote"}, {"team": "x" * 300}]
    for number, odd in enumerate(odds):
        row = keep(api_key, payload(**odd))[number]
        assert (row.is_whole, len(bytes(row.payload)) <= 65_536, b"wrote" in bytes(row.payload)) == (False, True, False)
        with pytest.raises(Invalid, match="correct it"):
            rejected_replay(actor=member_actor(admin), rejected=row)


def test_a_corrected_input_is_counted_and_the_correction_recorded(api_key: KeyInHand, admin: Member) -> None:
    row = keep(api_key, payload(input_tokens=-1, prompt="what somebody wrote"))[0]
    with pytest.raises(Invalid, match="removed"):
        rejected_replay(actor=member_actor(admin), rejected=row, corrected=bytes(row.payload).decode())
    assert [one.status for one in rejected_replay(actor=member_actor(admin), rejected=row, corrected=payload().decode())] == ["accepted"]
    assert (UsageEvent.objects.get().input_tokens, UsageEvent.objects.get().source) == (3, "rest")
    audit = AuditRecord.objects.get(action="rejected_input.replayed")
    assert audit.new is not None
    assert json.loads(audit.new["corrected"])["input_tokens"] == 3
    with pytest.raises(Conflict):
        rejected_replay(actor=member_actor(admin), rejected=row, corrected=payload(id="another").decode())


def test_a_correction_with_a_nul_character_is_refused_and_can_be_corrected_again(api_key: KeyInHand, admin: Member) -> None:
    row = keep(api_key, payload(input_tokens=-1))[0]
    with pytest.raises(Invalid, match="NUL"):
        rejected_replay(actor=member_actor(admin), rejected=row, corrected=payload().decode() + "\x00")
    escaped = payload(team="plat\x00form").decode()
    assert "\\u0000" in escaped
    assert [one.code for one in rejected_replay(actor=member_actor(admin), rejected=row, corrected=escaped)] == ["control_character"]
    assert not UsageEvent.objects.exists()
    assert [one.status for one in rejected_replay(actor=member_actor(admin), rejected=row, corrected=payload().decode())] == ["accepted"]


@pytest.mark.parametrize("who", ["lead", "engineer"])
def test_only_who_manages_the_organization_replays(request: pytest.FixtureRequest, api_key: KeyInHand, who: str) -> None:
    row = keep(api_key, payload())[0]
    with pytest.raises(Forbidden):
        rejected_replay(actor=member_actor(request.getfixturevalue(who)), rejected=row)


def test_a_stranger_replays_nothing(api_key: KeyInHand, stranger: Member) -> None:
    row = keep(api_key, payload())[0]
    with pytest.raises(NotFound):
        rejected_replay(actor=member_actor(stranger), rejected=row)
    assert not UsageEvent.objects.exists()


def test_beyond_the_hours_share_inputs_are_only_counted(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MOST_AN_HOUR", 3)
    keep(api_key, *[payload()] * 5)
    keep(api_key, *[payload()] * 4)
    assert RejectedInput.objects.filter(code="invalid_field").count() == 3
    summary = RejectedInput.objects.get(code="not_kept")
    assert msgspec.json.decode(bytes(summary.payload)) == {"count": 6}
    assert summary.reason.startswith("6 more were refused")


def test_one_request_cannot_fill_the_hour(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MOST_AT_ONCE", 2)
    keep(api_key, *[payload()] * 5)
    keep(api_key, payload())
    assert RejectedInput.objects.filter(code="invalid_field").count() == 3


def test_an_hour_later_there_is_room_again(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MOST_AN_HOUR", 2)
    keep(api_key, payload(), payload())
    RejectedInput.objects.update(received_at=timezone.now() - timedelta(hours=1, seconds=1))
    assert len(keep(api_key, payload())) == 3


def test_the_newest_are_kept(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MOST_KEPT", 3)
    keep(api_key, *[payload(id=f"call-{number}") for number in range(3)])
    rows = keep(api_key, payload(id="call-9"))
    assert [json.loads(bytes(row.payload))["id"] for row in rows] == ["call-1", "call-2", "call-9"]


def test_what_is_kept_takes_no_more_room_than_is_set_aside(api_key: KeyInHand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejections, "MOST_BYTES", 3 * len(payload(id="call-0")))
    rows = keep(api_key, *[payload(id=f"call-{number}") for number in range(5)])
    assert [json.loads(bytes(row.payload))["id"] for row in rows] == ["call-2", "call-3", "call-4"]


def test_others_are_not_touched_by_one_organizations_rubbish(api_key: KeyInHand, stranger: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = RejectedInput.objects.create(
        organization=stranger.organization,
        kind=REJECTED,
        door="rest",
        code="x",
        reason="x",
        payload=b"",
        received_at=timezone.now() - timedelta(days=9),
    )
    monkeypatch.setattr(rejections, "MOST_KEPT", 1)
    keep(api_key, payload(), payload())
    assert RejectedInput.objects.filter(pk=theirs.pk).exists()
    assert RejectedInput.objects.count() == 2
