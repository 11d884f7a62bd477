"""Writes that come of price sources: reading one, deciding what waits, setting whom to believe and what is read daily."""

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from celery import current_app
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from governance.errors import Conflict, DomainError, Invalid, NotFound
from governance.notices.addresses import Unreachable
from governance.pricing import load
from governance.pricing.changing import book_advance, book_audit, book_lock, may_change_prices
from governance.pricing.models import Model, PriceRow, Provider
from governance.pricing.sources import genai, litellm, openrouter, own
from governance.pricing.sources.fetch import fetch
from governance.pricing.sources.rows import Listing, SourceModel
from governance.pricing.sync.compare import ModelDiff, Standing, model_diff
from governance.pricing.sync.laying import Laid, Laying, diff_apply, models_create, quotes_now
from governance.pricing.sync.models import PriceFinding, PriceRun, SourceSetting, SourceTrust
from governance.pricing.sync.suspicion import WORDS
from governance.pricing.sync.trust import DEFAULT, trust_read
from governance.tenancy.access import Actor

log = logging.getLogger(__name__)

# A list that names less than this share of what it named is broken rather than short.
LEAST_SHARE = 0.5
FEW = 20
LONGEST_PROBLEM = 1000
Kind = PriceFinding.Kind
State = PriceFinding.State


@dataclass(frozen=True, slots=True)
class Online:
    """A source that is read from an address."""

    slug: str
    label: str
    address: str
    read: Callable[[bytes], Listing]


ONLINE = {
    source.slug: source
    for source in (
        Online(genai.SOURCE, "genai-prices", genai.ADDRESS, genai.read),
        Online(openrouter.SOURCE, "OpenRouter", openrouter.ADDRESS, openrouter.read),
        Online(litellm.SOURCE, "LiteLLM", litellm.ADDRESS, litellm.read),
    )
}


def address_of(source: Online) -> str:
    """Where the source is read: its own address, or the operator's mirror of it."""
    return str(settings.PRICE_SOURCE_ADDRESSES.get(source.slug) or source.address)


def source_sync(*, actor: Actor | None, source: str, body: bytes | None = None, now: datetime | None = None) -> PriceRun:
    """Reads an online source (or what was read of it, `body`) and brings the book to it. A source that cannot be read is told in the run.

    Never raises for what a source does; raises NotFound for one that does not exist, Forbidden without the right.
    """
    may_change_prices(actor)
    online = ONLINE.get(source)
    if online is None:
        raise NotFound(f"There is no price source '{source}'; there are {', '.join(ONLINE)}.")
    started = now or timezone.now()
    try:
        content = fetch(address_of(online), allows_private=settings.PRICE_SOURCES_ALLOW_PRIVATE) if body is None else body
        listing = online.read(content)
        check_is_whole(listing, source)
    except (Unreachable, DomainError) as problem:
        return run_failed(actor=actor, source=source, started=started, problem=str(problem))
    return listing_take(
        actor=actor, source=source, listing=listing, digest=hashlib.sha256(content).hexdigest(), size=len(content), started=started
    )


def list_upload(*, actor: Actor | None, provider: str, body: bytes, now: datetime | None = None) -> PriceRun:
    """Takes a provider's own list that somebody uploads. Raises Invalid with the line that cannot be read; then nothing is changed."""
    may_change_prices(actor)
    seller = Provider.objects.filter(slug=provider.strip().lower()).first()
    if seller is None:
        raise NotFound(f"There is no provider '{provider}' in the price book.")
    listing = own.read(body, provider=seller.slug)
    return listing_take(
        actor=actor, source=own.source_of(seller.slug), listing=listing, digest=hashlib.sha256(body).hexdigest(), size=len(body),
        started=now or timezone.now(), lists_all=False,
    )  # fmt: skip


@transaction.atomic
def listing_take(
    *, actor: Actor | None, source: str, listing: Listing, digest: str, size: int, started: datetime, lists_all: bool = True
) -> PriceRun:
    """Brings the book to a listing in one transaction, with the run and its findings."""
    book = book_lock()
    before = {"version": book.version}
    laid = Laying(listing, source=source, now=started, lists_all=lists_all).lay()
    is_same = (
        PriceRun.objects.filter(source=source).exclude(state=PriceRun.State.FAILED).order_by("-id").values_list("digest", flat=True).first()
        == digest
    )
    laid.is_catalogue_written &= not is_same
    run = _run(actor, source, started, state=PriceRun.State.DONE if laid.findings or laid.is_changed else PriceRun.State.UNCHANGED)
    run.digest, run.size_bytes, run.models_read = digest, size, listing.models
    run.left_out = dict(Counter(listing.left_out) + laid.left_out)
    run.counts = counts_of(laid)
    run.save(force_insert=True)
    findings_write(run, laid)
    if laid.is_changed:
        book_advance(book)
    if laid.findings or laid.is_changed:
        new = {"run": run.pk, "version": book.version, "rows_added": len(laid.added), "rows_closed": len(laid.closed), **run.counts}
        book_audit(actor=actor, action="prices.synced", target=("price_source", source), old=before, new=new)
    return run


def run_keep(laid: Laid, *, actor: Actor | None, source: str, models: int, now: datetime) -> PriceRun:
    """The run of a list that was loaded from the installation itself."""
    run = _run(actor, source, now, state=PriceRun.State.DONE)
    run.models_read, run.counts = models, counts_of(laid)
    run.save(force_insert=True)
    findings_write(run, laid)
    return run


def read_lately(source: str, *, now: datetime) -> bool:
    """Whether the source was read from its publisher within a week."""
    return (
        PriceRun.objects.filter(source=source, started_at__gte=now - timedelta(days=7))
        .exclude(state=PriceRun.State.FAILED)
        .exclude(digest="")
        .exists()
    )


def findings_write(run: PriceRun, laid: Laid) -> None:
    """Keeps what was found with its run."""
    for finding in laid.findings:
        finding.run = run
    PriceFinding.objects.bulk_create(laid.findings, batch_size=load.BATCH)


def counts_of(laid: Laid) -> dict[str, int]:
    """How many findings of each kind, and how many of them wait."""
    counts = Counter(finding.kind for finding in laid.findings)
    waiting = sum(finding.state == State.WAITING for finding in laid.findings)
    return {**counts, **({"waiting": waiting} if waiting else {})}


def check_is_whole(listing: Listing, source: str) -> None:
    """Refuses a list that names far fewer models than the source last named: half an answer must not end anything."""
    last = PriceRun.objects.filter(source=source).exclude(state=PriceRun.State.FAILED).order_by("-id").first()
    if last is not None and last.models_read >= FEW and listing.models < last.models_read * LEAST_SHARE:
        raise Invalid(f"The list names {listing.models:,} models; the one before named {last.models_read:,}. Nothing was changed.")


@transaction.atomic
def run_failed(*, actor: Actor | None, source: str, started: datetime, problem: str) -> PriceRun:
    """Keeps that a source could not be read. The same again adds to the run before instead of another one."""
    problem = problem.replace("\x00", "\ufffd")[:LONGEST_PROBLEM]
    last = PriceRun.objects.select_for_update().filter(source=source).order_by("-id").first()
    if last is not None and last.state == PriceRun.State.FAILED:
        last.failures, last.problem, last.finished_at = last.failures + 1, problem, timezone.now()
        last.save(update_fields=["failures", "problem", "finished_at"])
        return last
    log.info("prices of %s could not be read: %s", source, problem)
    run = _run(actor, source, started, state=PriceRun.State.FAILED)
    run.problem = problem
    run.save(force_insert=True)
    return run


def _run(actor: Actor | None, source: str, started: datetime, *, state: str) -> PriceRun:
    return PriceRun(source=source, state=state, started_at=started, finished_at=timezone.now(), by=actor.label[:200] if actor else "")


@transaction.atomic
def finding_accept(*, actor: Actor | None, finding_id: int, note: str = "", now: datetime | None = None) -> PriceFinding:
    """Applies what waits: its prices hold from when they were found, dated ones from their date. Raises Conflict when it no longer waits."""
    may_change_prices(actor)
    book = book_lock()
    finding = _waiting(finding_id)
    if "negative" in finding.suspicions:
        raise Invalid("A price below zero cannot be in the book; reject it.")
    said = msgspec.convert((finding.says or {})["model"], SourceModel)
    key = finding.model_id or _model_of(finding, said)
    found_at = finding.run.started_at
    diff = _diff_now(finding, said, key=key, at=found_at)
    if diff.is_empty:
        raise Conflict("A more trusted source has priced this model since; reject this one.")
    added: list[PriceRow] = []
    closed: list[PriceRow] = []
    diff_apply(diff, key=key, source=finding.run.source, added=added, closed=closed)
    PriceRow.objects.bulk_create(added)
    PriceRow.objects.bulk_update(closed, ["valid_to"])
    at = now or timezone.now()
    finding.is_back_dated = finding.kind != Kind.NEW_MODEL and any(row.valid_from < at for row in added)
    finding.model_id = key
    finding.run.told_at = None
    finding.run.save(update_fields=["told_at"])
    _decided(finding, actor=actor, state=State.ACCEPTED, note=note, at=at)
    book_advance(book)
    new = {"finding": finding.pk, "rows_added": len(added), "rows_closed": len(closed), "suspicions": finding.suspicions, "note": note}
    book_audit(actor=actor, action="price.accepted", target=("model", key), old={"state": State.WAITING.value}, new=new)
    return finding


@transaction.atomic
def finding_reject(*, actor: Actor | None, finding_id: int, note: str = "", now: datetime | None = None) -> PriceFinding:
    """Leaves the book as it is; the source is not asked about the same again. Raises Conflict when it no longer waits."""
    may_change_prices(actor)
    book_lock()
    finding = _waiting(finding_id)
    _decided(finding, actor=actor, state=State.REJECTED, note=note, at=now or timezone.now())
    book_audit(
        actor=actor,
        action="price.rejected",
        target=("model", finding.model_id or finding.slug),
        old={"state": State.WAITING.value},
        new={"finding": finding.pk, "provider": finding.provider, "model": finding.slug, "suspicions": finding.suspicions, "note": note},
    )
    return finding


def _waiting(finding_id: int) -> PriceFinding:
    finding = PriceFinding.objects.select_for_update(of=("self",)).select_related("run").filter(pk=finding_id).first()
    if finding is None:
        raise NotFound("There is no such finding.")
    if finding.state != State.WAITING:
        raise Conflict(f"This was decided already: {finding.get_state_display().lower()}.")
    return finding


def _decided(finding: PriceFinding, *, actor: Actor | None, state: State, note: str, at: datetime) -> None:
    finding.state, finding.decided_at, finding.note = state, at, note.replace("\x00", "")[:2000]
    finding.decided_by = (actor.label if actor else "the operator")[:200]
    finding.save(update_fields=["state", "decided_at", "decided_by", "note", "is_back_dated", "model"])


def _model_of(finding: PriceFinding, said: SourceModel) -> int:
    """The model that the finding is about; one that waited outside the catalogue comes into it."""
    known = Model.objects.filter(provider__slug=finding.provider, slug=finding.slug).values_list("id", flat=True).first()
    return known or models_create([(finding.provider, said)], {})[finding.provider, finding.slug]


def _diff_now(finding: PriceFinding, said: SourceModel, *, key: int, at: datetime) -> ModelDiff:
    rows = list(PriceRow.objects.filter(model=key).order_by("valid_from", "id"))
    quotes = {
        source: quote.rates for source, quote in quotes_now(model=key)[key].items() if source != finding.run.source and quote.is_exact
    }
    return model_diff(said, source=finding.run.source, standing=Standing(rows, quotes, finding.provider), trust=trust_read(), now=at)


@transaction.atomic
def source_switch(*, actor: Actor | None, source: str, is_on: bool) -> SourceSetting:
    """Has a source read daily, or no longer."""
    may_change_prices(actor)
    if source not in ONLINE:
        raise NotFound(f"There is no price source '{source}' that is read daily.")
    book_lock()
    setting, _ = SourceSetting.objects.get_or_create(source=source)
    if setting.is_on == is_on:
        return setting
    setting.is_on = is_on
    setting.save(update_fields=["is_on"])
    book_audit(actor=actor, action="price_source.switched", target=("price_source", source), old={"is_on": not is_on}, new={"is_on": is_on})
    return setting


@transaction.atomic
def trust_set(*, actor: Actor | None, provider: str, sources: Sequence[str]) -> SourceTrust | None:
    """Sets in which order a provider's prices are believed ("": all providers without an order of their own); no sources: as usual again.

    It decides what the next readings may change; rows that stand are not touched by it.
    """
    may_change_prices(actor)
    order = list(dict.fromkeys(sources))
    unknown = [source for source in order if source not in DEFAULT]
    if unknown or len(order) != len(sources):
        raise Invalid(f"An order names each of {', '.join(DEFAULT)} at most once.", field="sources")
    if provider and not Provider.objects.filter(slug=provider).exists():
        raise NotFound(f"There is no provider '{provider}' in the price book.")
    book_lock()
    trust = SourceTrust.objects.filter(provider=provider).first()
    old = trust.sources if trust else []
    if old == order:
        return trust
    if order:
        trust, _ = SourceTrust.objects.update_or_create(provider=provider, defaults={"sources": order})
    elif trust is not None:
        trust.delete()
        trust = None
    book_audit(actor=actor, action="price_trust.set", target=("provider", provider or "*"), old={"sources": old}, new={"sources": order})
    return trust


def reading_ask(source: str) -> None:
    """Has a worker read the source once the transaction is over."""
    transaction.on_commit(lambda: current_app.send_task("governance.pricing.tasks.price_source_sync", [source]))


def sources_due() -> list[str]:
    """The online sources that are read daily."""
    off = set(SourceSetting.objects.filter(is_on=False).values_list("source", flat=True))
    return [slug for slug in settings.PRICE_SOURCES if slug in ONLINE and slug not in off]


def doubt_words(suspicions: Sequence[str]) -> list[str]:
    """The doubts as sentences' parts."""
    return [WORDS.get(word, word) for word in suspicions]
