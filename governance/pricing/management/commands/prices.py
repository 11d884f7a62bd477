"""`manage.py prices load|show`: fill the price book, and look a price up."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from governance.errors import DomainError
from governance.pricing import services
from governance.pricing.book import CatalogueModel, Row, current_book
from governance.pricing.meters import in_order
from governance.pricing.sources.rows import BEGINNING


class Command(BaseCommand):
    help = "Loads the price book from the bundled list, or shows what a model costs."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="load|show")
        actions.add_parser("load", help="load the bundled price list; does nothing when it is loaded already")
        show = actions.add_parser("show", help="show the price of a model and its history")
        show.add_argument("model", metavar="MODEL", help="the model as calls name it")
        show.add_argument("--provider", default="", metavar="P", help="who bills; without it the name alone decides")
        show.add_argument("--at", type=_instant, default=None, metavar="DATE", help="a date or an instant in UTC (now)")

    def handle(self, *, action: str, **options: Any) -> None:
        if action == "load":
            self._load()
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

    def _show(self, name: str, *, provider: str, at: datetime) -> None:
        model = current_book(refresh=True).entry(provider, name)
        if model is None:
            raise CommandError(f"There is no price for {name}{f' from {provider}' if provider else ''}. Is the book loaded (prices load)?")
        for line in _description(model, at):
            self.stdout.write(line)
        if model.row_at(at) is None:
            raise CommandError(f"No price of {model.slug} is valid on {at:%Y-%m-%d}.")


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(f"'{text}' is not a date such as 2026-03-16 or an instant such as 2026-03-16T12:00Z") from None


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
    for other in sorted(model.rows, key=lambda other: (other.valid_from, other.id)):
        yield f"  row {other.id}: {_span(other)}{f', for {_kind(other)}' if other.context else ''}"


def _rates(row: Row) -> Iterable[str]:
    if not row.rates:
        yield "  free of charge"
    for meter, rate in in_order(row.rates).items():
        tiers = "".join(f"; {amount} above {threshold:,} input tokens" for threshold, amount in rate.get("tiers", ()))
        least = f"; at least {rate['least']} are billed" if rate.get("least") else ""
        yield f"  {meter:<32}{rate['base']:>12} per {rate['per']:,}{tiers}{least}"


def _kind(row: Row) -> str:
    return " and ".join(f"{key}={value}" for key, value in row.context.items())


def _span(row: Row) -> str:
    begins = "the beginning" if row.valid_from == BEGINNING else f"{row.valid_from:%Y-%m-%d %H:%M}"
    ends = "" if row.valid_to is None else f" to {row.valid_to:%Y-%m-%d %H:%M}"
    hours = "" if row.daily_from is None else f", daily {row.daily_from:%H:%M} to {row.daily_to:%H:%M} UTC"
    return f"from {begins}{ends}{hours}"
