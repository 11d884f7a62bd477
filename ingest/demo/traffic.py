"""The simulated gateway: a few live sessions that ask before each call and report it afterwards, over REST, with a key of their own."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from secrets import randbits
from uuid import UUID

import httpx
import msgspec
import stamina

from governance.errors import Conflict, DomainError
from governance.tenancy import keys
from governance.tenancy import services as tenancy
from governance.tenancy.access import system_actor
from governance.tenancy.models import ApiKey, Organization, Scope, ServiceAccount
from ingest.demo import cast, offers
from ingest.demo.organization import SANDBOX, organization_find
from ingest.demo.shapes import Part, Shape
from ingest.demo.simulation import MEMBERS, DaySimulation, Plan, Run
from ingest.formats.event import UsageEvent

KEY_NAME = "Demo gateway"
KEY_FILE = "demo-gateway-key"
SESSIONS = 6
# Live calls are lighter than the history's, so that days of traffic stay in proportion to a month's budget.
LIGHTER = 6
LONGEST_CALL_S = 8.0
LONGEST_PAUSE_S = 25.0
ASKS_AGAIN_S = (5.0, 10.0, 20.0)
GIVES_UP_S = 900.0
SANDBOX_PAUSE_S = (180.0, 420.0)
HTTP_TIMEOUT_S = 10.0
AWAY_PAUSE_S = 2.0
BUCKETS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens")

SANDBOX_LOOP = Part("planner", (offers.OPUS_LITELLM, offers.FABLE_LITELLM), ("research", "code"), 300_000, 6_000, loop=True, thinking=0.3)
SANDBOX_SHAPE = Shape("omnigent", "1.3.0", "sb", (SANDBOX_LOOP,), 60, 4)

Say = Callable[[str], None]


class KeyRefused(DomainError):
    """The server no longer takes the key."""

    code = "key_refused"


class Away(Exception):
    """The server did not answer, or could not; the same request may be sent again."""


class Live:
    """One session that goes on until its calls are made, or its budget has refused it for too long."""

    def __init__(self, simulation: DaySimulation, *, shape: Shape | None = None, due: float = 0.0) -> None:
        self.simulation = simulation
        self.run: Run = simulation.begin()
        if shape is not None:
            self._becomes_sandbox(shape)
        self.due = due
        self.made = 0
        self.asked = 0
        self.refused_at: float | None = None
        self.pending: UsageEvent | None = None  # allowed, and not yet reported
        self.next: UsageEvent | None = None  # to be asked for

    def _becomes_sandbox(self, shape: Shape) -> None:
        self.run.shape = shape
        self.run.key = shape.prefix + self.run.key[self.run.key.index("-") :]
        self.run.left = shape.calls
        self.run.labels = ("research", self.simulation.rng.choice(MEMBERS["research"]))
        self.run.project = SANDBOX

    @property
    def is_sandbox(self) -> bool:
        return self.run.shape is SANDBOX_SHAPE

    @property
    def is_over(self) -> bool:
        return self.pending is None and self.made >= self.run.left

    def call(self) -> UsageEvent:
        """The call it wants to make; the same one until it has been reported."""
        if self.next is None:
            rounds = self.run.shape.rounds
            trace = f"{self.run.key}.{self.made // len(rounds)}" if self.run.shape.traced else ""
            self.run.at = datetime.now(UTC)
            event = self.simulation.call(self.run, rounds[self.made % len(rounds)], trace, "")
            self.next = event if self.is_sandbox else lighter(event)
        return self.next

    def pause_s(self) -> float:
        gap = self.run.shape.gap_seconds * self.simulation.rng.uniform(0.4, 1.6)
        return min(gap, LONGEST_PAUSE_S)


def lighter(event: UsageEvent) -> UsageEvent:
    """The call with a sixth of its input."""
    return msgspec.structs.replace(event, **{name: count // LIGHTER for name in BUCKETS if (count := getattr(event, name)) is not None})


class Gateway:
    """The REST side: asks, reports, and tells being refused from the server being away."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def ask(self, live: Live) -> UUID | None:
        """The authorization's id, or None when a budget stands against the call (402). Raises Away, KeyRefused and Conflict."""
        event = live.call()
        live.asked += 1
        body: dict[str, object] = {
            "id": f"{event.id}-{live.asked}",
            "ttl_seconds": 120,
            "max_output_tokens": event.output_tokens or 0,
        }
        names = ("session", "team", "project", "member", "provider", "model", "harness", "gateway", "role")
        body |= {name: value for name in names if (value := getattr(event, name))}
        if live.is_sandbox:
            body["amount"] = "0.01"  # a careless harness guesses low, so its session runs into the limit itself
        else:
            body |= {"input_tokens": event.input_tokens or 0, "cache_read_tokens": event.cache_read_tokens or 0}
        answer = self._post("/api/v1/authorizations", body)
        if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
            return None
        return UUID(answer.json()["id"])

    def report(self, event: UsageEvent) -> str:
        """Posts the event; the answer's status for it."""
        answer = self._post("/api/v1/events", msgspec.to_builtins(event))
        outcomes = answer.json()
        found = outcomes.get("outcomes") or outcomes.get("events") or outcomes.get("results") or [outcomes]
        return str(found[0].get("status", ""))

    @stamina.retry(on=Away, attempts=4, timeout=8.0, wait_initial=0.2, wait_max=2.0)
    def _post(self, path: str, body: object) -> httpx.Response:
        try:
            answer = self.client.post(path, json=body)
        except httpx.TransportError as error:
            raise Away(str(error)) from error
        if answer.status_code in (401, 403):
            raise KeyRefused(f"The server refused the key “{KEY_NAME}”: {answer.text[:200]}")
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS or answer.is_server_error:
            raise Away(f"HTTP {answer.status_code}")
        if answer.is_client_error and answer.status_code != httpx.codes.PAYMENT_REQUIRED:
            raise Conflict(f"{path} answered {answer.status_code}: {answer.text[:300]}")
        return answer


class Traffic:
    """Takes turns among the sessions, at most `rate` calls a second, until told to stop."""

    def __init__(self, gateway: Gateway, *, rate: float, stop: threading.Event, say: Say, seed: int | None = None) -> None:
        self.gateway = gateway
        self.interval_s = 1 / rate
        self.stop = stop
        self.say = say
        self.rng = Random(seed)  # noqa: S311 - a simulation
        self.lives: list[Live] = [self.newcomer(number * 1.5) for number in range(SESSIONS)]
        self.lives.append(self.newcomer(2.0, shape=SANDBOX_SHAPE))

    def newcomer(self, wait_s: float, shape: Shape | None = None) -> Live:
        """A session of its own random stream that begins after the wait."""
        now = datetime.now(UTC).replace(microsecond=0)
        plan = Plan(self.rng.getrandbits(60) ^ randbits(60), 1, 1, now + timedelta(seconds=1))
        return Live(DaySimulation(plan, plan.calendar[0]), shape=shape, due=time.monotonic() + wait_s)

    def go_on(self) -> None:
        """Turns until the stop is set. A server that is away is waited for."""
        while not self.stop.is_set():
            live = min(self.lives, key=lambda item: item.due)
            if self.stop.wait(max(live.due - time.monotonic(), 0.0)):
                return
            try:
                self.turn(live)
            except Away as reason:
                self.say(f"The server is away ({reason}); waiting.")
                self.stop.wait(AWAY_PAUSE_S)
            except Conflict as refusal:
                self.say(refusal.detail)
                self.replace(live)

    def turn(self, live: Live) -> None:
        """One step of a session: report the call it was allowed to make, or ask for the next one."""
        if live.pending is not None:
            self.report(live)
        elif live.is_over:
            self.replace(live)
        else:
            self.ask(live)
            self.stop.wait(self.interval_s)

    def ask(self, live: Live) -> None:
        authorization = self.gateway.ask(live)
        now = time.monotonic()
        if authorization is None:
            self.refused(live, now)
            return
        if live.refused_at is not None:
            self.say(f"{live.run.key} goes on.")
            live.refused_at = None
        event = live.call()
        live.pending = msgspec.structs.replace(event, authorization=authorization, occurred_at=datetime.now(UTC))
        live.due = now + min((event.latency_ms or 1000) / 1000, LONGEST_CALL_S)

    def refused(self, live: Live, now: float) -> None:
        """A budget stands against the session: it waits, asks again ever more slowly, and gives up after a while."""
        if live.refused_at is None:
            live.refused_at = now
            self.say(f"{live.run.key} is refused; waiting for somebody to decide.")
        if now - live.refused_at > GIVES_UP_S:
            self.replace(live)
            return
        live.due = now + ASKS_AGAIN_S[min(live.asked - live.made - 1, len(ASKS_AGAIN_S) - 1)]

    def report(self, live: Live) -> None:
        if live.pending is None:
            return
        self.gateway.report(live.pending)
        live.pending = live.next = None
        live.made += 1
        live.asked = live.made
        live.due = time.monotonic() + live.pause_s()

    def replace(self, live: Live) -> None:
        """Ends a session and lets another begin in its place."""
        self.lives.remove(live)
        if live.is_sandbox:
            self.lives.append(self.newcomer(self.rng.uniform(*SANDBOX_PAUSE_S), shape=SANDBOX_SHAPE))
        else:
            self.lives.append(self.newcomer(self.rng.uniform(1.0, 10.0)))


def gateway_secret(organization: Organization, folder: Path) -> str:
    """The secret of the gateway's key: the one kept in the folder while its key lives, else a new key's; the old one is revoked."""
    path = folder / KEY_FILE
    live = ApiKey.objects.filter(organization=organization, name=KEY_NAME, revoked_at=None).first()
    if live is not None and path.is_file():
        secret = path.read_text().strip()
        if keys.secret_hash(secret) == live.secret_hash:
            return secret
    actor = system_actor(organization)
    if live is not None:
        tenancy.api_key_revoke(actor=actor, key=live)
    account = ServiceAccount.objects.filter(organization=organization, name=KEY_NAME).first()
    account = account or tenancy.service_account_create(actor=actor, name=KEY_NAME)
    _, secret = tenancy.api_key_create(actor=actor, name=KEY_NAME, scopes=[Scope.INGEST, Scope.AUTHORIZE], service_account=account)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(secret)
    return secret


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set for the length of the block."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def traffic_run(*, url: str, rate: float, folder: Path, say: Say) -> None:
    """Posts live events until SIGTERM or Ctrl-C. Raises Conflict when there is no demo organization."""
    organization = organization_find()
    if organization is None:
        raise Conflict(f"There is no organization {cast.SLUG}; run `manage.py demo load` first.")
    headers = {"Authorization": f"Bearer {gateway_secret(organization, folder)}", "User-Agent": "weighhouse-demo-gateway"}
    with stopping() as stop, httpx.Client(base_url=url, headers=headers, timeout=HTTP_TIMEOUT_S) as client:
        say(f"Live traffic to {url}, up to {rate:g} calls a second.")
        Traffic(Gateway(client), rate=rate, stop=stop, say=say).go_on()
        say("Live traffic stopped.")
