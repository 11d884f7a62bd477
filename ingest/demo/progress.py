"""How much of a demo organization's history is there while it is being loaded."""

from dataclasses import dataclass

from django.db.models import Sum

from governance.audit.models import AuditRecord
from governance.tenancy.models import Organization
from ingest.models import UsageRollupDay

LOADED = "demo.loaded"
COMPLETED = "demo.completed"

# Organizations whose history is known to be whole: it does not become less again, so nothing is asked twice.
_whole: set[int] = set()


@dataclass(frozen=True, slots=True)
class Progress:
    """So many calls of those the plan has."""

    calls: int
    planned: int

    def __str__(self) -> str:
        return f"{self.calls:,} of {self.planned:,}"


def demo_progress(organization: Organization) -> Progress | None:
    """How far the history is; None when it is whole, or the organization is no demo or was never loaded.

    It is read from what is stored, so it holds for a load that goes on as for one that was broken off.
    """
    if not organization.is_demo or organization.pk in _whole:
        return None
    rows = AuditRecord.objects.filter(organization=organization, action__in=(LOADED, COMPLETED)).order_by("pk")
    notes = {row.action: row.new or {} for row in rows}
    if LOADED not in notes:
        return None
    planned = int(notes[LOADED]["events"])
    if COMPLETED not in notes:
        calls = UsageRollupDay.objects.filter(organization=organization).aggregate(total=Sum("calls"))["total"] or 0
        if calls < planned:
            return Progress(calls, planned)
    _whole.add(organization.pk)
    return None
