"""Terms, prices and exchange rates that begin in the past: told to the floor above, which knows the calls since and registers here."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import timezone

from governance.periods import local_midnight
from governance.pricing.book import current_book
from governance.pricing.contracts import Term
from governance.tenancy.models import Organization, Team


@dataclass(frozen=True, slots=True)
class Late:
    """What was made known after it began. No provider, no models and no team mean any; [starts_at, ends_at) is not after now."""

    organization: Organization
    reason: str
    starts_at: datetime
    ends_at: datetime
    provider: str = ""
    models: Sequence[str] = ()
    team: Team | None = None


MOST_MODELS = 50
# What ends or begins "now" does so while the change is being made.
AT_ONCE = timedelta(minutes=1)
_registered: list[Callable[[Late], object]] = []


def register(listener: Callable[[Late], object]) -> None:
    """Makes known who is told, in the transaction of the change; called once when the applications are ready."""
    _registered[:] = [listener]


def late_tell(late: Late) -> None:
    """Tells of it, where it does begin in the past."""
    if late.ends_at - late.starts_at > AT_ONCE:
        for listener in _registered:
            listener(late)


def term_tell(term: Term, *, since: datetime, what: str) -> None:
    """Tells that a term holds otherwise since an instant: it was added, or ended."""
    now, day = timezone.now(), since.astimezone(term.organization.zone).date()
    until = min(term.valid_to, now) if term.valid_to is not None and term.valid_to > since else now
    late_tell(
        Late(term.organization, f"“{term.name}” {what} {day}", since, until, term.provider, (term.model,) if term.model else (), term.team)
    )


def rates_tell(organization: Organization, currencies: Iterable[str], *, since: date, reason: str) -> None:
    """Tells that calls priced in one of the currencies convert otherwise since a local day. Nothing, where no price is in any."""
    wanted = set(currencies) - {organization.currency}
    models = {model.slug for model in current_book().models() if any(row.currency in wanted for row in model.rows)}
    named = Term.objects.filter(organization=organization, currency__in=wanted).exclude(rates={})
    models |= set(named.values_list("model", flat=True))
    if models:
        starts_at = local_midnight(since, organization.zone)
        late_tell(Late(organization, reason, starts_at, timezone.now(), models=sorted(models) if len(models) <= MOST_MODELS else ()))
