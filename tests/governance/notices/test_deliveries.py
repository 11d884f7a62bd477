"""Webhooks and Slack: signed, in order, at least once under the same id, and nobody's trouble is another's."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks import Webhook, WebhookVerificationError

from governance.audit.models import AuditRecord
from governance.errors import Conflict, Forbidden, Invalid, NotFound
from governance.notices import deliveries, endpoints, outgoing, parcels, tasks
from governance.notices.deliveries import ATTEMPTS, LEASE, Sent, deliveries_send
from governance.notices.models import Delivery, Endpoint, Notice, Signal
from governance.notices.parcels import delay_after
from governance.notices.signals import signal_add
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Team
from tests.governance.notices.conftest import Makes
from tests.governance.notices.hook_server import HookServer, taking

FROZEN = Signal.Kind.FREEZE_STARTED
THRESHOLD = Signal.Kind.THRESHOLD_PASSED


def happen(organization: Organization, number: int = 1, kind: Signal.Kind = FROZEN, team: Team | None = None, **facts: Any) -> None:
    for index in range(number):
        signal_add(organization=organization, kind=kind, facts={"number": index, **facts}, team_id=team.pk if team else None)


def numbers(hooks: HookServer) -> list[int]:
    return [json.loads(taken.body)["data"]["number"] for taken in hooks.taken]


def test_body_and_signature_hold_before_an_independent_implementation(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    made = channel()
    happen(organization, session="s1", spent=Decimal("1.50"), reason="Zürich ✓")

    assert deliveries_send() == Sent(taken=1)

    taken = hooks.taken[0]
    told = Webhook(made.secret).verify(taken.body, taken.headers)
    assert told["type"] == "freeze.started"
    assert told["organization"] == "acme"
    assert told["data"] == {"number": 0, "session": "s1", "spent": "1.5", "reason": "Zürich ✓"}
    assert taken.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(taken.body.replace(b"s1", b"s2"), taken.headers)
    assert Delivery.objects.get().state == "sent"


def test_after_rotation_both_secrets_verify_until_the_old_one_ends(organization: Organization, channel: Makes, hooks: HookServer, admin: Member) -> None:
    old = channel()
    new = endpoints.secret_rotate(actor=member_actor(admin), endpoint_id=old.endpoint.pk)
    happen(organization)
    deliveries_send()
    for secret in (old.secret, new.secret):
        Webhook(secret).verify(hooks.taken[0].body, hooks.taken[0].headers)

    with time_machine.travel(timezone.now() + endpoints.OVERLAP + timedelta(minutes=1)):
        happen(organization)
        deliveries_send()
        Webhook(new.secret).verify(hooks.taken[1].body, hooks.taken[1].headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(old.secret).verify(hooks.taken[1].body, hooks.taken[1].headers)


def test_secrets_and_slack_addresses_are_not_in_the_tables_nor_on_the_record(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    made = channel()
    slack = channel("slack", address=hooks.url + "/T0/B0/very-secret-part")

    kept = json.dumps([list(Endpoint.objects.values("address", "secret", "shown_address")), list(AuditRecord.objects.values("old", "new"))])

    assert made.secret not in kept
    assert made.secret.removeprefix("whsec_") not in kept
    assert "very-secret" not in kept
    assert slack.secret == ""


def test_channels_hear_the_kinds_and_teams_they_chose(organization: Organization, channel: Makes, team: Team) -> None:
    inner = Team.objects.create(organization=organization, slug="inner", name="Inner", parent=team)
    other = Team.objects.create(organization=organization, slug="other", name="Other")
    channel(name="everything")
    channel(name="thresholds", kinds=[THRESHOLD])
    channel(name="platform", team=team)
    for about in (team, inner, other, None):
        happen(organization, team=about)

    heard = {name: Delivery.objects.filter(endpoint__name=name).count() for name in ("everything", "thresholds", "platform")}
    assert heard == {"everything": 4, "thresholds": 0, "platform": 2}


def test_nothing_is_sent_of_what_was_taken_back_nor_to_others(organization: Organization, other_organization: Organization, channel: Makes) -> None:
    channel()
    with transaction.atomic():
        happen(organization)
        transaction.set_rollback(True)
    happen(other_organization)

    assert Delivery.objects.count() == 0


def test_line_is_sent_in_order_and_waits_for_an_endpoint_that_is_away(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    channel()
    happen(organization, 3)
    with time_machine.travel(timezone.now(), tick=False) as clock:
        Endpoint.objects.update(address=endpoints.sealing.sealed("http://127.0.0.1:9/in"))
        for _ in range(deliveries.ASIDE_AFTER + 2):
            assert deliveries_send() == Sent(failed=1)
            assert deliveries_send() == Sent()
            clock.shift(timedelta(hours=15))
        Endpoint.objects.update(address=endpoints.sealing.sealed(hooks.url))

        assert deliveries_send() == Sent(taken=3)

    assert numbers(hooks) == [0, 1, 2]
    assert Endpoint.objects.get().failing_since is None


def test_message_that_is_refused_again_and_again_steps_aside_for_those_behind_it(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    channel()
    happen(organization, 2)
    hooks.answers = [*[(500, {}, b"no")] * deliveries.ASIDE_AFTER, (204, {}, b"")]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(deliveries.ASIDE_AFTER - 1):
            assert deliveries_send() == Sent(failed=1)
            clock.shift(timedelta(hours=1))
        assert deliveries_send() == Sent(taken=1, failed=1)
        first, second = Delivery.objects.order_by("id")
        assert (first.state, first.is_aside, second.state) == ("waiting", True, "sent")
        clock.shift(timedelta(hours=15))
        assert deliveries_send() == Sent(taken=1)


def test_given_up_after_the_last_attempt_and_sent_again_under_the_same_id(
    organization: Organization, channel: Makes, hooks: HookServer, admin: Member, engineer: Member, stranger: Member
) -> None:
    channel()
    happen(organization)
    hooks.answers = [(400, {}, b"bad \x00 thing")]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(ATTEMPTS):
            assert deliveries_send() == Sent(failed=1)
            assert deliveries_send() == Sent()
            clock.move_to(Delivery.objects.get().next_attempt_at + timedelta(seconds=1))
        assert deliveries_send() == Sent()
        dead = Delivery.objects.get()
        assert (dead.state, dead.attempts, dead.last_status, dead.last_answer) == ("dead", ATTEMPTS, 400, "bad \ufffd thing")
        with pytest.raises(Forbidden):
            endpoints.delivery_retry(actor=member_actor(engineer), delivery_id=dead.pk)
        with pytest.raises(NotFound):
            endpoints.delivery_retry(actor=member_actor(stranger), delivery_id=dead.pk)

        hooks.answers = [(200, {}, b"")]
        endpoints.delivery_retry(actor=member_actor(admin), delivery_id=dead.pk)
        with pytest.raises(Conflict):
            endpoints.delivery_retry(actor=member_actor(admin), delivery_id=dead.pk)

        assert deliveries_send() == Sent(taken=1)
    assert len({taken.headers["webhook-id"] for taken in hooks.taken}) == 1
    assert AuditRecord.objects.filter(action="delivery.sent_again").count() == 1


def test_schedule_doubles_twice_up_to_twelve_hours_and_is_spread() -> None:
    middle = [delay_after(attempts, 0.5) for attempts in range(1, ATTEMPTS)]
    assert middle[:4] == [timedelta(seconds=5), timedelta(seconds=20), timedelta(seconds=80), timedelta(seconds=320)]
    assert all(later == min(4 * earlier, timedelta(hours=12)) for earlier, later in pairwise(middle))
    assert timedelta(days=1.5) < sum(middle, timedelta()) < timedelta(days=4)
    assert (delay_after(1, 0.0), delay_after(1, 1.0)) == (timedelta(seconds=4), timedelta(seconds=6))


@pytest.mark.parametrize(("asked", "least"), [("120", 120), ("9999999", 4), ("Fri, 31 Dec 1999 23:59:59 GMT", 4), ("-5", 4), ("86400", 3600)])
def test_retry_after_lengthens_the_wait_within_reason(organization: Organization, channel: Makes, hooks: HookServer, asked: str, least: int) -> None:
    channel()
    happen(organization)
    hooks.answers = [(429, {"Retry-After": asked}, b"")]
    before = timezone.now()
    deliveries_send()

    wait = (Delivery.objects.get().next_attempt_at - before).total_seconds()
    assert least <= wait <= max(least, 6) + 5


def test_gone_switches_off_at_once_tells_admins_and_keeps_what_waits(organization: Organization, channel: Makes, hooks: HookServer, admin: Member) -> None:
    made = channel()
    happen(organization, 3)
    hooks.answers = [(410, {}, b"")]

    assert deliveries_send() == Sent(failed=1)

    endpoint = Endpoint.objects.get()
    assert endpoint.off == "gone"
    assert set(Delivery.objects.values_list("state", flat=True)) == {"dead"}
    notice = Notice.objects.get(kind="channel.failing")
    assert (notice.recipient, notice.subject) == (admin.user.email, "Channel webhook channel was switched off")
    assert f"/settings/channels/{endpoint.pk}" in notice.body
    happen(organization)
    assert Delivery.objects.count() == 3
    hooks.answers = [(200, {}, b"")]
    with pytest.raises(Conflict, match="Switch it on first"):
        endpoints.deliveries_retry(actor=member_actor(admin), endpoint_id=made.endpoint.pk)
    endpoints.endpoint_switch(actor=member_actor(admin), endpoint_id=made.endpoint.pk, is_on=True)
    assert endpoints.deliveries_retry(actor=member_actor(admin), endpoint_id=made.endpoint.pk) == 3
    assert deliveries_send() == Sent(taken=3)


def test_days_of_failure_switch_off_and_one_success_starts_the_count_anew(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    channel()
    hooks.answers = [(500, {}, b"")]
    with time_machine.travel(timezone.now(), tick=False) as clock:
        for _ in range(11):
            happen(organization)
            for _ in range(6):
                deliveries_send()
                clock.shift(timedelta(hours=2))
        assert Endpoint.objects.get().off == "failing"
    assert Notice.objects.filter(kind="channel.failing").count() == 1


@pytest.mark.usefixtures("transactional_db")
def test_worker_killed_between_send_and_mark_sends_again_under_the_same_id(
    organization: Organization, channel: Makes, hooks: HookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel()
    happen(organization)

    def killed(*_: Any) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patched:
        patched.setattr(deliveries, "_note", killed)
        with pytest.raises(SystemExit):
            deliveries_send()
    assert Delivery.objects.get().state == "waiting"
    assert deliveries_send() == Sent()

    with time_machine.travel(timezone.now() + LEASE + timedelta(seconds=1)):
        assert deliveries_send() == Sent(taken=1)

    assert [taken.headers["webhook-id"] for taken in hooks.taken] == [parcels.message_id(Delivery.objects.get())] * 2
    assert hooks.taken[0].body == hooks.taken[1].body


def test_delivery_that_kills_every_attempt_is_given_up(organization: Organization, channel: Makes, hooks: HookServer, monkeypatch: pytest.MonkeyPatch) -> None:
    channel()
    happen(organization, 2)
    Delivery.objects.filter(pk=Delivery.objects.earliest("id").pk).update(attempts=ATTEMPTS)

    assert deliveries_send() == Sent(taken=1)

    assert list(Delivery.objects.order_by("id").values_list("state", flat=True)) == ["dead", "sent"]


def test_worker_that_lost_its_hold_notes_nothing(organization: Organization, channel: Makes, hooks: HookServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It slept past its lease, and another one took the endpoint."""
    channel()
    happen(organization)
    real = deliveries.attempt

    def slept(endpoint: Endpoint, parcel: Any) -> Any:
        outcome = real(endpoint, parcel)
        Endpoint.objects.filter(pk=endpoint.pk).update(hold=99)
        return outcome

    monkeypatch.setattr(deliveries, "attempt", slept)
    deliveries_send()

    assert Delivery.objects.get().state == "waiting"


@pytest.mark.usefixtures("transactional_db")
def test_many_workers_send_each_once_in_order_and_never_two_to_one_endpoint(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    channel()
    happen(organization, 30)
    hooks.waits = 0.01
    start = threading.Barrier(4)

    def run() -> Sent:
        try:
            start.wait(10)
            return deliveries_send()
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        runs = [running.result(60) for running in [threads.submit(run) for _ in range(4)]]

    assert sum(runs, Sent()) == Sent(taken=30)
    assert numbers(hooks) == list(range(30))
    assert hooks.most_at_once == 1


@pytest.mark.usefixtures("transactional_db")
def test_a_slow_endpoint_does_not_hold_up_the_others(organization: Organization, channel: Makes, hooks: HookServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "SECONDS", 2.0)
    stuck = Endpoint.objects.get(pk=channel(name="slow").endpoint.pk)
    with taking() as slow:
        slow.waits = 4
        stuck.address = endpoints.sealing.sealed(slow.url)
        stuck.save()
        channel(name="quick")
        happen(organization, 5)
        started = time.monotonic()
        running = threading.Thread(target=tasks.deliveries_send)
        running.start()
        while len(hooks.taken) < 5 and time.monotonic() < started + 10:
            time.sleep(0.01)
        took = time.monotonic() - started
        running.join(30)
    assert took < 1.5
    assert Delivery.objects.filter(endpoint=stuck, state="waiting").count() == 5


def test_endpoint_that_moved_inside_is_not_called(organization: Organization, channel: Makes, hooks: HookServer, settings: Any) -> None:
    channel()
    happen(organization)
    settings.WEBHOOKS_ALLOW_PRIVATE = False

    assert deliveries_send() == Sent(failed=1)

    assert hooks.taken == []
    assert "https" in Delivery.objects.get().last_error


def test_changed_secret_key_is_said_and_nothing_is_sent(organization: Organization, channel: Makes, hooks: HookServer, settings: Any) -> None:
    channel()
    happen(organization)
    settings.SECRET_KEY = "another one"

    assert deliveries_send() == Sent(failed=1)
    assert "SECRET_KEY has changed" in Delivery.objects.get().last_error


def test_test_message_is_signed_kept_and_shows_its_answer(channel: Makes, hooks: HookServer, admin: Member) -> None:
    made = channel()
    hooks.answers = [(200, {}, b"thanks"), (503, {}, b"later")]

    good, bad = (endpoints.endpoint_test(actor=member_actor(admin), endpoint_id=made.endpoint.pk) for _ in range(2))

    assert (good.state, good.last_status, good.last_answer) == ("sent", 200, "thanks")
    assert (bad.state, bad.last_status, bad.last_error) == ("dead", 503, "It answered 503.")
    assert Webhook(made.secret).verify(hooks.taken[0].body, hooks.taken[0].headers)["type"] == "test"
    with pytest.raises(Conflict):
        endpoints.delivery_retry(actor=member_actor(admin), delivery_id=bad.pk)


def test_changes_are_recorded_checked_and_for_admins(channel: Makes, hooks: HookServer, admin: Member, engineer: Member, stranger: Member, settings: Any) -> None:
    made = channel()
    actor, kinds = member_actor(admin), ["freeze.started"]
    with pytest.raises(Conflict):
        channel()
    with pytest.raises(Invalid):
        channel(name="none", kinds=[])
    with pytest.raises(Invalid):
        channel(name="odd", kinds=["no.such"])
    with pytest.raises(Forbidden):
        endpoints.endpoint_change(actor=member_actor(engineer), endpoint_id=made.endpoint.pk, name="x", kinds=kinds)
    with pytest.raises(NotFound):
        endpoints.endpoint_change(actor=member_actor(stranger), endpoint_id=made.endpoint.pk, name="x", kinds=kinds)
    settings.WEBHOOKS_ALLOW_PRIVATE = False
    with pytest.raises(Invalid, match="https"):
        endpoints.endpoint_change(actor=actor, endpoint_id=made.endpoint.pk, name="x", kinds=kinds, address=hooks.url)
    endpoints.endpoint_change(actor=actor, endpoint_id=made.endpoint.pk, name="Renamed", kinds=kinds)
    endpoints.endpoint_change(actor=actor, endpoint_id=made.endpoint.pk, name="Renamed", kinds=kinds)
    endpoints.endpoint_remove(actor=actor, endpoint_id=made.endpoint.pk)
    with pytest.raises(NotFound):
        endpoints.endpoint_test(actor=actor, endpoint_id=made.endpoint.pk)
    actions = list(AuditRecord.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["channel.added", "channel.changed", "channel.removed"]


def test_slack_message_has_blocks_buttons_and_nobody_s_words_become_mentions(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    channel("slack")
    request = "019a9f3c-5d51-7c35-9d0a-3f2b1c8e7a10"
    happen(
        organization, kind=Signal.Kind.REQUEST_FILED, request=request, requester="<!channel> Robin", amount=Decimal(50), currency="USD", budget_name="Platform & Co",
        reason="One <script>.\nTwo.", url="https://weighhouse.example/o/acme/approvals/1",
    )  # fmt: skip
    deliveries_send()

    message = json.loads(hooks.taken[0].body)
    assert message["text"] == "&lt;!channel&gt; Robin asks for 50.00 USD on Platform &amp; Co"
    kinds = [block["type"] for block in message["blocks"]]
    assert kinds == ["header", "section", "actions", "context"]
    decide, open_ = message["blocks"][2]["elements"]
    assert "/o/acme/approvals/link/" in decide["url"]
    assert open_["url"] == "https://weighhouse.example/o/acme/approvals/1"
    assert message["blocks"][1]["text"]["text"] == "> One &lt;script&gt;.\n> Two."
    assert "webhook-signature" not in hooks.taken[0].headers


def test_a_storm_becomes_one_slack_message_and_stays_many_webhooks(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    channel("slack")
    happen(organization, 30, scope_kind="session", scope_key="s", url="https://weighhouse.example/s")
    happen(organization, 2, kind=THRESHOLD)

    assert deliveries_send() == Sent(taken=3)

    first = json.loads(hooks.taken[0].body)
    assert first["text"] == "30 times: frozen"
    assert "and 10 more" in json.dumps(first)
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}


def test_old_deliveries_and_signals_are_forgotten_and_waiting_ones_kept(organization: Organization, channel: Makes, hooks: HookServer) -> None:
    channel()
    happen(organization, 2)
    deliveries_send()
    happen(organization)
    with time_machine.travel(timezone.now() + timedelta(days=91)):
        tasks.outbox_forget()
    assert [Delivery.objects.count(), Signal.objects.count()] == [1, 1]
