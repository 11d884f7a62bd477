"""Which provider and which model a reported name means: match rules compiled once, names tried in a documented order, each step said.

The order, for the provider: the names clients use (catalogue.json, `provider_aliases`), a provider's own name, its match rule.
`litellm` and the other neutral names say nothing about who bills; then a known provider's name before the first slash
decides, then Amazon's own form of name (`us.anthropic.…`), else the first provider whose rule claims the model name. For the
model: the provider's own models, then those of the providers it resells, then the same with a compact date (`-20251211`)
written out, without the provider's own prefix, without a region before it, at last the catalogue's own name for the model, so
that a rated call's names find its model again.

An ending that names a kind of call (`:batch`, `-fast`) is read before a rule that would take the name for the ordinary model,
unless the catalogue lists a model of just that name. A name that no rule claims is not guessed: it is listed with the models
that it could mean, and somebody decides.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, TypeVar

from governance.pricing.naming import AWS_NAME, OWN_HARDWARE, ending_of, family_key, fine_tuned, placed, spellings

Matcher = Callable[[str], bool]
Entry = TypeVar("Entry")
UNKNOWN = "no price for this model"
UNCERTAIN = "the name could mean several models"
FINE_TUNE = "a fine-tune has a price of its own"
ON_OWN_HARDWARE = "it runs on own hardware, which no price list prices"


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

    @cached_property
    def literals(self) -> frozenset[str]:
        """Every name that its catalogue spells out: those of models, and those that its rules compare with."""
        return frozenset(name for candidate in self.models for name in (candidate.slug.lower(), *names_in(candidate.rule)))

    def model(self, name: str) -> Entry | None:
        """The first of its own models that goes by the name."""
        return next((entry for matches, entry in self.compiled if matches(name)), None)


def _never(_name: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Match(Generic[Entry]):
    """What a pair of reported names means. `entry` None: nothing, or not certainly; `reason` and `candidates` then say why, and what it could be.

    `kind` is a kind of call that the name says (batch, fast, flex, priority), `region` where it was served; `steps` are how the
    names were read, in sentences.
    """

    provider: str
    entry: Entry | None
    kind: str = ""
    region: str = ""
    steps: tuple[str, ...] = ()
    reason: str = ""
    candidates: tuple[Entry, ...] = ()


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
        found = self.resolve(provider, model)
        return None if found.entry is None else (found.provider, found.entry)

    def resolve(self, provider: str, model: str) -> Match[Entry]:
        """What the names mean, step by step, or why that is not certain."""
        name = model.strip().lower()
        reported = provider.strip().lower()
        if reported in OWN_HARDWARE or (reported in self.neutral and name.partition("/")[0] in OWN_HARDWARE):
            return Match(provider, None, reason=ON_OWN_HARDWARE)
        if reported in self.neutral:
            seller, name, why = self._by_model(name)
        else:
            seller, why = self.provider(provider), f"“{provider.strip()}” is {{}}."
        if seller is None:
            return self._unbilled(provider, name, is_neutral=reported in self.neutral)
        return self._at(seller, name, steps=(why.format(seller.slug),))

    def candidates(self, name: str) -> tuple[Entry, ...]:
        """The models of any provider whose name is the same when all that providers add to it is taken off."""
        return self._families.get(family_key(name), ()) if name else ()

    @cached_property
    def _families(self) -> dict[str, tuple[Entry, ...]]:
        found: dict[str, tuple[Entry, ...]] = {}
        for seller in self.sellers.values():
            for candidate in seller.models:
                key = family_key(candidate.slug)
                found[key] = (*found.get(key, ()), candidate.entry)
        return found

    def _unbilled(self, provider: str, name: str, *, is_neutral: bool) -> Match[Entry]:
        """Nobody is known who bills for it. A provider that is named and not known may sell the model at any price."""
        ending = ending_of(name)
        could = self.candidates(name) or self.candidates(ending.base if ending else fine_tuned(name))
        return Match(provider, None, reason=UNCERTAIN if is_neutral and could else UNKNOWN, candidates=could)

    def _at(self, seller: Seller[Entry], name: str, *, steps: tuple[str, ...]) -> Match[Entry]:
        """What the name means at this provider."""
        ending = ending_of(name)
        if ending is not None and not self._is_listed(seller, name):
            base = self._plainly(seller, ending.base, steps)
            if base.entry is not None and ending.routed:
                why = f"“:{ending.ending}” asks for {ending.routed}: another price than the model's own"
                return replace(base, entry=None, reason=why, candidates=(base.entry,))
            if base.entry is not None and ending.kind:
                return replace(base, kind=ending.kind, steps=(*base.steps, f"“{ending.ending}” at the end is a kind of call with a price of its own."))
            if base.entry is not None and self._first(seller, name) is None:
                return replace(base, steps=(*base.steps, f"“{ending.ending}” at the end changes nothing about the price."))
        found = self._plainly(seller, name, steps)
        return found if found.entry is not None else self._unfound(seller, found, name)

    def _plainly(self, seller: Seller[Entry], name: str, steps: tuple[str, ...]) -> Match[Entry]:
        """By rules and by the catalogue's names, with nothing read into the end of the name."""
        unprefixed = self._unprefixed(seller, name)
        bare, region = placed(unprefixed)
        for tried, where in ((name, ""), (unprefixed, ""), (bare, region)):
            found = self._first(seller, tried)
            if found is not None:
                entry, spelt, source = found
                said = [f"“{spelt}” is one of the names of a model of {source.slug}."]
                if source is not seller:
                    said.append(f"{seller.slug} sells it at the list of {source.slug}.")
                if where:
                    said.append(f"“{where}” before it is where it was served.")
                return Match(seller.slug, entry, region=where, steps=(*steps, *said))
        return Match(seller.slug, None, region=region, steps=steps)

    def _unfound(self, seller: Seller[Entry], found: Match[Entry], name: str) -> Match[Entry]:
        """A fine-tune has a price of its own; anything else this provider does not sell by a name that is known."""
        base = fine_tuned(self._unprefixed(seller, name))
        if base:
            tuned = self._first(seller, f"ft:{base}")
            if tuned is not None:
                return replace(found, entry=tuned[0], steps=(*found.steps, f"It is a fine-tune of {base}, which has a price as such."))
            origin = self._first(seller, base)
            return replace(found, reason=FINE_TUNE, candidates=() if origin is None else (origin[0],))
        return replace(found, reason=UNKNOWN, candidates=self.candidates(name))

    def _first(self, seller: Seller[Entry], name: str) -> tuple[Entry, str, Seller[Entry]] | None:
        """The first model that goes by a spelling of the name, that spelling, and whose model it is."""
        sources = self._sources(seller)
        for spelt in spellings(name):
            for source in sources:
                if (entry := source.model(spelt)) is not None:
                    return entry, spelt, source
        return next(((source.by_slug[name], name, source) for source in sources if name in source.by_slug), None)

    def _is_listed(self, seller: Seller[Entry], name: str) -> bool:
        """Whether a model is listed under just this name, not only caught by a rule for names that begin like it or hold it."""
        tried = (name, self._unprefixed(seller, name), placed(self._unprefixed(seller, name))[0])
        return any(spelt in source.literals for source in self._sources(seller) for one in tried for spelt in spellings(one))

    def _by_slug(self, name: str) -> Seller[Entry] | None:
        return self.sellers.get(self.aliases.get(name, name))

    def _by_model(self, name: str) -> tuple[Seller[Entry] | None, str, str]:
        """Who bills by the name of the model alone, the rest of the name, and why."""
        prefix, slash, rest = name.partition("/")
        if slash and (named := self._by_slug(prefix)):
            return named, rest, f"“{prefix}/” before the name is {{}}."
        if AWS_NAME.match(name) and (amazon := self._by_slug("aws")):
            return amazon, name, "Amazon Bedrock ({}) names models in this form."
        if name.startswith("ft:") and (openai := self._by_slug("openai")):
            return openai, name, "{} names fine-tunes in this form."
        seller = next((seller for seller in self.sellers.values() if seller.claims_model(name)), None)
        return seller, name, "Nothing says who bills; names like this are those of {}."

    def _unprefixed(self, seller: Seller[Entry], name: str) -> str:
        """The name without the provider's own name before it."""
        prefix, slash, rest = name.partition("/")
        return rest if slash and self._by_slug(prefix) is seller else name

    def _sources(self, seller: Seller[Entry]) -> list[Seller[Entry]]:
        """The provider itself and those whose models it resells."""
        return [self.sellers[slug] for slug in (seller.slug, *seller.fallbacks) if slug in self.sellers]
