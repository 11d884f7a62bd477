"""Forms of imports: a file, and what its columns mean."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from django import forms

from governance.tenancy.access import Actor
from ingest.formats.event import BILLING_MODES
from ingest.importing.files import MOST_BYTES
from ingest.importing.mapping import CALLS, COUNTS, PERIOD_END, TAG, UNIT, Meaning
from ingest.importing.models import ImportRun
from ingest.importing.text import ENCODINGS

DELIMITERS = ((",", "Comma"), (";", "Semicolon"), ("\t", "Tab"), ("|", "Bar"))
ORDERS = (("ymd", "Year first: 2026-11-21"), ("dmy", "Day first: 21.11.2026"), ("mdy", "Month first: 11/21/2026"))
DECIMALS = ((".", "Point: 1,234.50"), (",", "Comma: 1.234,50"))
WORDS = {
    "occurred_at": "Time of the call", PERIOD_END: "End of the row's time", "model": "Model", "provider": "Provider", "id": "Id of the call", "request_id": "Vendor's request id",
    "input_tokens": "Input tokens", "cache_read_tokens": "Input read from a cache", "cache_write_5m_tokens": "Input written to a cache (5 min)",
    "cache_write_1h_tokens": "Input written to a cache (1 h)", "output_tokens": "Output tokens", "reasoning_tokens": "Reasoning, part of output", UNIT: "Another quantity",
    CALLS: "Number of calls in the row", "reported_cost": "Cost, as the sender says", "currency": "Currency of that cost", "team": "Team", "project": "Project", "member": "Member",
    "harness": "Harness", "harness_version": "Harness version", "gateway": "Gateway", "session": "Session", "parent_session": "Parent session", "task": "Task", "trace": "Trace",
    "parent": "Parent call", "role": "Role", "task_class": "Task class", "environment": "Environment", "latency_ms": "Latency in ms", "ttft_ms": "Time to first token in ms",
    "status": "Status", "billing_mode": "Billing mode", TAG: "A tag",
}  # fmt: skip
GROUPS = (
    ("Which call", ("occurred_at", PERIOD_END, "model", "provider", "id", "request_id")), ("How much", (*COUNTS, UNIT, CALLS, "reported_cost", "currency")),
    ("Whose", ("team", "project", "member")), ("How", tuple(name for name in WORDS if name in {
        "harness", "harness_version", "gateway", "session", "parent_session", "task", "trace", "parent", "role", "task_class", "environment", "latency_ms", "ttft_ms", "status", "billing_mode"})),
    ("Else", (TAG,)),
)  # fmt: skip
CONSTANTS = ("model", "provider", "harness", "gateway", "team", "project", "member", "environment", "currency")


class FileForm(forms.Form):
    """The file."""

    file = forms.FileField(label="CSV or NDJSON file", help_text=f"Up to {MOST_BYTES // 1024**2} MiB, gzip too. Nothing is counted before you have looked at it.")

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if getattr(file, "is_cut", False):
            raise forms.ValidationError(f"A file may have {MOST_BYTES // 1024**2} MiB. Compress it with gzip, or send it in parts.")
        return file


class MeaningForm(forms.Form):
    """What each column means, what stands for all rows, and how times and numbers are written."""

    encoding = forms.ChoiceField(choices=[(name, words if not name.startswith("utf-16") else f"{words} ({name[-2:].upper()})") for name, words in ENCODINGS.items()])
    delimiter = forms.ChoiceField(choices=DELIMITERS, required=False)
    time_zone = forms.ChoiceField(label="Times without a zone are", help_text="A day without a time counts at its noon there.")
    date_order = forms.ChoiceField(choices=ORDERS, label="Days are written")
    decimal = forms.ChoiceField(choices=DECIMALS, label="Fractions have a")
    is_input_whole = forms.BooleanField(required=False, label="Input counts hold what caches served and took as well", help_text="As OpenAI, OpenRouter and LiteLLM count; not Anthropic.")
    are_totals = forms.BooleanField(
        required=False, label="A row is a total of several calls",
        help_text="It is counted as one event for its time, tagged with its number of calls; priced by what one call is likely to have had, where a price rises with input.",
    )  # fmt: skip
    billing_mode = forms.ChoiceField(choices=[("", "Metered"), *((mode, mode.capitalize()) for mode in BILLING_MODES if mode != "metered")], required=False)

    def __init__(self, given: Any, *, actor: Actor, run: ImportRun, meaning: Meaning, samples: Sequence[dict[str, str]]) -> None:
        initial = {
            "encoding": run.encoding, "delimiter": run.delimiter, "time_zone": meaning.time_zone, "date_order": meaning.date_order, "decimal": meaning.decimal,
            "is_input_whole": meaning.is_input_whole, "are_totals": meaning.are_totals, **{f"all-{name}": value for name, value in meaning.constants.items()},
            "billing_mode": meaning.constants.get("billing_mode", ""),
        }  # fmt: skip
        super().__init__(given, initial=initial)
        self.run, self.meaning, self.samples = run, meaning, samples
        zones = dict.fromkeys(("UTC", actor.organization.time_zone, meaning.time_zone))
        self.fields["time_zone"].choices = [(zone, zone) for zone in zones]  # type: ignore[attr-defined]
        if run.is_lines:
            del self.fields["delimiter"]
        for place, header in enumerate(run.headers):
            target = meaning.columns.get(header, "")
            self.fields[f"column-{place}"] = forms.ChoiceField(choices=choices_of(target), required=False, initial=target, label=header)
        for name in CONSTANTS:
            self.fields[f"all-{name}"] = forms.CharField(required=False, max_length=200, label=WORDS[name].removesuffix(" of that cost"))

    @property
    def columns(self) -> list[tuple[forms.BoundField, str]]:
        """Each column's field with some of its values."""
        return [(self[f"column-{place}"], _example(header, self.samples)) for place, header in enumerate(self.run.headers)]

    @property
    def constants(self) -> list[forms.BoundField]:
        return [self[f"all-{name}"] for name in CONSTANTS]

    @property
    def writing(self) -> list[forms.BoundField]:
        """How the file is written."""
        return [self[name] for name in ("encoding", "delimiter", "time_zone", "date_order", "decimal", "is_input_whole", "are_totals", "billing_mode") if name in self.fields]

    def asked(self) -> dict[str, Any]:
        """What the service is asked for."""
        given = self.cleaned_data
        constants = {name: given[f"all-{name}"].strip() for name in CONSTANTS if given[f"all-{name}"].strip()}
        if given["billing_mode"]:
            constants["billing_mode"] = given["billing_mode"]
        columns = {header: given[f"column-{place}"] for place, header in enumerate(self.run.headers) if given[f"column-{place}"]}
        meaning = Meaning(columns, constants, given["time_zone"], given["date_order"], given["decimal"], given["is_input_whole"], given["are_totals"])
        return {"meaning": meaning, "encoding": given["encoding"], "delimiter": given.get("delimiter") or ""}


def choices_of(target: str) -> list[Any]:
    """What a column can mean, in groups; one that means it under a name of its own says so."""
    own = [(target, f"{WORDS[target.partition(':')[0]]}: {target.partition(':')[2]}")] if ":" in target else []
    return [("", "Not read"), *own, *((title, [(name, WORDS[name]) for name in names]) for title, names in GROUPS)]


def _example(header: str, samples: Sequence[dict[str, str]]) -> str:
    """The first two values of the column that differ."""
    found = [value for value, _ in groupby(row.get(header, "").strip() for row in samples) if value]
    return ", ".join(value if len(value) <= 40 else f"{value[:40]}…" for value in list(dict.fromkeys(found))[:2])
