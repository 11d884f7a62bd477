"""The explorer's arithmetic: rows of two periods side by side, shares of the whole, and which values a chart names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from dashboards.insights.figures import Figures, Measure, figures_sum

SERIES_NAMED = 7
# What a click on a value leads to next; the first that is not yet narrowed down.
DRILL: Mapping[str, Sequence[str]] = {
    "provider": ("model", "team", "harness"),
    "maker": ("model", "team", "provider"),
    "model": ("team", "harness", "task-class", "member"),
    "tier": ("model", "team", "task-class"),
    "harness": ("team", "provider", "model"),
    "gateway": ("provider", "team", "model"),
    "team": ("member", "model", "project"),
    "project": ("member", "model", "team"),
    "member": ("model", "harness", "project"),
    "role": ("model", "team", "task-class"),
    "task-class": ("model", "team", "role"),
    "billing-mode": ("provider", "harness", "team"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One value of the dimension: now, in the period before (None: not used then), and its share of the measure (0 to 1)."""

    key: str
    name: str
    figures: Figures
    before: Figures | None
    value: Decimal | int | None
    share: Decimal | None


def compared(
    now: Iterable[tuple[str, str, Figures]], before: Iterable[tuple[str, str, Figures]], measure: Measure, currency: str
) -> list[Line]:
    """Both periods by key, those used in either; largest value of the measure first, unknown values last.

    Rows are (key, name, figures). Shares are only given for measures that add up.
    """
    current = {key: (name, figures) for key, name, figures in now}
    past = {key: (name, figures) for key, name, figures in before}
    names = {key: name for key, (name, _) in (past | current).items()}
    whole = measure.value(figures_sum((figures for _, figures in current.values()), currency))
    lines = []
    for key, name in names.items():
        figures = current[key][1] if key in current else Figures(currency=currency)
        value = measure.value(figures)
        share = Decimal(value) / Decimal(whole) if measure.is_additive and whole and value is not None else None
        lines.append(Line(key, name, figures, past[key][1] if key in past else None, value, share))
    return sorted(lines, key=lambda line: (line.value is None, -(line.value or 0), -line.figures.tokens, line.key))


def named_keys(lines: Sequence[Line]) -> list[str]:
    """The values a chart shows by name, largest first; the rest is shown together."""
    used = [line.key for line in lines if line.figures.calls]
    return used[:SERIES_NAMED] if len(used) > SERIES_NAMED + 1 else used


def drill_to(dimension: str, narrowed: Iterable[str]) -> str:
    """The dimension that a click on a value of this one leads to: one that is not narrowed down already."""
    taken = {*narrowed, dimension}
    return next((slug for slug in DRILL[dimension] if slug not in taken), dimension)
