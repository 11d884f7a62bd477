"""The pages a person may go to: the navigation, its key letters and the search palette use the same list."""

from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse

from governance.approvals import selectors as approvals
from governance.tenancy.access import Actor, Right

# (group, [(url name, label, key after g, rights of which one is needed, on the phone's bar)])
PAGES: tuple[tuple[str, tuple[tuple[str, str, str, frozenset[Right], bool], ...]], ...] = (
    (
        "",
        (
            ("overview", "Overview", "o", frozenset({Right.VIEW_SPEND}), True),
            ("spend", "Spend", "s", frozenset({Right.VIEW_SPEND}), False),
            ("routing", "Routing", "r", frozenset({Right.VIEW_SPEND}), False),
            ("lockin", "Lock-in", "l", frozenset({Right.VIEW_SPEND}), False),
            ("prices", "Prices", "p", frozenset(), False),
        ),
    ),
    (
        "Control",
        (
            ("sessions", "Sessions", "e", frozenset(), True),
            ("approvals", "Approvals", "a", frozenset(), True),
            ("budgets", "Budgets", "b", frozenset(), False),
            ("freezes", "Freezes", "z", frozenset(), False),
        ),
    ),
    (
        "You",
        (
            ("my-usage", "My usage", "m", frozenset(), True),
            ("settings", "Settings", "t", frozenset({Right.MANAGE_ORGANIZATION, Right.VIEW_AUDIT}), False),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of the navigation."""

    name: str
    label: str
    key: str
    href: str
    is_current: bool
    is_primary: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Entries under one heading."""

    label: str
    links: tuple[Link, ...]


def groups(actor: Actor, path: str = "") -> list[Group]:
    """What the actor may open, with the number of requests that wait beside Approvals."""
    found = []
    for label, pages in PAGES:
        links = tuple(link for page in pages if (link := _link(actor, path, *page)))
        if links:
            found.append(Group(label, links))
    return found


def _link(actor: Actor, path: str, name: str, label: str, key: str, rights: frozenset[Right], is_primary: bool) -> Link | None:  # noqa: PLR0917
    if rights and not rights & actor.rights:
        return None
    try:
        href = reverse(name, args=[actor.organization.slug])
    except NoReverseMatch:
        return None
    count = approvals.pending_count(actor) if name == "approvals" else 0
    return Link(name, label, key, href, _is_current(name, href, path), is_primary, count)


def _is_current(name: str, href: str, path: str) -> bool:
    return path == href if name == "overview" else path.startswith(href.rstrip("/"))
