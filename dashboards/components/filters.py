"""The filter bar: what a page is narrowed down to, kept in the address as repeated parameters (?team=3&team=5)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.http import QueryDict

NOT_FILTERS = frozenset({"page", "format", "table"})


@dataclass(frozen=True, slots=True)
class Option:
    """One value that may be chosen."""

    value: str
    label: str
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """One dimension: its parameter in the address, its name, its options with the chosen ones marked."""

    param: str
    name: str
    options: tuple[Option, ...]

    @property
    def chosen(self) -> tuple[str, ...]:
        return tuple(option.value for option in self.options if option.is_chosen)

    @property
    def summary(self) -> str:
        """What the closed pill says: "All teams", "Platform", "3 teams"."""
        labels = [option.label for option in self.options if option.is_chosen]
        if not labels:
            return f"All {self.name}"
        return labels[0] if len(labels) == 1 else f"{len(labels)} {self.name}"


@dataclass(frozen=True, slots=True)
class FilterBar:
    """The filters of a page, and the other parameters that its form must carry on."""

    filters: tuple[Filter, ...]
    carried: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_query(cls, query: QueryDict, dimensions: Sequence[tuple[str, str, Iterable[tuple[object, str]]]]) -> "FilterBar":
        """Dimensions are (parameter, plural name, [(value, label), …]). Values in the address that are no option are ignored."""
        filters = tuple(_filter(query, *dimension) for dimension in dimensions)
        own = {entry.param for entry in filters} | NOT_FILTERS
        carried = tuple((key, value) for key, values in query.lists() if key not in own and not key.endswith("-page") for value in values)
        return cls(filters, carried)

    @property
    def chosen(self) -> dict[str, tuple[str, ...]]:
        """{parameter: chosen values}, only where something is chosen."""
        return {entry.param: entry.chosen for entry in self.filters if entry.chosen}


def _filter(query: QueryDict, param: str, name: str, options: Iterable[tuple[object, str]]) -> Filter:
    wanted = set(query.getlist(param))
    return Filter(param, name, tuple(Option(str(value), label, str(value) in wanted) for value, label in options))
