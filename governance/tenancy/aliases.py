"""The names by which usage knows people: each leads to one member of the organization."""

from collections.abc import Iterable

from governance.errors import Conflict, Invalid
from governance.tenancy.models import Member, Organization

MOST_ALIASES = 50
LONGEST_ALIAS = 254


def aliases_checked(organization: Organization, aliases: Iterable[str], *, member: Member | None = None) -> list[str]:
    """The names as they are kept. Raises Invalid, and Conflict for one that another member goes by."""
    found = {alias.strip().lower(): alias.strip() for alias in aliases if alias.strip()}
    if len(found) > MOST_ALIASES:
        raise Invalid(f"A member has at most {MOST_ALIASES} other names.", field="aliases")
    if any(len(alias) > LONGEST_ALIAS or not alias.isprintable() for alias in found):
        raise Invalid(f"A name has at most {LONGEST_ALIAS} characters, without line breaks.", field="aliases")
    others = Member.objects.filter(organization=organization).select_related("user")
    if not found:
        return []
    for other in others.exclude(pk=member.pk) if member is not None else others:
        if taken := found.keys() & {other.user.email.lower(), *(alias.lower() for alias in other.aliases)}:
            raise Conflict(f"{other} goes by {min(taken)} already.", field="aliases", member=other.pk)
    return list(found.values())
