"""Which sessions stand frozen by something that is not their own: what the list of sessions goes by."""

from collections.abc import Mapping

from django.db.models import Exists, OuterRef, Q
from django.db.models.fields.json import KeyTextTransform

from governance import sql
from governance.budgets.calls import METERED, POOLS, TAG
from governance.budgets.models import Budget, BudgetPeriod, Freeze
from governance.budgets.tree import teams_below
from governance.tenancy.access import Actor, scoped
from governance.tenancy.models import ApiKey
from ingest.models import UsageEvent

OF_NAMES = (Freeze.ScopeKind.MODEL, Freeze.ScopeKind.PROVIDER)
OF_KEYS = (Budget.ScopeKind.KEY, Budget.ScopeKind.SERVICE_ACCOUNT)


def freeze_scopes(actor: Actor) -> Q:
    """Sessions that an active freeze covers without being their own: of a session above, a wide scope, or a wider budget.

    Switches of models, providers and keys, and budgets that are narrowed to some calls, cover the sessions whose latest call they would
    have refused.
    """
    freezes = list(scoped(actor, Freeze.objects.filter(ended_at=None)).select_related("period__budget").order_by())
    if any(_kind(freeze) == Budget.ScopeKind.ORGANIZATION and not _is_narrowed(freeze) for freeze in freezes):
        return Q(organization=actor.organization)
    needs_teams = any(_is_narrowed(freeze) or _kind(freeze) == Budget.ScopeKind.TEAM for freeze in freezes)
    below = teams_below(actor) if needs_teams else {}
    covered = Q(api_key_id__in=[freeze.api_key_id for freeze in freezes if freeze.api_key_id is not None])
    for freeze in freezes:
        covered |= _covered_by(actor, freeze, below)
    return covered | Q(key__in=frozen_from_above(actor)) if any(_kind(freeze) == Freeze.ScopeKind.SESSION for freeze in freezes) else covered


def _kind(freeze: Freeze) -> str:
    """The scope of the budget that froze, or of the freeze itself."""
    return freeze.scope_kind if freeze.period is None or freeze.session_key else freeze.period.budget.scope_kind


def _is_narrowed(freeze: Freeze) -> bool:
    """Whether it is a budget's that counts calls by more than whose session, team or person they are."""
    return freeze.period is not None and not freeze.session_key and bool(freeze.period.budget.filters or _kind(freeze) in OF_KEYS)


def _covered_by(actor: Actor, freeze: Freeze, below: Mapping[int, frozenset[int]]) -> Q:
    """The sessions of one freeze; those of keys and of sessions above are found for all freezes together."""
    kind, of = _kind(freeze), freeze.period.budget if freeze.period is not None else freeze
    if freeze.period is not None and _is_narrowed(freeze):
        return Q(_latest_call_counts(actor, freeze.period, below))
    if kind == Budget.ScopeKind.TEAM:
        return Q(team_id__in=below[of.team_id or 0])
    if kind == Budget.ScopeKind.MEMBER:
        return Q(member_id=of.member_id)
    if kind == Budget.ScopeKind.PROJECT and isinstance(of, Budget):
        return Q(project_id=of.project_id)
    if kind == Budget.ScopeKind.TASK and freeze.period is not None:
        return Q(task=freeze.period.task_key)
    return Q(**{f"{kind}__iexact": freeze.scope_key}) if kind in OF_NAMES else Q(pk__in=[])


def _latest_call_counts(actor: Actor, period: BudgetPeriod, below: Mapping[int, frozenset[int]]) -> Exists:
    """Whether a session's latest call is one that the period's budget counts."""
    budget = period.budget
    rows = UsageEvent.objects.filter(organization=actor.organization, session=OuterRef("key"), occurred_at=OuterRef("last_at"))
    owners = {"project_id": budget.project_id, "member_id": budget.member_id, "api_key_id": budget.api_key_id, "task": period.task_key or None}
    rows = rows.filter(**{name: value for name, value in owners.items() if value is not None})
    if budget.team_id is not None:
        rows = rows.filter(team_id__in=below[budget.team_id])
    if budget.service_account_id is not None:
        keys = ApiKey.objects.filter(organization=actor.organization, service_account=budget.service_account_id)
        rows = rows.filter(api_key_id__in=keys.values("pk"))
    if not budget.counts_notional:
        rows = rows.filter(billing_mode=METERED)
    for place, (name, values) in enumerate(sorted(budget.filters.items())):
        if name.startswith(TAG):
            tag = f"tag_{place}"
            rows = rows.annotate(**{tag: KeyTextTransform(name.removeprefix(TAG), "tags")}).filter(**{f"{tag}__in": values})
        elif name == "team":
            rows = rows.filter(team_id__in={team for value in values for team in below.get(value, {value})})
        else:
            rows = rows.filter(**{f"{name}_id__in" if name in POOLS else f"{name}__in": values})
    return Exists(rows)


BELOW = """
WITH RECURSIVE down AS (
    SELECT session_key AS key FROM "freeze" WHERE organization_id = %(organization)s AND ended_at IS NULL AND scope_kind = 'session'
    UNION
    SELECT below.key FROM down CROSS JOIN LATERAL (
        SELECT s.key FROM session s WHERE s.organization_id = %(organization)s AND s.parent_key = down.key AND s.parent_key <> ''
        UNION ALL
        SELECT k.key FROM session_link k WHERE k.organization_id = %(organization)s AND k.parent_key = down.key OFFSET 0) below
)
SELECT key FROM down
"""


def frozen_from_above(actor: Actor) -> list[str]:
    """The sessions that are frozen, and all below them."""
    return [row.key for row in sql.rows(BELOW, {"organization": actor.organization.pk})]
