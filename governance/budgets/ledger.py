"""The way down from budgets to the events they are the sum of, without an import upwards: the floor above registers itself here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from governance.budgets.calls import Call
from governance.budgets.rules import Rule
from governance.tenancy.directory import Directory


@dataclass(frozen=True, slots=True)
class LedgerSum:
    """What the events in a budget's scope and window add up to, in its measure; one for each session or task where it is a template."""

    session_key: str
    amount: Decimal
    calls: int
    last_at: datetime
    task_key: str = ""
    # Of a rolling budget: the quarter hour.
    slice_at: datetime | None = None


class Ledger(Protocol):
    """Adds up events."""

    def sums(self, directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None) -> Sequence[LedgerSum]:
        """The events the rule counts in [starts_at, ends_at), of a rolling one by quarter hour. Empty when there are none."""

    def latest_call(self, organization_id: int, session_key: str, *, at: datetime) -> Call | None:
        """The session's call of this instant, its latest, with all that budgets look at. None where the event is kept no longer."""

    def course(
        self, directory: Directory, rule: Rule, *, starts_at: datetime, ends_at: datetime | None, step: Literal["hour", "day"]
    ) -> Mapping[datetime, Decimal]:
        """What the rule counts in [starts_at, ends_at) by the instant that each local hour or day began at, in its measure."""


_registered: list[Ledger] = []


def register(ledger: Ledger) -> None:
    """Makes the ledger known; called once when the applications are ready."""
    _registered[:] = [ledger]


def ledger() -> Ledger:
    """The registered ledger. Raises LookupError when no floor above has one."""
    if not _registered:
        raise LookupError("no ledger is registered")
    return _registered[0]
