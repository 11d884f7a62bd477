"""Brings the book to what a listing says: applies what is sound, keeps the rest waiting, and remembers what each source says.

Called inside a transaction that holds the lock on the book.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from governance.pricing import load
from governance.pricing.book import Book, book_load
from governance.pricing.models import Model, PriceRow, Provider
from governance.pricing.sources import genai
from governance.pricing.sources.rows import Listing, SourceModel, SourceProvider
from governance.pricing.sync.compare import ModelDiff, Standing, model_diff, model_digest, ordinary_beside, rates_now, step_lines
from governance.pricing.sync.models import PriceFinding, SourceQuote
from governance.pricing.sync.suspicion import Rates, suspicions
from governance.pricing.sync.trust import Trust, trust_read

# Models that no catalogue orders are tried after all that one does.
LAST = 1_000_000
State = PriceFinding.State
Kind = PriceFinding.Kind


@dataclass
class Laid:
    """What came of it: findings to be kept with the run, rows added and closed, and whether the book's readers have to read it again."""

    findings: list[PriceFinding] = field(default_factory=list)
    added: list[PriceRow] = field(default_factory=list)
    closed: list[PriceRow] = field(default_factory=list)
    held: int = 0
    models_added: int = 0
    is_catalogue_written: bool = False
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def is_changed(self) -> bool:
        return bool(self.added or self.closed or self.models_added or self.is_catalogue_written)


@dataclass(frozen=True, slots=True)
class Said:
    """A model of the listing, and which model of the catalogue it is (None: not there yet)."""

    provider: str
    model: SourceModel
    key: int | None
    is_exact: bool
    is_new: bool


class Laying:
    """One listing on its way into the book."""

    def __init__(self, listing: Listing, *, source: str, now: datetime, writes_catalogue: bool = False, lists_all: bool = True) -> None:
        self.listing, self.source, self.now = listing, source, now
        self.writes_catalogue = writes_catalogue or source == genai.SOURCE
        # An own list may name a few models only; what it does not name has not vanished.
        self.lists_all = lists_all
        self.laid = Laid()
        self.trust: Trust = trust_read()
        self.is_first = not Model.objects.exists()

    def lay(self) -> Laid:
        """Does it all."""
        said = self._catalogued() if self.writes_catalogue else self._recognised()
        self.rows = load.existing_rows()
        self.quotes = quotes_now()
        self.open_findings = findings_undecided(self.source)
        for each in said:
            self._take(each)
        self._note_vanished({each.key for each in said})
        self._write_quotes(said)
        PriceRow.objects.bulk_create(self.laid.added, batch_size=load.BATCH)
        PriceRow.objects.bulk_update(self.laid.closed, ["valid_to"], batch_size=load.BATCH)
        return self.laid

    def _catalogued(self) -> list[Said]:
        """The models of the list that is the catalogue's own: its names, rules and facts are taken as they are."""
        known = set(Model.objects.values_list("provider__slug", "slug"))
        provider_ids = load.providers_write(self.listing.providers)
        keys = load.models_write(self.listing.providers, provider_ids)
        self.laid.is_catalogue_written = True
        return [
            Said(provider.slug, model, keys[provider_ids[provider.slug], model.slug], True, (provider.slug, model.slug) not in known)
            for provider in self.listing.providers
            for model in provider.models
        ]

    def _recognised(self) -> list[Said]:
        """The models of any other list: those the book knows by the name, and those it does not know. Exact names go first."""
        _, book = book_load()
        keys = {(provider, slug): key for key, provider, slug in Model.objects.values_list("id", "provider__slug", "slug")}
        found: dict[tuple[str, str], Said] = {}
        for provider in self.listing.providers:
            for model in provider.models:
                said = self._recognise(book, provider.slug, model, keys)
                if said is None:
                    continue
                place = (said.provider, said.model.slug if said.key is None else str(said.key))
                if place not in found or (said.is_exact and not found[place].is_exact):
                    found[place] = said
        created = self._create([said for said in found.values() if said.key is None])
        return [created.get((said.provider, said.model.slug), said) for said in found.values()]

    def _recognise(self, book: Book, provider: str, model: SourceModel, keys: Mapping[tuple[str, str], int]) -> Said | None:
        own = keys.get((provider, model.slug))
        if own is not None:
            return Said(provider, model, own, True, False)
        entry = book.entry(provider, model.slug)
        if entry is None:
            return Said(provider, model, None, True, True)
        if entry.provider != book.provider_of(provider, model.slug):
            self.laid.left_out["sold on at the maker's price"] += 1
            return None
        return Said(entry.provider, model, keys[entry.provider, entry.slug], entry.slug.lower() == model.slug.lower(), False)

    def _create(self, said: Sequence[Said]) -> dict[tuple[str, str], Said]:
        """Adds the models nobody doubts; the doubtful wait without a place in the catalogue."""
        sound = [each for each in said if not doubts_about_new(each.model)]
        made = models_create([(each.provider, each.model) for each in sound], {p.slug: p for p in self.listing.providers})
        self.laid.models_added = len(made)
        return {
            (each.provider, each.model.slug): Said(each.provider, each.model, made[each.provider, each.model.slug], True, True)
            for each in sound
        }

    def _take(self, said: Said) -> None:
        """Compares one model and decides: applied, waiting, or only a quote."""
        if said.key is None:
            odd = doubts_about_new(said.model)
            finding = self._finding(said, kind=Kind.NEW_MODEL.value, suspicions=odd, steps=_first_lines(said.model))
            self._keep(finding, said, is_sound=False)
            return
        if not said.is_exact:
            return
        rows, quotes = self.rows[said.key], self._others(said.key)
        diff = model_diff(said.model, source=self.source, standing=Standing(rows, quotes, said.provider), trust=self.trust, now=self.now)
        self.laid.held += diff.held
        if diff.is_empty:
            self._overtake(said)
            return
        finding = self._finding(
            said,
            kind=Kind.NEW_MODEL.value if said.is_new else diff.kind,
            suspicions=diff.suspicions,
            steps=diff.lines,
            change=diff.change,
            valid_from=diff.valid_from,
            announced_at=diff.announced_at,
            is_back_dated=diff.is_back_dated,
        )
        is_sound = self.is_first or not diff.suspicions
        if self._keep(finding, said, is_sound=is_sound) and is_sound:
            self._apply(said.key, diff)

    def _others(self, key: int) -> dict[str, Rates]:
        return {source: quote.rates for source, quote in self.quotes[key].items() if source != self.source and quote.is_exact}

    def _finding(self, said: Said, **fields: Any) -> PriceFinding:
        return PriceFinding(
            provider=said.provider, slug=said.model.slug, model_id=said.key, digest=model_digest(said.model), state=State.APPLIED, **fields
        )

    def _keep(self, finding: PriceFinding, said: Said, *, is_sound: bool) -> bool:
        """Keeps the finding, except on the first reading of all, and where the same was asked before. Returns whether it is new."""
        before = self.open_findings.get((said.provider, said.model.slug))
        if not is_sound:
            if before is not None and before.digest == finding.digest:
                return False
            finding.state, finding.says = State.WAITING, says_of(said.model, self._provider(said.provider))
        if before is not None and before.state == State.WAITING:
            self._overtake(said)
        if not self.is_first:
            self.laid.findings.append(finding)
        return True

    def _overtake(self, said: Said) -> None:
        """A finding that waits is over when the source says something else, or what the book says."""
        before = self.open_findings.get((said.provider, said.model.slug))
        if before is not None and before.state == State.WAITING:
            before.state, before.decided_at = State.OVERTAKEN, self.now
            before.save(update_fields=["state", "decided_at"])

    def _provider(self, slug: str) -> SourceProvider | None:
        return next((provider for provider in self.listing.providers if provider.slug == slug), None)

    def _apply(self, key: int, diff: ModelDiff) -> None:
        diff_apply(diff, key=key, source=self.source, added=self.laid.added, closed=self.laid.closed)

    def _note_vanished(self, listed: set[int | None]) -> None:
        """Models the source listed and does not list any more: what rates them stays."""
        if not self.lists_all:
            return
        gone = [quote for quotes in self.quotes.values() if (quote := quotes.get(self.source)) is not None and quote.model_id not in listed]
        SourceQuote.objects.filter(pk__in=[quote.pk for quote in gone]).update(seen_to=self.now)
        for model in Model.objects.filter(pk__in=[quote.model_id for quote in gone]).select_related("provider"):
            if any(row.source == self.source and row.valid_to is None for row in self.rows[model.pk]):
                self.laid.findings.append(
                    PriceFinding(provider=model.provider.slug, slug=model.slug, model=model, kind=Kind.VANISHED.value, state=State.NOTED)
                )

    def _write_quotes(self, said: Iterable[Said]) -> None:
        fresh: list[SourceQuote] = []
        over: list[int] = []
        for each in said:
            if each.key is None:
                continue
            digest, before = model_digest(each.model), self.quotes[each.key].get(self.source)
            rates, currency = rates_now(each.model, self.now)
            if before is not None:
                if (before.digest, before.rates, before.currency) == (digest, rates, currency):
                    continue
                over.append(before.pk)
            fresh.append(
                SourceQuote(
                    source=self.source, model_id=each.key, name=each.model.slug, is_exact=each.is_exact, rates=rates, currency=currency,
                    digest=digest, seen_from=self.now,
                )
            )  # fmt: skip
        SourceQuote.objects.filter(pk__in=over).update(seen_to=self.now)
        SourceQuote.objects.bulk_create(fresh, batch_size=load.BATCH)


def diff_apply(diff: ModelDiff, *, key: int, source: str, added: list[PriceRow], closed: list[PriceRow]) -> None:
    """Gathers the rows to add and the open rows to close."""
    for chain in diff.chains:
        added += [load.price_row(step, key=key, source=source) for step in chain.steps]
        for row, end in chain.ends:
            row.valid_to = end
            closed.append(row)


def quotes_now(*, model: int | None = None) -> defaultdict[int, dict[str, SourceQuote]]:
    """What every source says now, by model and source; of one model or of all."""
    found: defaultdict[int, dict[str, SourceQuote]] = defaultdict(dict)
    rows = SourceQuote.objects.filter(seen_to=None)
    for quote in rows if model is None else rows.filter(model=model):
        found[quote.model_id][quote.source] = quote
    return found


def findings_undecided(source: str) -> dict[tuple[str, str], PriceFinding]:
    """The newest finding of each model that waits or was rejected."""
    rows = PriceFinding.objects.filter(run__source=source, state__in=[State.WAITING, State.REJECTED]).defer("says").order_by("id")
    return {(row.provider, row.slug): row for row in rows}


def doubts_about_new(model: SourceModel) -> list[str]:
    """What is odd about a model nobody has seen before."""
    found = {
        doubt for row in model.rows for doubt in suspicions(row.rates, old=None, currency=row.currency, ordinary=ordinary_beside(model, row))
    }
    return sorted(found)


def models_create(wanted: Sequence[tuple[str, SourceModel]], named: Mapping[str, SourceProvider]) -> dict[tuple[str, str], int]:
    """Adds models and the providers that are new, after all that the catalogue orders."""
    slugs = {provider for provider, _ in wanted}
    known = dict(Provider.objects.values_list("slug", "id"))
    fresh = [Provider(slug=slug, name=named[slug].name if slug in named else slug, position=LAST) for slug in sorted(slugs - known.keys())]
    Provider.objects.bulk_create(fresh)
    known |= {provider.slug: provider.pk for provider in fresh}
    rows = [load.model_row(model, provider=provider, provider_id=known[provider], position=LAST) for provider, model in wanted]
    Model.objects.bulk_create(rows, batch_size=load.BATCH)
    return {(provider, model.slug): row.pk for (provider, model), row in zip(wanted, rows, strict=True)}


def says_of(model: SourceModel, provider: SourceProvider | None) -> dict[str, Any]:
    """What is needed to apply it later."""
    return {"name": provider.name if provider else "", "model": msgspec.to_builtins(model)}


def _first_lines(model: SourceModel) -> list[dict[str, Any]]:
    return [line for row in model.rows for line in step_lines(row, None)]
