"""`manage.py prices load|sync|diff|show`: fill the price book, read its sources, and look a price up."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from governance.errors import DomainError
from governance.pricing import services
from governance.pricing.book import CatalogueModel, Row, current_book
from governance.pricing.matching import Match
from governance.pricing.meters import EVERY_METER, in_order
from governance.pricing.models import PriceFinding, PriceRow, PriceRun
from governance.pricing.sources.rows import BEGINNING
from governance.pricing.sync.services import ONLINE, doubt_words, list_upload, source_sync, sources_due
from governance.pricing.sync.trust import OWN


class Command(BaseCommand):
    help = "Loads the price book from the bundled list, reads price sources, or shows what a model costs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="load|sync|diff|show")
        actions.add_parser("load", help="load the bundled price list; does nothing when it is loaded already")
        sync = actions.add_parser("sync", help="read the sources that are on, or one, and bring the book to them")
        sync.add_argument(
            "source", nargs="?", choices=[*ONLINE, OWN], metavar="SOURCE", help=f"{', '.join(ONLINE)}, or {OWN} with --file and --provider"
        )
        diff = actions.add_parser("diff", help="show what reading a source would find; nothing is changed")
        diff.add_argument("source", choices=[*ONLINE, OWN], metavar="SOURCE")
        for reading in (sync, diff):
            reading.add_argument("--file", type=Path, metavar="F", help="read this file instead of the source's address")
            reading.add_argument("--provider", default="", metavar="P", help=f"whose list it is, for {OWN}")
        show = actions.add_parser("show", help="show the price of a model and its history")
        show.add_argument("model", metavar="MODEL", help="the model as calls name it")
        show.add_argument("--provider", default="", metavar="P", help="who bills; without it the name alone decides")
        show.add_argument("--at", type=_instant, default=None, metavar="DATE", help="a date or an instant in UTC (now)")

    def handle(self, *, action: str, **options: Any) -> None:
        if action == "load":
            self._load()
        elif action in ("sync", "diff"):
            self._read(options["source"], file=options["file"], provider=options["provider"], keeps=action == "sync")
        else:
            self._show(options["model"], provider=options["provider"], at=options["at"] or datetime.now(UTC))

    def _load(self) -> None:
        try:
            result = services.prices_load()
        except DomainError as error:
            raise CommandError(error.detail) from None
        if not result.is_changed:
            self.stdout.write(f"The price book is up to date (version {result.version}).")
            return
        counts = f"{result.providers} providers, {result.models} models, {result.rows_added} rows added, {result.rows_closed} closed"
        self.stdout.write(f"Price book version {result.version}: {counts}.")
        if result.held:
            self.stdout.write(f"{result.held} prices were left as they are, because a row typed by hand stands there.")

    def _read(self, source: str | None, *, file: Path | None, provider: str, keeps: bool) -> None:
        if file is not None and source is None:
            raise CommandError("Say which source the file is of.")
        if source == OWN and (file is None or not provider):
            raise CommandError("A provider's own list needs --file and --provider.")
        try:
            body = file.read_bytes() if file else None
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        names = [source] if source else sources_due()
        if not names:
            self.stdout.write("Every source is off.")
        failed = False
        for name in names:
            try:
                with transaction.atomic():
                    run, findings = read_one(name, body=body, provider=provider)
                    transaction.set_rollback(not keeps)
            except DomainError as error:
                raise CommandError(error.detail) from None
            for line in _run_lines(run, findings):
                self.stdout.write(line)
            failed |= run.state == PriceRun.State.FAILED
        if failed:
            raise CommandError("Nothing was changed by what could not be read.")

    def _show(self, name: str, *, provider: str, at: datetime) -> None:
        read = current_book(refresh=True).resolve(provider, name)
        model = read.entry
        if model is None:
            could = ", ".join(f"{other.provider}/{other.slug}" for other in read.candidates)
            reported = f"{name}{f' from {provider}' if provider else ''}"
            raise CommandError(f"There is no price for {reported}: {read.reason}.{f' It could be {could}.' if could else ''} Is the book loaded (prices load)?")
        for line in [*_reading(read), *_description(model, at)]:
            self.stdout.write(line)
        if model.row_at(at) is None:
            raise CommandError(f"No price of {model.slug} is valid on {at:%Y-%m-%d}.")


def read_one(source: str, *, body: bytes | None, provider: str) -> tuple[PriceRun, list[PriceFinding]]:
    """Reads one source, or what a file has of it, and says what was found."""
    run = list_upload(actor=None, provider=provider, body=body or b"") if source == OWN else source_sync(actor=None, source=source, body=body)
    return run, list(run.findings.order_by("kind", "provider", "slug", "id"))


def _run_lines(run: PriceRun, findings: Iterable[PriceFinding]) -> Iterable[str]:
    if run.state == PriceRun.State.FAILED:
        yield f"{run.source}: could not be read. {run.problem}"
        return
    counts = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in run.counts.items()) or "nothing new"
    yield f"{run.source}: {run.models_read:,} models read, {counts}."
    for reason, number in sorted(run.left_out.items()):
        yield f"  left out: {number:,} {reason}"
    for finding in findings:
        doubts = f" [{finding.get_state_display().lower()}: {'; '.join(doubt_words(finding.suspicions))}]" if finding.suspicions else ""
        change = f" {finding.change * 100:+.1f} %" if finding.change is not None else ""
        yield f"  {finding.get_kind_display().lower():<16} {finding.provider} / {finding.slug}{change}{doubts}"
        for line in finding.steps if finding.kind in ("changed", "announced") else ():
            if line["meter"]:
                yield f"      {line['meter']:<28} {line['old'] or '-'} -> {line['new'] or '-'} {line['currency']} per {line['per']:,}, from {line['from'][:16]}"


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"'{text}' is not a date such as 2026-03-16 or an instant such as 2026-03-16T12:00Z") from None


def _reading(read: Match[CatalogueModel]) -> Iterable[str]:
    """How the name was read, where it says more than the model's own."""
    for step in read.steps:
        yield f"# {step}"
    if read.kind:
        yield f"# Calls of this name cost what {read.kind} calls cost."


def _description(model: CatalogueModel, at: datetime) -> Iterable[str]:
    yield f"{model.provider} / {model.slug}"
    facts = {"made by": model.maker, "country": model.country, "tier": model.tier, "context window": model.context_window}
    yield "  " + ", ".join(f"{label} {value}" for label, value in facts.items() if value)
    row = model.row_at(at)
    if row is not None:
        yield f"Price at {at.astimezone(UTC):%Y-%m-%d %H:%M} UTC (row {row.id}, {row.source}, {row.currency}):"
        yield from _rates(row)
    for other in model.special:
        if other.holds(at):
            yield f"For {_kind(other)} (row {other.id}):"
            # A row for a kind of call replaces amounts of the ordinary one; without any it leaves all of them.
            yield from _rates(other) if other.rates else ["  the ordinary price"]
    yield "History:"
    announced = dict(PriceRow.objects.filter(pk__in=[other.id for other in model.rows]).values_list("pk", "announced_at"))
    for other in sorted(model.rows, key=lambda other: (other.valid_from, other.id)):
        told = f", announced {day:%Y-%m-%d}" if (day := announced.get(other.id)) else ""
        yield f"  row {other.id}: {_span(other)}{f', for {_kind(other)}' if other.context else ''}, {other.source}{told}"


def _rates(row: Row) -> Iterable[str]:
    if not row.rates:
        yield "  free of charge"
    for meter, rate in in_order(row.rates).items():
        if "factor" in rate:
            yield f"  {'everything' if meter == EVERY_METER else meter:<32}{rate['factor']:>12} times the price otherwise"
            continue
        above = "for what is above {:,}" if rate.get("marginal") else "above {:,} input tokens"
        tiers = "".join(f"; {amount} {above.format(int(threshold))}" for threshold, amount in rate.get("tiers", ()))
        least = f"; at least {rate['least']} are billed" if rate.get("least") else ""
        yield f"  {meter:<32}{rate['base']:>12} per {rate['per']:,}{tiers}{least}"


def _kind(row: Row) -> str:
    return " and ".join(f"{key}={value}" for key, value in row.context.items())


def _span(row: Row) -> str:
    begins = "the beginning" if row.valid_from == BEGINNING else f"{row.valid_from:%Y-%m-%d %H:%M}"
    ends = "" if row.valid_to is None else f" to {row.valid_to:%Y-%m-%d %H:%M}"
    hours = "" if row.daily_from is None else f", daily {row.daily_from:%H:%M} to {row.daily_to:%H:%M} UTC"
    return f"from {begins}{ends}{hours}"
