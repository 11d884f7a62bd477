"""Whether anything has been counted for an organization: asked of the floor above, which registers the answer here."""

from collections.abc import Callable

from governance.tenancy.models import Organization

Question = Callable[[Organization], bool]
_registered: list[Question] = []


def register(question: Question) -> None:
    """Makes known who can tell; called once when the applications are ready."""
    _registered[:] = [question]


def is_counted(organization: Organization) -> bool:
    """Whether the organization has usage. Raises LookupError when no floor above can tell."""
    if not _registered:
        raise LookupError("nobody is registered who knows of usage")
    return _registered[0](organization)
