"""Finds models of the book by what people type: parts of names, aliases, makers, providers. In memory, over thousands of models."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from governance.pricing.book import Book, CatalogueModel

# What people type without the signs between: gpt5, glm45, gpt4o.
RUN_TOGETHER = re.compile(r"[a-z]{1,30}[0-9][0-9.]{0,5}[a-z]{0,30}")
Indexed = tuple[str, CatalogueModel]
_indexes: WeakKeyDictionary[Book, list[Indexed]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list of models is narrowed to; an empty collection lets everything through. Weights: "open", "closed", "" for not known."""

    text: str = ""
    providers: Sequence[str] = field(default=())
    makers: Collection[str] = field(default=())
    tiers: Collection[str] = field(default=())
    weights: Collection[str] = field(default=())


def models_search(book: Book, wanted: Wanted) -> list[CatalogueModel]:
    """The models whose names hold every word of the text, the closest first: the name itself, then what begins with it, then the rest."""
    words = wanted.text.lower().split()
    patterns = [_loosely(word) for word in words]
    found = [
        model for text, model in _index(book)
        if all(word in text or (loosely is not None and loosely.search(text)) for word, loosely in zip(words, patterns, strict=True)) and _passes(model, wanted)
    ]  # fmt: skip
    if not words:
        return found
    whole = " ".join(words)
    return sorted(found, key=lambda model: _distance(model, whole))


def _loosely(word: str) -> re.Pattern[str] | None:
    """Finds `gpt-5` and `k2.5` by gpt5 and k25; None for a word that is no letters with digits after them."""
    if not RUN_TOGETHER.fullmatch(word):
        return None
    return re.compile(r"(?<![a-z])" + "[-._ ]?".join(re.findall(r"[a-z]+|[0-9]", word)))


def weights_of_model(model: CatalogueModel) -> str:
    """`open` or `closed`; empty when that is not known."""
    return "" if model.has_open_weights is None else "open" if model.has_open_weights else "closed"


def _index(book: Book) -> list[Indexed]:
    """Every model beside the text it is found by, by provider and name. Made once for each book."""
    if book not in _indexes:
        ordered = sorted(book.models(), key=lambda model: (model.provider, model.slug.lower()))
        _indexes[book] = [(_text_of(model), model) for model in ordered]
    return _indexes[book]


def _text_of(model: CatalogueModel) -> str:
    parts: Iterable[str] = (model.slug, model.name, model.provider, f"{model.provider}/{model.slug}", model.maker, *model.names)
    return "\n".join(parts).lower()


def _passes(model: CatalogueModel, wanted: Wanted) -> bool:
    return (
        (not wanted.providers or model.provider in wanted.providers)
        and (not wanted.makers or model.maker in wanted.makers)
        and (not wanted.tiers or model.tier in wanted.tiers)
        and (not wanted.weights or weights_of_model(model) in wanted.weights)
    )


def _distance(model: CatalogueModel, text: str) -> tuple[int, bool, int, str, str]:
    slug = model.slug.lower()
    if text in (slug, f"{model.provider}/{slug}"):
        rank = 0
    elif text in model.names:
        rank = 1
    elif slug.startswith(text):
        rank = 2
    else:
        rank = 3 if text in slug else 4
    return rank, model.is_deprecated, len(slug), slug, model.provider
