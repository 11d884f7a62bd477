"""What a refused call is told: which budget or freeze stands against it, by how much, and who can grant more."""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.utils.http import urlencode

from governance.budgets.calls import Call
from governance.budgets.models import Budget, Freeze
from governance.budgets.rules import Rule, Rules
from governance.budgets.selectors import deciders_of
from governance.budgets.services.asking import AuthorizationIn
from governance.budgets.services.freezes import freeze_link
from governance.errors import PaymentRequired
from governance.money import digits, written, written_apart
from governance.tenancy.access import Actor
from governance.tenancy.directory import Attribution
from governance.tenancy.models import Organization

# What is spent and held in one period comes to this at most, whatever its limit: ten times as much fits the column.
LARGEST_SUM = Decimal(10**12)
HOW = {"hand": "frozen by hand", "guard": "frozen by the runaway guard", "budget": "frozen by its budget", "key": "revoked"}


def binding_order(row: Any) -> tuple[bool, Decimal]:
    """Of the periods that refuse, a session's or task's own comes first, then the tightest."""
    return row.session_key + row.task_key == "", row.limit_amount + row.topup - row.spent - row.held


def refusal_of(organization: Organization, rules: Rules, binding: Any, *, request: AuthorizationIn, who: Attribution) -> PaymentRequired:
    rule = rules.by_id[binding.budget_id]
    allowance, left = binding.limit_amount + binding.topup, left_of(binding)
    subject = f" for session {binding.session_key}" if binding.session_key else f" for task {binding.task_key}" if binding.task_key else ""
    advice = {"advice": {"action": "downgrade", "models": sorted(rule.downgrade_models)}} if rule.action == Budget.Action.DOWNGRADE else {}
    return PaymentRequired(
        f"The budget “{rule.name}”{subject} {_standing(binding, rule.unit)}",
        is_frozen=binding.frozen_at is not None,
        budget=budget_facts(rule, binding),
        session=request.session, measure=rule.measure, currency=rule.currency, limit=digits(allowance), spent=digits(binding.spent),
        held=digits(binding.held), left=digits(left), amount=digits(binding.asked), short_by=digits(binding.asked - left),
        approvers=deciders_of(organization, _deciding_team(rule, who)),
        request_url=_request_url(organization, binding.id, request.session), **advice,
    )


def budget_facts(rule: Rule, period: Any) -> dict[str, Any]:
    """The budget that stands against a call, or bounds it, as answers show it."""
    return {"id": rule.id, "name": rule.name, "scope": rule.scope_kind, "period": period.id, "starts_at": period.starts_at, "ends_at": period.ends_at}


def _standing(binding: Any, unit: str) -> str:
    """How the budget stands, in words that agree with the figures beside them."""
    allowance, left = binding.limit_amount + binding.topup, left_of(binding)
    if binding.frozen_at is None and (not binding.is_enforced or binding.asked <= allowance - binding.spent - binding.held):
        return (
            f"cannot hold {written(binding.asked)} {unit} more: spent and held would come to more than {LARGEST_SUM:,} {unit}, "
            "the most that is kept for any period. This is not its limit, and granting more does not help."
        )
    size, limit, asked = written_apart(abs(left), allowance, binding.asked)
    how = "is frozen" if binding.frozen_at is not None else "has too little left"
    if left < 0:
        held = ", what is held included" if binding.held > 0 else ""
        return f"{how}: it is {size} {unit} over its limit of {limit}{held}; {asked} asked for."
    return f"{how}: {size} {unit} left of {limit}, {asked} asked for."


def left_of(binding: Any) -> Decimal:
    """What may be held in addition: less than nothing after an excess. Only the largest sum bounds a soft budget."""
    room: Decimal = LARGEST_SUM - binding.spent - binding.held
    return min(room, binding.limit_amount + binding.topup - binding.spent - binding.held) if binding.is_enforced else room


def _deciding_team(rule: Rule, who: Attribution) -> int | None:
    """The team whose approvers answer for the budget: its own, or for a session's limit that names none the session's."""
    return who.team_id if rule.team_id is None and rule.scope_kind in (Budget.ScopeKind.SESSION, Budget.ScopeKind.TASK) else rule.team_id


def freeze_refusal(
    actor: Actor, rules: Rules, *, request: AuthorizationIn, call: Call, freeze_id: int | None
) -> PaymentRequired | None:
    """Why a freeze that no budget of the call's own is the cause of refuses it: the session's (`freeze_id`), or one of a wide scope."""
    switch = rules.switch_over(call, named_model=request.model) if freeze_id is None else None
    if freeze_id is None and switch is None:
        return None
    freeze = Freeze.objects.select_related("period__budget", "team", "member__user", "api_key", "started_by__user").get(
        organization=actor.organization, pk=freeze_id or switch.id  # type: ignore[union-attr]
    )
    team_id = {Freeze.ScopeKind.SESSION: call.who.team_id, Freeze.ScopeKind.TEAM: freeze.team_id, Freeze.ScopeKind.MEMBER: call.who.team_id}.get(
        Freeze.ScopeKind(freeze.scope_kind)
    )
    return PaymentRequired(
        freeze_sentence(freeze, session_key=request.session), is_frozen=True, session=request.session, freeze=freeze.pk,
        frozen_by=freeze_facts(actor, freeze), approvers=deciders_of(actor.organization, team_id),
        request_url=freeze_link(actor.organization.slug, freeze),
    )


def freeze_sentence(freeze: Freeze, *, session_key: str) -> str:
    """What stands against a call of the session, by whom and why."""
    where = ", above this one," if freeze.session_key not in ("", session_key) else ""
    subject = freeze.subject[0].upper() + freeze.subject[1:]
    return f"{subject}{where} was {HOW[freeze.cause]}{f' by {freeze.starter}' if freeze.starter else ''}: {freeze.reason}"


def freeze_facts(actor: Actor, freeze: Freeze) -> dict[str, Any]:
    """A freeze as answers show it."""
    return {
        "id": freeze.pk, "scope": freeze.scope_kind, "name": freeze.label, "cause": freeze.cause, "reason": freeze.reason,
        "started_at": freeze.started_at, "started_by": freeze.starter or None,
        "period": freeze.period_id, "url": freeze_link(actor.organization.slug, freeze),
    }


def _request_url(organization: Organization, period_id: int, session_key: str) -> str:
    query = urlencode({"period": period_id} | ({"session": session_key} if session_key else {}))
    return f"{settings.PUBLIC_URL}/o/{organization.slug}/approvals/new?{query}"
