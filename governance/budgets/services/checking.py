"""Whether a session may go on, asked without holding anything: one statement by what is in memory of keys, budgets and switches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.utils import timezone

from governance import sql
from governance.budgets.models import Budget
from governance.budgets.rules import PeriodKey, Rule, Rules, rules_of, rules_remembered
from governance.budgets.services.asking import (
    AuthorizationIn,
    as_attributed,
    call_asked,
    estimate_of,
    is_attributed,
    with_defaults,
)
from governance.budgets.services.counting import refusals_note
from governance.budgets.services.holds import FREEZE_OVER_CALL
from governance.budgets.services.periods import KEY_COLUMNS, key_arrays
from governance.budgets.services.refusals import binding_order, freeze_refusal, refusal_of
from governance.errors import Conflict, PaymentRequired
from governance.money import written
from governance.tenancy.access import Actor
from governance.tenancy.authentication import UNMOVED, KeyMoved, Remembered, remembered_parameters
from governance.tenancy.directory import directory_of
from governance.tenancy.models import ApiKey

# What the session's latest call was labelled with stands for what is not named.
FROM_SESSION = ("harness", "gateway", "task")
# The session, the freeze that reaches it, whether the key still stands, and of the periods asked of those that are frozen or used up.
CHECKED = f"""
SELECT o.config_version, {UNMOVED} AS is_unmoved, s.key IS NOT NULL AS is_known, s.team_id, s.project_id, s.member_id, s.task, s.provider, s.model,
    s.harness, s.gateway, f.id AS freeze_id, p.*
FROM organization o
LEFT JOIN session s ON s.organization_id = o.id AND s.key = %(session)s AND %(session)s <> ''
LEFT JOIN ({FREEZE_OVER_CALL}) f ON true
LEFT JOIN LATERAL (
    SELECT p.id, p.budget_id, p.session_key, p.task_key, p.starts_at, p.ends_at, p.limit_amount, p.topup, p.spent, p.held, p.frozen_at,
        0::numeric AS asked, true AS is_enforced
    FROM {sql.unnest("x", {**KEY_COLUMNS, "is_of_task": "boolean"})}
    CROSS JOIN LATERAL (
        SELECT * FROM budget_period p WHERE p.organization_id = %(organization)s AND p.budget_id = x.budget_id AND p.starts_at = x.starts_at
            AND p.session_key = x.session_key AND p.task_key = CASE WHEN x.is_of_task AND x.task_key = '' THEN coalesce(s.task, '') ELSE x.task_key END OFFSET 0
    ) p
    WHERE p.frozen_at IS NOT NULL OR p.spent >= p.limit_amount + p.topup
) p ON true
WHERE o.id = %(organization)s
"""  # noqa: S608 - built from constants
TRIES = 5


def session_check(
    *, actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, unconfirmed: Remembered | None = None, now: datetime | None = None
) -> None:
    """Returns when a call of these labels may go on just now. Holds nothing, so that the next moment may say otherwise.

    Raises PaymentRequired (402) where a freeze reaches it, or a budget that stands against it is used up, which is counted as a
    refused call, and KeyMoved where a key that is `unconfirmed` has to be looked up first.
    """
    request, now = with_defaults(request, api_key), now or timezone.now()
    refusal = _refusal(actor, api_key, request, unconfirmed=unconfirmed, now=now)
    if refusal is not None:
        refusals_note(organization_id=actor.organization.pk, refusals=[refusal], now=now)
        raise refusal


def _refusal(
    actor: Actor, api_key: ApiKey | None, request: AuthorizationIn, *, unconfirmed: Remembered | None, now: datetime
) -> PaymentRequired | None:
    organization = actor.organization
    rules = rules_remembered(organization.pk) or rules_of(directory_of(organization, organization.config_version))
    for _ in range(TRIES):
        rows = sql.rows(CHECKED, {
            "organization": organization.pk, "session": request.session, "parent": request.parent_session,
            **_asked_of(rules, request, api_key, now), **remembered_parameters([unconfirmed]),
        })  # fmt: skip
        if not rows or not rows[0].is_unmoved:
            raise KeyMoved
        if rows[0].config_version == rules.version:
            return _standing_against(actor, rules, api_key, request, rows=rows, now=now)
        rules = rules_of(directory_of(organization, rows[0].config_version))
    raise Conflict("The configuration is being changed again and again just now. Ask again.")


def _asked_of(rules: Rules, request: AuthorizationIn, api_key: ApiKey | None, now: datetime) -> dict[str, Any]:
    """The present periods of every budget that may stand against the call, as far as is known before its session has been read."""
    labelled, who = as_attributed(rules, request, api_key, now=now)
    call = call_asked(labelled, who, api_key, estimate_of(labelled, now, directory=rules.directory, who=who))
    is_told = not request.session or (is_attributed(request, who) and bool(request.task or not rules.looks.task))
    found: list[tuple[Rule, PeriodKey]] = [
        (rule, key)
        for rule in (rules.matching(call, is_lenient=True) if is_told else rules.by_id.values())
        if (rule.is_hard or rule.action == Budget.Action.DOWNGRADE) and (key := rules.period(rule, now, call)) is not None
    ]
    return key_arrays([key for _, key in found]) | {"is_of_task": [rule.scope_kind == Budget.ScopeKind.TASK for rule, _ in found]}


def _standing_against(
    actor: Actor, rules: Rules, api_key: ApiKey | None, request: AuthorizationIn, *, rows: Sequence[Any], now: datetime
) -> PaymentRequired | None:
    """What stands against the call, now that its session is known."""
    session = rows[0]
    request = _like_the_latest(request, session) if session.is_known else request
    labelled, who = as_attributed(rules, request, api_key, now=now, state=session)
    call = call_asked(labelled, who, api_key, estimate_of(labelled, now, directory=rules.directory, who=who))
    if refusal := freeze_refusal(actor, rules, request=request, call=call, freeze_id=session.freeze_id):
        return refusal
    refusing = {rule.id for rule in rules.matching(call) if rule.refuses(call) and (rule.counts_notional or not call.is_notional)}
    binding = min((row for row in rows if row.budget_id in refusing), key=binding_order, default=None)
    if binding is None:
        return None
    refused = refusal_of(actor.organization, rules, binding, request=request, who=who)
    refused.detail = _sentence(rules.by_id[binding.budget_id], binding)
    return refused


def _like_the_latest(request: AuthorizationIn, session: Any) -> AuthorizationIn:
    """The request with the labels of the session's latest call where it names none."""
    missing = {name: getattr(session, name) for name in FROM_SESSION if not getattr(request, name)}
    if not request.model and not request.provider:
        missing |= {"provider": session.provider, "model": session.model}
    return msgspec.structs.replace(request, **missing)


def _sentence(rule: Rule, period: Any) -> str:
    """Which budget stands against the call, and how it stands."""
    subject = f" for session {period.session_key}" if period.session_key else f" for task {period.task_key}" if period.task_key else ""
    how = "is frozen" if period.frozen_at is not None else "is used up"
    allowance = period.limit_amount + period.topup
    return f"The budget “{rule.name}”{subject} {how}: {written(period.spent)} of {written(allowance)} {rule.unit} spent."
