"""What the columns of a file mean, and the events that its rows are by it. Pure."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from governance.errors import Invalid
from ingest.formats.batch import fault_of
from ingest.formats.event import Fault, UsageEvent, fault_in_full
from ingest.importing import values
from ingest.importing.text import Record
from ingest.importing.values import Unclear

COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens", "output_tokens", "reasoning_tokens")
PARTS_OF_INPUT = COUNTS[1:4]
WHOLE = (*COUNTS, "latency_ms", "ttft_ms")
NOT_MAPPED = frozenset(("units", "tags", "authorization"))
FIELDS = tuple(field.name for field in msgspec.structs.fields(UsageEvent) if field.name not in NOT_MAPPED)
# What a column can mean beside a field: the calls that a row stands for, the end of the time it stands for, a label or a quantity.
CALLS, PERIOD_END, TAG, UNIT = "calls", "period_end", "tag", "unit"
TARGETS = (*FIELDS, CALLS, PERIOD_END, TAG, UNIT)
NUMERIC = frozenset((*WHOLE, "reported_cost", CALLS, UNIT))
TAG_CHARACTERS = 1000
# Of a total, what is counted may grow while its day lasts; who and what it is about may not.
MEASURED = re.compile(r"token|cost|request|count|quantity|amount|usage|spend|calls", re.IGNORECASE)
STATUSES = {
    "success": "ok",
    "succeeded": "ok",
    "ok": "ok",
    "200": "ok",
    "true": "ok",
    "completed": "ok",
    "failure": "error",
    "failed": "error",
    "false": "error",
}
LARGEST_COUNT = 1_000_000_000
# Above any call's input for which a price has no threshold below it; totals of models with thresholds are shared out in parts below this.
PART_INPUT = 100_000
MOST_PARTS = 2_000
AGGREGATED = "aggregated_calls"


class Meaning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What columns and cells mean. `columns`: header → field, or tag, tag:<name>, unit:<name>, calls, period_end; other columns are not read.

    `constants` stand for what no column says. `time_zone` is that of times without one. With `is_input_whole` the input column counts
    what caches served and took as well. With `are_totals` a row stands for several calls.
    """

    columns: dict[str, str] = {}
    constants: dict[str, str] = {}
    time_zone: str = "UTC"
    date_order: Literal["ymd", "dmy", "mdy"] = "ymd"
    decimal: Literal[".", ","] = "."
    is_input_whole: bool = False
    are_totals: bool = False


class Row(msgspec.Struct, frozen=True):
    """A row read: its event, or why it has none and the cell that is to blame."""

    number: int
    line: int
    event: UsageEvent | None = None
    calls: int | None = None
    fault: Fault | None = None
    value: str = ""


def meaning_check(meaning: Meaning, headers: Sequence[str]) -> None:
    """Raises Invalid, with the `field`, for a mapping that no row can be read with."""
    for header, target in meaning.columns.items():
        if header not in headers:
            raise Invalid(f"The file has no column “{header[:80]}”.", field="columns")
        if target.partition(":")[0] not in TARGETS:
            raise Invalid(f"“{target[:80]}” is no field of an event.", field="columns")
    plain = [target for target in meaning.columns.values() if ":" not in target and target not in (TAG, UNIT)]
    if twice := next((target for target in plain if plain.count(target) > 1), None):
        raise Invalid(f"Two columns are mapped to {twice}.", field="columns")
    if stray := next((name for name in meaning.constants if name not in FIELDS), None):
        raise Invalid(f"“{stray[:80]}” is no field of an event.", field="constants")
    if "occurred_at" not in plain:
        raise Invalid("No column says when a call was: map one to the time.", field="columns")
    if "model" not in plain and not meaning.constants.get("model"):
        raise Invalid("No column says which model was called: map one to the model.", field="columns")
    try:
        ZoneInfo(meaning.time_zone)
    except (ValueError, KeyError, OSError):
        raise Invalid(f"There is no time zone “{meaning.time_zone[:80]}”.", field="time_zone") from None


class Reader:
    """Reads the rows of one file, in their order: a row that says the same as one before it is the next call of its kind."""

    def __init__(self, meaning: Meaning) -> None:
        self.meaning, self.zone = meaning, ZoneInfo(meaning.time_zone)
        self.targets = [(header, *target.partition(":")[::2]) for header, target in meaning.columns.items()]
        self.constants = {name: value for name, value in meaning.constants.items() if value.strip()}
        self.is_named = bool({"id", "request_id"} & {target for _, target, _ in self.targets})
        self._seen: dict[bytes, int] = {}

    def read(self, record: Record) -> Row:
        """The row's event, or why there is none."""
        if record.fault:
            return Row(record.number, record.line, fault=Fault("broken_row", record.fault, ""))
        blamed = ("", "")
        try:
            fields: dict[str, Any] = dict(self.constants)
            tags: dict[str, str] = {}
            units: dict[str, Decimal] = {}
            for header, target, name in self.targets:
                text = record.values.get(header, "")
                blamed = (target if target not in (TAG, UNIT) else header, text)
                if not values.is_nothing(text):
                    self._take(fields, tags, units, (target, name or _label(header)), text)
            blamed = ("", "")
            return self._row(record, fields, tags, units)
        except Unclear as error:
            return Row(record.number, record.line, fault=Fault("invalid_field", str(error), blamed[0]), value=blamed[1][:80])
        except (ValueError, ArithmeticError):
            # Nothing that a cell holds may stop the rows behind it.
            return Row(record.number, record.line, fault=Fault("invalid_field", "This cannot be read.", blamed[0]), value=blamed[1][:80])

    def skip(self, record: Record) -> None:
        """Passes over a row that was counted before, remembering that it was there."""
        if not record.fault and not self.is_named:
            self._seen_again(self._fingerprint(record))

    def _take(self, fields: dict[str, Any], tags: dict[str, str], units: dict[str, Decimal], target: tuple[str, str], text: str) -> None:  # noqa: PLR0917
        field, name = target
        if field in WHOLE or field == CALLS:
            fields[field] = values.whole(text, self.meaning.decimal)
        elif field == "reported_cost":
            fields[field] = values.number(text, self.meaning.decimal)
        elif field == UNIT:
            if amount := values.number(text, self.meaning.decimal):
                units[name[:40]] = amount
        elif field == TAG:
            tags[name] = _clean(text)[:TAG_CHARACTERS]
        elif field in ("occurred_at", PERIOD_END):
            fields[field], is_day = values.instant(text, zone=self.zone, order=self.meaning.date_order)
            fields["is_day"] = fields.get("is_day", False) or is_day
        elif field == "status":
            fields[field] = STATUSES.get(text.strip().lower(), _clean(text)[:40])
        elif field == "currency":
            fields[field] = text.strip().upper()
        else:
            fields[field] = _clean(text)

    def _row(self, record: Record, fields: dict[str, Any], tags: dict[str, str], units: dict[str, Decimal]) -> Row:
        calls, end, is_day = fields.pop(CALLS, None), fields.pop(PERIOD_END, None), fields.pop("is_day", False)
        if end is not None and "occurred_at" in fields and not is_day:
            fields["occurred_at"] = _middle(fields["occurred_at"], end)
        if self.meaning.is_input_whole and "input_tokens" in fields:
            fields["input_tokens"] -= sum(fields.get(name, 0) for name in PARTS_OF_INPUT)
            if fields["input_tokens"] < 0:
                raise Unclear("The cached tokens are more than the input that is said to hold them.")
        if self.meaning.are_totals:
            if not any(fields.get(name) for name in (*COUNTS, "reported_cost")) and not units and not calls:
                return Row(record.number, record.line, fault=Fault("empty_total", "Nothing was used in this row's time.", ""))
            tags[AGGREGATED] = str(calls) if calls else "several"
            fields.pop("latency_ms", None)
        if "id" not in fields and "request_id" not in fields:
            fields["id"] = self._made_up(record)
        return self._event(record, {**fields, "tags": tags or None, "units": units or None}, calls)

    def _event(self, record: Record, fields: dict[str, Any], calls: int | None) -> Row:
        counts = {name: fields[name] for name in COUNTS if name in fields}
        if self.meaning.are_totals:
            # A total may be above what one call can have: it is shared out afterwards.
            fields = {**fields, **{name: min(count, LARGEST_COUNT) for name, count in counts.items()}}
        try:
            event = msgspec.convert(fields, UsageEvent)
        except msgspec.ValidationError as error:
            fault = fault_of(error)
            return Row(record.number, record.line, fault=fault, value=str(fields.get(fault.field, ""))[:80])
        broken = fault_in_full(event)
        if broken:
            return Row(record.number, record.line, fault=broken, value=str(fields.get(broken.field, ""))[:80])
        return Row(record.number, record.line, msgspec.structs.replace(event, **counts), calls)

    def _made_up(self, record: Record) -> str:
        """An id by what the row says: the same row of a file that overlaps is the same call, and one that comes twice in this file is two."""
        fingerprint = self._fingerprint(record)
        again = self._seen_again(fingerprint)
        return f"row-{fingerprint.hex()}" + (f"-{again}" if again > 1 and not self.meaning.are_totals else "")

    def _fingerprint(self, record: Record) -> bytes:
        said = sorted((header, text.strip()) for header, text in record.values.items() if not self._is_measured(header))
        return hashlib.blake2b(msgspec.json.encode(said), digest_size=16).digest()

    def _is_measured(self, header: str) -> bool:
        if not self.meaning.are_totals:
            return False
        target = self.meaning.columns.get(header, "").partition(":")[0]
        return target in NUMERIC or (not target and MEASURED.search(header) is not None)

    def _seen_again(self, fingerprint: bytes) -> int:
        if self.meaning.are_totals:
            return 1
        self._seen[fingerprint] = self._seen.get(fingerprint, 0) + 1
        return self._seen[fingerprint]


def parts_of(row: Row, *, has_thresholds: bool) -> list[UsageEvent]:
    """The events that a total is: one; of a model whose price rises with a call's input as many as keep each below, sharing evenly. Raises Unclear.

    No part has more calls than the row, and none more than one call can count.
    """
    if (event := row.event) is None:
        return []
    largest = max((getattr(event, name) or 0 for name in COUNTS), default=0)
    needed = -(-largest // LARGEST_COUNT) or 1
    if has_thresholds:
        whole = sum(getattr(event, name) or 0 for name in COUNTS[:4])
        by_input = -(-whole // PART_INPUT) or 1
        needed = max(needed, min(by_input, row.calls) if row.calls else by_input)
    if needed > MOST_PARTS:
        raise Unclear(f"The row holds too much for one row ({needed:,} parts; {MOST_PARTS:,} can be made). Export it by hour, or by key.")
    return [event] if needed == 1 else [_part(event, place, needed) for place in range(needed)]


def _part(event: UsageEvent, place: int, number: int) -> UsageEvent:
    changes: dict[str, Any] = {name: _share(count, place, number) for name in COUNTS if (count := getattr(event, name)) is not None}
    if changes.get("reasoning_tokens") is not None and changes.get("output_tokens") is not None:
        changes["reasoning_tokens"] = min(changes["reasoning_tokens"], changes["output_tokens"])
    if event.reported_cost is not None:
        changes["reported_cost"] = (event.reported_cost / number).quantize(Decimal("1e-15"))
    if event.units:
        changes["units"] = event.units if place == 0 else None
    tags = dict(event.tags or {})
    if (calls := tags.get(AGGREGATED, "")).isdigit():
        tags[AGGREGATED] = str(_share(int(calls), place, number))
    name = {"request_id": f"{event.request_id}-part-{place + 1}"} if event.request_id else {"id": f"{event.id}-part-{place + 1}"}
    return msgspec.structs.replace(event, tags=tags, **changes, **name)


def _share(count: int, place: int, number: int) -> int:
    return count * (place + 1) // number - count * place // number


def _middle(starts_at: datetime, ends_at: datetime) -> datetime:
    """A moment within the time that a row stands for, on whose day most of it lies."""
    return starts_at + max(ends_at - starts_at, timedelta()) / 2


def _clean(text: str) -> str:
    return " ".join(text.split())


def _label(header: str) -> str:
    return header[:200]


def meaning_facts(meaning: Meaning) -> Mapping[str, Any]:
    """The mapping as JSON keeps it."""
    found: dict[str, Any] = msgspec.to_builtins(meaning)
    return found
