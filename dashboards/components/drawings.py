"""Small drawings made on the server as inline SVG: the meter and the sparkline."""

from collections.abc import Sequence
from decimal import Decimal

from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboards.components import figures

NEAR = Decimal("0.8")


def meter(spent: Decimal, limit: Decimal | None, *, held: Decimal = Decimal(0), forecast: Decimal | None = None, currency: str = "USD") -> SafeString:
    """A bar from zero: spent solid, held lighter, forecast hatched, the limit a mark. No limit: an empty bar that says so."""
    if limit is None:
        return format_html('<span class="meter" role="img" aria-label="no limit is set"></span>')
    full = max(limit, spent + held, forecast or Decimal(0)) or Decimal(1)
    used, kept, aim, mark = (_share(amount, full) for amount in (spent, spent + held, forecast or Decimal(0), limit))
    state = "over" if spent + held >= limit else "near" if spent + held >= limit * NEAR else ""
    hatch = ""
    if aim > kept:
        hatch = format_html('<line class="hatch" x1="{}%" x2="{}%" y1="6.5" y2="6.5" stroke-width="7" stroke-dasharray="2 3" opacity=".7"/>', kept, aim)
    return format_html(
        '<span class="meter" role="img" aria-label="{}" data-state="{}"><svg aria-hidden="true">{}<rect class="held" x="0" y="3" height="7" rx="3.5" width="{}%"/>'
        '<rect class="spent" x="0" y="3" height="7" rx="3.5" width="{}%"/><rect class="mark" x="{}%" y="0" width="2" height="13" transform="translate(-2 0)"/></svg></span>',
        _meter_words(spent, limit, held, forecast, currency), state, hatch, kept if held else 0, used, mark,
    )  # fmt: skip


def sparkline(values: Sequence[Decimal | int | float | None], label: str = "", width: int = 118, height: int = 26) -> SafeString:
    """A line from the first to the last value, from zero to the largest. Unknown values are left out."""
    known = [(index, float(value)) for index, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return format_html('<span class="faint">{}</span>', figures.UNKNOWN)
    top = max(value for _, value in known) or 1.0
    step = (width - 4) / max(len(values) - 1, 1)
    points = " ".join(f"{2 + index * step:.1f},{height - 3 - value / top * (height - 6):.1f}" for index, value in known)
    x, y = points.rsplit(" ", 1)[1].split(",")
    return format_html(
        '<svg class="spark" width="{}" height="{}" role="img" aria-label="{}"><polyline points="{}" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round"/>'
        '<circle cx="{}" cy="{}" r="2.2" fill="currentColor"/></svg>',
        width, height, label or "trend", points, x, y,
    )  # fmt: skip


def _share(amount: Decimal, full: Decimal) -> Decimal:
    return min(max(Decimal(amount) / Decimal(full) * 100, Decimal(0)), Decimal(100)).quantize(Decimal("0.01"))


def _meter_words(spent: Decimal, limit: Decimal, held: Decimal, forecast: Decimal | None, currency: str) -> str:  # noqa: PLR0917
    share = f" ({figures.percent_text(spent / limit)})" if limit else ""
    words = f"{figures.money_text(spent, currency)} {'used' if currency in figures.COUNTED else 'spent'} of {figures.money_text(limit, currency)}{share}"
    if held:
        words += f", {figures.money_text(held, currency)} held"
    if forecast is not None:
        words += f", forecast {figures.money_text(forecast, currency)}"
    return words
