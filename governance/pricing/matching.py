"""Which provider and which model a reported name means: match rules compiled once, names tried in a documented order.

The order, for the provider: the names clients use (catalogue.json, `provider_aliases`), a provider's own name, its match rule.
`litellm` and the other neutral names say nothing about who bills; then a known provider's name before the first slash
decides, else the first provider whose rule claims the model name. For the model: the provider's own models, then those of
the providers it resells, then the same with a compact date (`-20251211`) written out, then without the provider's own prefix,
at last the catalogue's own name for the model, so that a rated call's names find its model again.
A name that no rule claims is not guessed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Generic, TypeVar

Matcher = Callable[[str], bool]
Entry = TypeVar("Entry")
RESOURCE = "models/"
COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def compile_rule(rule: Mapping[str, Any]) -> Matcher:
    """The match rule as a function of a lower-case name. Raises ValueError for an operator that does not exist."""
    ((operator, value),) = rule.items()
    if operator in ("or", "and"):
        return _combined(operator, [compile_rule(part) for part in value])
    if operator == "regex":
        pattern = re.compile(value)
        return lambda name: pattern.search(name) is not None
    wanted = value.lower()
    match operator:
        case "equals":
            return lambda name: name == wanted
        case "starts_with":
            return lambda name: name.startswith(wanted)
        case "ends_with":
            return lambda name: name.endswith(wanted)
        case "contains":
            return lambda name: wanted in name
    raise ValueError(f"no such match operator: {operator}")


def _combined(operator: str, parts: Sequence[Matcher]) -> Matcher:
    if operator == "or":
        return lambda name: any(part(name) for part in parts)
    return lambda name: all(part(name) for part in parts)


def names_in(rule: Mapping[str, Any]) -> Iterator[str]:
    """The names and parts of names that a match rule compares with, in lower case; patterns are left out."""
    for operator, value in rule.items():
        if operator in ("or", "and"):
            for part in value:
                yield from names_in(part)
        elif operator != "regex":
            yield value.lower()


@dataclass(slots=True)
class Candidate(Generic[Entry]):
    """A model's match rule and the catalogue's name for it, beside the model."""

    slug: str
    rule: Mapping[str, Any]
    entry: Entry


@dataclass
class Seller(Generic[Entry]):
    """A provider for matching: its names, rules, resold providers and models in the order they are tried."""

    slug: str
    match: Mapping[str, Any] | None
    model_match: Mapping[str, Any] | None
    fallbacks: Sequence[str]
    models: list[Candidate[Entry]] = field(default_factory=list)

    @cached_property
    def claims_name(self) -> Matcher:
        return compile_rule(self.match) if self.match else _never

    @cached_property
    def claims_model(self) -> Matcher:
        return compile_rule(self.model_match) if self.model_match else _never

    @cached_property
    def compiled(self) -> list[tuple[Matcher, Entry]]:
        return [(compile_rule(candidate.rule), candidate.entry) for candidate in self.models]

    @cached_property
    def by_slug(self) -> dict[str, Entry]:
        return {candidate.slug.lower(): candidate.entry for candidate in self.models}

    def model(self, name: str) -> Entry | None:
        """The first of its own models that goes by the name."""
        return next((entry for matches, entry in self.compiled if matches(name)), None)


def _never(_name: str) -> bool:
    return False


class Directory(Generic[Entry]):
    """All providers in the order they are tried, and the names that clients use for them."""

    def __init__(self, sellers: Sequence[Seller[Entry]], *, aliases: Mapping[str, str], neutral: frozenset[str]) -> None:
        self.sellers = {seller.slug: seller for seller in sellers}
        self.aliases = aliases
        self.neutral = neutral

    def provider(self, name: str) -> Seller[Entry] | None:
        """The provider that a reported name means; None for unknown and neutral names."""
        wanted = name.strip().lower()
        if wanted in self.neutral:
            return None
        if exact := self._by_slug(wanted):
            return exact
        return next((seller for seller in self.sellers.values() if seller.claims_name(wanted)), None)

    def find(self, provider: str, model: str) -> tuple[str, Entry] | None:
        """The provider that bills (its slug) and the model, or None when the names are not known or could mean several."""
        name = model.strip().lower()
        if provider.strip().lower() in self.neutral:
            seller, name = self._by_model(name)
        else:
            seller = self.provider(provider)
        if seller is None:
            return None
        found = next((entry for ref in self._spellings(seller, name) if (entry := self._sold_by(seller, ref)) is not None), None)
        if found is None:
            found = next((source.by_slug[name] for source in self._sources(seller) if name in source.by_slug), None)
        return None if found is None else (seller.slug, found)

    def _by_slug(self, name: str) -> Seller[Entry] | None:
        return self.sellers.get(self.aliases.get(name, name))

    def _by_model(self, name: str) -> tuple[Seller[Entry] | None, str]:
        prefix, slash, rest = name.partition("/")
        if slash and (named := self._by_slug(prefix)):
            return named, rest
        return next((seller for seller in self.sellers.values() if seller.claims_model(name)), None), name

    def _spellings(self, seller: Seller[Entry], name: str) -> Iterator[str]:
        yield name
        dated = COMPACT_DATE.sub(_dashed, name)
        if dated != name:
            yield dated
        prefix, slash, rest = name.partition("/")
        if slash and self._by_slug(prefix) is seller:
            yield rest
            yield COMPACT_DATE.sub(_dashed, rest)
        # Google's resource names: models/gemini-2.5-flash, publishers/google/models/gemini-2.5-flash.
        if RESOURCE in name:
            yield name.rpartition(RESOURCE)[2]

    def _sold_by(self, seller: Seller[Entry], name: str) -> Entry | None:
        return next((entry for source in self._sources(seller) if (entry := source.model(name)) is not None), None)

    def _sources(self, seller: Seller[Entry]) -> list[Seller[Entry]]:
        """The provider itself and those whose models it resells."""
        return [self.sellers[slug] for slug in (seller.slug, *seller.fallbacks) if slug in self.sellers]


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(part) for part in found.groups())
    try:
        return f"-{date(year, month, day).isoformat()}"
    except ValueError:
        return found.group(0)
