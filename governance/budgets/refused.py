"""Reads of refused calls: how many since when, of periods, freezes and sessions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Min, QuerySet, Sum

from governance.budgets.models import Refusal
from governance.tenancy.access import Actor, scoped


@dataclass(frozen=True, slots=True)
class Refused:
    """So many calls were refused, the first and the last at these instants."""

    calls: int
    since: datetime
    last_at: datetime


def refused_by_periods(actor: Actor, period_ids: Iterable[int]) -> Mapping[int, Refused]:
    """By period, of those that refused any."""
    return _by(scoped(actor, Refusal.objects.filter(period__in=list(period_ids))), "period_id")


def refused_by_freezes(actor: Actor, freeze_ids: Iterable[int]) -> Mapping[int, Refused]:
    """By freeze, of those that refused any."""
    return _by(scoped(actor, Refusal.objects.filter(freeze__in=list(freeze_ids))), "freeze_id")


def refused_of_session(actor: Actor, session_key: str) -> Refused | None:
    """Of a session, by whatever stood against it. None: none was."""
    return _by(scoped(actor, Refusal.objects.filter(session_key=session_key).exclude(session_key="")), "session_key").get(session_key)


def _by(rows: QuerySet[Refusal], column: str) -> Mapping[Any, Refused]:
    found = rows.order_by().values_list(column).annotate(Sum("calls"), Min("first_at"), Max("last_at"))
    return {key: Refused(calls, since, last_at) for key, calls, since, last_at in found}
