"""API edge of approval policies: those in force, and reading, writing and ending the organization's or a team's."""

from decimal import Decimal
from typing import Any, ClassVar

import msgspec
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from governance.approvals import policies, policy, words
from governance.approvals.models import ApprovalPolicy
from governance.approvals.policy import GROUPS, MEMBER, Rules
from governance.approvals.views import ScopedView
from governance.budgets.views import body_of
from governance.errors import Invalid
from governance.money import LARGEST, digits, quantize
from governance.tenancy.access import Actor, Right, get_scoped, require, scoped
from governance.tenancy.models import Member, Scope, Team
from governance.tenancy.openapi import problems

AMOUNTS = ("up_to", "person_daily", "team_daily")


class StepFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who decides: any of them, and how many different people it takes."""

    who: list[str]
    needed: int = 1

    field_notes: ClassVar[dict[str, str]] = {"who": "approvers, admins, owners, finance; a member's e-mail, or member:<id>, as answers have it."}


class BandFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The steps of requests up to an amount, included. Null: of all larger ones, and of those in tokens or calls."""

    steps: list[StepFacts]
    up_to: Decimal | None = None
    in_parallel: bool = False


class AutomaticFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests up to an amount are granted at once, as long as a person and a team stay within so much a day."""

    up_to: Decimal
    person_daily: Decimal
    team_daily: Decimal


class OverrideFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may grant alone in an emergency, and within how many days somebody else reviews it."""

    who: list[str]
    review_days: int = 7


class ApprovalPolicyIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole policy; it takes the place of the one in force."""

    bands: list[BandFacts]
    escalate_minutes: int | None = None
    expire_hours: int | None = None
    denials: int = 1
    automatic: AutomaticFacts | None = None
    override: OverrideFacts | None = None
    seen: int | None = None

    field_notes: ClassVar[dict[str, str]] = {
        "bands": "By rising `up_to`; the last is for everything above and has none.",
        "escalate_minutes": "So long a step waits before it goes on to the next one's people. Null: it waits.",
        "expire_hours": "A request that nobody has decided closes after so many. Null: with the budget's period.",
        "denials": "How many people have to deny before a request is over.",
        "seen": "The `version` that this change was made from (0: none). Another in force is a 409, and nothing is written.",
    }


class BandOut(msgspec.Struct, frozen=True, kw_only=True):
    """The steps of requests up to an amount, included. Null: of all larger ones, and of those in tokens or calls."""

    steps: list[StepFacts]
    up_to: Decimal | None
    in_parallel: bool


class ApprovalPolicyOut(msgspec.Struct, frozen=True, kw_only=True):
    """A policy in force. Without one of its own a team goes by the nearest above it, then the organization's, then the built-in one."""

    team: str | None
    version: int
    at: str | None
    by: str | None
    bands: list[BandOut]
    escalate_minutes: int | None
    expire_hours: int | None
    denials: int
    automatic: AutomaticFacts | None
    override: OverrideFacts | None
    in_words: list[str]

    field_notes: ClassVar[dict[str, str]] = {
        "team": "The team's slug. Null: the organization's.",
        "version": "0: nobody has written one, and these are the built-in rules or those from above.",
    }


class ApprovalPoliciesOut(msgspec.Struct, frozen=True):
    """The policies in force, the organization's first."""

    items: list[ApprovalPolicyOut]


EXAMPLE_IN: dict[str, Any] = {
    "bands": [
        {"up_to": "200", "steps": [{"who": ["approvers", "admins"]}]},
        {"steps": [{"who": ["approvers"]}, {"who": ["finance"]}]},
    ],
    "escalate_minutes": 120, "expire_hours": 72, "automatic": {"up_to": "5", "person_daily": "10", "team_daily": "40"}, "seen": 0,
}  # fmt: skip
EXAMPLE: dict[str, Any] = {
    "team": "platform", "version": 1, "at": "2026-11-21T10:05:00Z", "by": "Kim",
    "bands": [
        {"steps": [{"who": ["approvers", "admins"], "needed": 1}], "up_to": "200", "in_parallel": False},
        {"steps": [{"who": ["approvers"], "needed": 1}, {"who": ["finance"], "needed": 1}], "up_to": None, "in_parallel": False},
    ],
    "escalate_minutes": 120, "expire_hours": 72, "denials": 1, "automatic": {"up_to": "5", "person_daily": "10", "team_daily": "40"}, "override": None,
    "in_words": [
        "up to 200.00 USD: one approver of Platform or owner or admin",
        "above 200.00 USD: one approver of Platform, then one person of finance",
        "Requests in tokens, calls or another currency go by the last row, whatever their size.",
        "Up to 5.00 USD is granted at once, as long as a person gets no more than 10.00 USD and a team no more than 40.00 USD a day that way.",
        "A step that waits for 2 hours goes on to the people of the next one, who then decide for both; the last one to owners and admins.",
        "A request that nobody has decided after 3 days is closed.",
        "One denial ends it.",
    ],
}  # fmt: skip
SHOWN = [OpenApiExample("Two rows of amounts", value=EXAMPLE, response_only=True, status_codes=["200"])]
SEEN = OpenApiParameter("seen", OpenApiTypes.INT64, description="The `version` that is to end. Another in force is a 409.")
WRITTEN = problems(s404="There is no such team here.", s409="Somebody has written a version since `seen`.", s422="The policy cannot be used: `detail` says why.")
FORBIDDEN_READ = problems(s404="There is no such team here.")


class PolicyView(ScopedView):
    """Reading takes the scope `read` and the right to see spend, writing `admin` and the right to manage budgets."""

    scopes = {"GET": Scope.READ, "PUT": Scope.ADMIN, "DELETE": Scope.ADMIN}

    def read(self, team_slug: str | None) -> Response:
        require(self.actor, Right.VIEW_SPEND)
        return Response(self._in_force(team_slug))

    def write(self, request: Request, team_slug: str | None) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)
        asked, team = body_of(request, ApprovalPolicyIn), self._team(team_slug)
        policies.policy_set(actor=self.actor, team=team, rules=rules_in(self.actor, asked), seen=asked.seen)
        return Response(self._in_force(team_slug))

    def end(self, request: Request, team_slug: str | None) -> Response:
        require(self.actor, Right.MANAGE_BUDGETS)
        given = request.query_params.get("seen")
        if given is not None and not (given.isascii() and given.isdecimal() and len(given) < 10):
            raise Invalid("`seen` is a number.", field="seen")
        policies.policy_end(actor=self.actor, team=self._team(team_slug), seen=None if given is None else int(given))
        return Response(status=204)

    def _team(self, slug: str | None) -> Team | None:
        return None if slug is None else get_scoped(self.actor, Team.objects.all(), slug=slug)

    def _in_force(self, slug: str | None) -> dict[str, Any]:
        team = self._team(slug)
        own = next((row for row in policies.policies(self.actor) if row.team_id == (team and team.pk)), None)
        found = own or policies.policy_for(self.actor.organization, team.pk if team is not None else None)
        return shown(self.actor, team, own, policies.rules_in(found))


class ApprovalPolicies(PolicyView):
    """GET /api/v1/approval-policies."""

    @extend_schema(
        operation_id="approval_policies_list", tags=["approval policies"], summary="The approval policies in force",
        responses={(200, "application/json"): ApprovalPoliciesOut},
        examples=[OpenApiExample("One team has its own", value={"items": [EXAMPLE]}, response_only=True, status_codes=["200"])],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        require(self.actor, Right.VIEW_SPEND)
        return Response({"items": [shown(self.actor, row.team, row, policies.rules_in(row)) for row in policies.policies(self.actor)]})


class OrganizationPolicy(PolicyView):
    """GET, PUT and DELETE /api/v1/approval-policies/organization."""

    @extend_schema(
        operation_id="approval_policy_get", tags=["approval policies"], summary="The organization's approval policy",
        responses={(200, "application/json"): ApprovalPolicyOut}, examples=SHOWN,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        return self.read(None)

    @extend_schema(
        operation_id="approval_policy_set", tags=["approval policies"], summary="Write the organization's approval policy",
        description="A version takes the place of the one before. Requests that wait keep the version they were filed under. The same rules again change nothing.",
        request={"application/json": ApprovalPolicyIn}, responses={(200, "application/json"): ApprovalPolicyOut, **WRITTEN},
        examples=[OpenApiExample("Two rows of amounts, small ones at once", value=EXAMPLE_IN, request_only=True), *SHOWN],
    )  # fmt: skip
    def put(self, request: Request) -> Response:
        return self.write(request, None)

    @extend_schema(
        operation_id="approval_policy_end", tags=["approval policies"], summary="End the organization's approval policy: the built-in one applies",
        parameters=[SEEN], responses={204: None, **WRITTEN},
    )  # fmt: skip
    def delete(self, request: Request) -> Response:
        return self.end(request, None)


class TeamPolicy(PolicyView):
    """GET, PUT and DELETE /api/v1/approval-policies/teams/<slug>."""

    @extend_schema(
        operation_id="approval_team_policy_get", tags=["approval policies"], summary="What a team's requests go by: its own policy, or one from above",
        responses={(200, "application/json"): ApprovalPolicyOut, **FORBIDDEN_READ}, examples=SHOWN,
    )  # fmt: skip
    def get(self, request: Request, team_slug: str) -> Response:
        return self.read(team_slug)

    @extend_schema(
        operation_id="approval_team_policy_set", tags=["approval policies"], summary="Write a team's approval policy", request={"application/json": ApprovalPolicyIn},
        responses={(200, "application/json"): ApprovalPolicyOut, **WRITTEN},
        examples=[OpenApiExample("Two rows of amounts, small ones at once", value=EXAMPLE_IN, request_only=True), *SHOWN],
    )  # fmt: skip
    def put(self, request: Request, team_slug: str) -> Response:
        return self.write(request, team_slug)

    @extend_schema(
        operation_id="approval_team_policy_end", tags=["approval policies"], summary="End a team's approval policy: the one above applies",
        parameters=[SEEN], responses={204: None, **WRITTEN},
    )  # fmt: skip
    def delete(self, request: Request, team_slug: str) -> Response:
        return self.end(request, team_slug)


def rules_in(actor: Actor, asked: ApprovalPolicyIn) -> Rules:
    """The policy with its people by id. Raises Invalid for amounts that are none and people who are not here."""
    facts = msgspec.to_builtins(asked)
    parties = [party for band in asked.bands for step in band.steps for party in step.who] + list(asked.override.who if asked.override else ())
    ids = _ids(actor, parties)
    for band in facts["bands"]:
        for step in band["steps"]:
            step["who"] = [ids.get(party, party) for party in step["who"]]
    if facts["override"]:
        facts["override"]["who"] = [ids.get(party, party) for party in facts["override"]["who"]]
    for place in [*facts["bands"], facts["automatic"] or {}]:
        place |= {name: _amount(place[name]) for name in AMOUNTS if place.get(name) is not None}
    return policy.rules_of({name: value for name, value in facts.items() if name != "seen"})


def _amount(given: str) -> str:
    """An amount as policies keep it. Raises Invalid for what is none, or too large."""
    amount = Decimal(given)
    if not amount.is_finite() or not 0 < amount < LARGEST or quantize(amount) == 0:
        raise Invalid(f"Amounts are above zero and below {LARGEST:,}.", field="bands")
    return digits(quantize(amount))


def _ids(actor: Actor, parties: list[str]) -> dict[str, str]:
    """Parties as policies keep them, by how they were sent. Raises Invalid for what names nobody."""
    addresses = {party.lower() for party in parties if "@" in party}
    rows = scoped(actor, Member.objects.filter(is_active=True)).select_related("user").order_by() if addresses else ()
    by_address = {member.user.email.lower(): f"{MEMBER}{member.pk}" for member in rows}
    found: dict[str, str] = {}
    for party in parties:
        number = party.removeprefix(MEMBER)
        is_id = party.startswith(MEMBER) and number.isascii() and number.isdecimal() and len(number) < 19
        known = party if party in GROUPS else f"{MEMBER}{int(number)}" if is_id else by_address.get(party.lower())
        if known is None:
            raise Invalid(f"“{party[:120]}” is none of {', '.join(GROUPS)}, and no active member's address.", field="bands")
        found[party] = known
    return found


def shown(actor: Actor, team: Team | None, row: ApprovalPolicy | None, rules: Rules) -> dict[str, Any]:
    """A policy as answers show it; `row` is the one written for just this team."""
    facts = policy.to_facts(rules)
    for band in facts["bands"]:
        band["up_to"] = None if band["up_to"] is None else digits(Decimal(band["up_to"]))
    if facts["automatic"]:
        facts["automatic"] = {name: digits(Decimal(value)) for name, value in facts["automatic"].items()}
    return {
        "team": team.slug if team is not None else None, "version": row.number if row is not None else 0,
        "at": row.at if row is not None else None, "by": str(row.by) if row is not None and row.by else None, **facts,
        "in_words": in_words(actor, team, rules),
    }  # fmt: skip


def in_words(actor: Actor, team: Team | None, rules: Rules) -> list[str]:
    """What the policy says, a sentence for each row of amounts and for what else holds."""
    names, currency = policies.names_of(actor.organization, policies.parties_of(rules)), actor.organization.currency
    called = str(team) if team is not None else "the team"
    bands = [
        f"{words.band_heading(rules.bands, place, currency)}: {words.chain_text(band.steps, in_parallel=band.in_parallel, team=called, names=names)}"
        for place, band in enumerate(rules.bands)
    ]
    rest = [words.other_units_text(rules), words.automatic_text(rules, currency), *words.times_text(rules), words.override_text(rules, names=names)]
    return bands + [sentence for sentence in rest if sentence]
