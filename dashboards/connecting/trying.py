"""Tries a connection: sends a client's sample through its own door, says what became of it, and takes everything back.

The sample is authenticated, read, attributed, priced and stored by the door itself, within a transaction that is undone at the end: no
bill, budget, notice or sum ever sees it.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import uuid4

from django.core.handlers.wsgi import WSGIRequest
from django.db import transaction
from django.urls import resolve

from dashboards.connecting.clients import Client
from dashboards.connecting.samples import SAMPLES, Moment, Sample
from governance.tenancy import access, keys
from governance.tenancy.access import Actor, Right
from governance.tenancy.models import ApiKey, Member, Project, Team
from ingest.models import RejectedInput, UsageEvent


@dataclass(frozen=True, slots=True)
class Counted:
    """How the sample would have been counted. Counts and cost are None where they are not known."""

    provider: str
    model: str
    harness: str
    gateway: str
    session: str
    team: str
    project: str
    member: str
    tokens_input: int
    tokens_output: int | None
    cost: Decimal | None
    currency: str


@dataclass(frozen=True, slots=True)
class Tried:
    """What the door answered, and what it made of the sample: a call, or why there is none. `status` is None where nothing was sent."""

    path: str
    content_type: str
    status: int | None
    call: Counted | None
    refusal: str

    @property
    def is_ok(self) -> bool:
        return self.call is not None


def connection_try(*, actor: Actor, client: Client, secret: str, now: datetime) -> Tried:
    """Sends the client's sample with the key, whose organization has to be the actor's: what another's key makes of it is theirs. Nothing of it stays."""
    access.require(actor, Right.MANAGE_ORGANIZATION)
    moment = Moment(now, uuid4().hex[:12])
    sample = SAMPLES[client.slug](moment)
    if not access.scoped(actor, ApiKey.objects.filter(secret_hash=keys.secret_hash(secret))).exists():
        return Tried(sample.path, sample.content_type, None, None, f"No key of {actor.organization.name} reads like this.")
    with transaction.atomic():
        status, said = answered(sample, secret)
        calls = UsageEvent.objects.filter(
            organization=actor.organization, occurred_at__gte=now.replace(microsecond=0), session=moment.session
        )
        call = calls.first()
        found = counted(actor, call) if call is not None else None
        refusal = "" if found else refused(actor, now) or said
        transaction.set_rollback(True)
    return Tried(sample.path, sample.content_type, status, found, refusal)


def answered(sample: Sample, secret: str) -> tuple[int, str]:
    """The door's status and the beginning of its words."""
    match = resolve(sample.path)
    request = WSGIRequest({
        "REQUEST_METHOD": "POST", "PATH_INFO": sample.path, "SERVER_NAME": "localhost", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(sample.body), "CONTENT_TYPE": sample.content_type, "CONTENT_LENGTH": str(len(sample.body)),
        "HTTP_AUTHORIZATION": f"Bearer {secret}", **sample.headers,
    })  # fmt: skip
    response = match.func(request, *match.args, **match.kwargs)
    if hasattr(response, "render"):
        response.render()
    problem = getattr(response, "data", None)
    said = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else None
    return response.status_code, str(said or response.content[:300].decode("utf-8", "replace"))


def refused(actor: Actor, now: datetime) -> str:
    """The reason under which the door kept the sample aside."""
    row = RejectedInput.objects.filter(organization=actor.organization, received_at__gte=now).order_by("-pk").first()
    return row.reason if row is not None else ""


def counted(actor: Actor, call: UsageEvent) -> Counted:
    def name_of(model: type[Team] | type[Project] | type[Member], key: int | None, label: str) -> str:
        found = access.scoped(actor, model.objects.filter(pk=key)).first() if key is not None else None
        return str(found) if found is not None else f"{label} (not known here)" if label else ""

    inputs = (call.input_tokens, call.cache_read_tokens, call.cache_write_5m_tokens, call.cache_write_1h_tokens)
    return Counted(
        provider=call.provider, model=call.model, harness=call.harness, gateway=call.gateway, session=call.session,
        team=name_of(Team, call.team_id, call.team_label), project=name_of(Project, call.project_id, call.project_label),
        member=name_of(Member, call.member_id, call.member_label), tokens_input=sum(count or 0 for count in inputs), tokens_output=call.output_tokens,
        cost=call.cost, currency=call.currency,
    )  # fmt: skip
