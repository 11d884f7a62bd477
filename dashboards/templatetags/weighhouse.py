"""Template tags of the house: figures, dates, meters, components. Documented in templates/README.md."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from django import template
from django.forms import BoundField
from django.http import QueryDict
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboards.charts.base import Chart, colour_of
from dashboards.components import drawings, figures
from dashboards.components.filters import FilterBar
from dashboards.components.ranges import NAMES, Range
from dashboards.components.tables import Table
from dashboards.selectors import prices
from governance.tenancy.models import Organization

register = template.Library()
Value = TypeVar("Value")


@register.filter
def prose(text: str) -> SafeString:
    """Plain text in which `this` is code."""
    parts = str(text or "").split("`")
    marked = len(parts) % 2 == 1
    return format_html_join("", "{}", ((format_html("<code>{}</code>", part) if marked and index % 2 else part,) for index, part in enumerate(parts)))


@register.simple_tag
def money(amount: Decimal | None, currency: str = "USD") -> SafeString:
    """$25,656 with every digit on hover."""
    amount = _known(amount)
    return format_html('<span class="num" title="{}">{}</span>', figures.money_exact(amount, currency), figures.money_text(amount, currency))


@register.simple_tag
def price(amount: Decimal | None, currency: str = "USD") -> SafeString:
    """$0.125: what units cost, not rounded where it can be read."""
    amount = _known(amount)
    return format_html('<span class="num" title="{}">{}</span>', figures.money_exact(amount, currency), figures.price_text(amount, currency))


@register.filter
def price_day(instant: datetime, organization: Organization) -> date:
    """The day that a price begins or ends on, as its list or the organization's people said it."""
    return prices.price_day(instant, organization.zone)


@register.simple_tag
def tokens(count: int | None) -> SafeString:
    """18.2 M with the exact count on hover."""
    count = _known(count)
    return format_html('<span class="num" title="{} tokens">{}</span>', figures.count_text(count), figures.tokens_text(count))


@register.simple_tag
def count(number: int | None) -> SafeString:
    return format_html('<span class="num">{}</span>', figures.count_text(_known(number)))


@register.simple_tag
def percent(share: Decimal | float | None, places: int | None = None) -> SafeString:
    """A fraction as percent: 0.48 → 48 %."""
    share = _known(share)
    exact = figures.UNKNOWN if share is None else f"{Decimal(str(share)) * 100:.4f} %"
    return format_html('<span class="num" title="{}">{}</span>', exact, figures.percent_text(share, places))


@register.simple_tag
def duration(seconds: float | None) -> SafeString:
    seconds = _known(seconds)
    exact = "" if seconds is None else f"{seconds} s"
    return format_html('<span class="num" title="{}">{}</span>', exact, figures.duration_text(seconds))


@register.simple_tag(takes_context=True)
def at(context: Any, instant: datetime | None) -> SafeString:
    """A moment on the organization's clock, the full instant on hover."""
    return _time(context, instant, figures.at_text(instant, _zone(context), timezone.now()))


@register.simple_tag(takes_context=True)
def ago(context: Any, instant: datetime | None) -> SafeString:
    """How long ago, the full instant on hover."""
    return _time(context, instant, figures.ago_text(instant, timezone.now()))


@register.simple_tag(takes_context=True)
def day(context: Any, value: date | None) -> SafeString:
    """A local day, written out on hover."""
    if value is None:
        return format_html('<span class="faint">{}</span>', figures.UNKNOWN)
    text = figures.day_text(value, timezone.now().astimezone(_zone(context)).date())
    return format_html('<time class="num" datetime="{}" title="{}">{}</time>', value.isoformat(), f"{value:%A, %d %B %Y}", text)


@register.simple_tag
def delta(current: Decimal | None, previous: Decimal | None, currency: str | None = "USD", good: str = "down", show: str = "both") -> SafeString | str:  # noqa: PLR0917
    """The change since the period before, in amount and percent, with words for screen readers. `show`: both, percent or amount."""
    move = figures.delta(_known(current), _known(previous), currency, good)
    if move is None:
        return format_html('<span class="delta same" title="nothing to compare with">{}</span>', figures.UNKNOWN)
    text = {"percent": move.percent, "amount": move.amount}.get(show, f"{move.amount} ({move.percent})")
    return format_html('<span class="delta {}"><span aria-hidden="true">{}</span><span class="visually-hidden">{}</span></span>', move.mood, text, move.words)


@register.simple_tag
def badge(text: str, tone: str = "") -> SafeString:
    """A short word on a tinted ground. Tones: ok, warn, danger, ice, accent or none."""
    return format_html('<span class="badge {}">{}</span>', tone, text)


@register.simple_tag
def email(address: str) -> SafeString:
    """An e-mail address that a narrow column may break after its @, and nowhere else."""
    local, _, domain = address.rpartition("@")
    return format_html("{}@<wbr>{}", local, domain) if local else format_html("{}", address)


@register.simple_tag
def swatch(slug: str, index: int | None = None) -> SafeString:
    """The square in the colour that a provider, maker or tier has on all charts."""
    return format_html('<svg class="swatch" width="10" height="10" aria-hidden="true"><rect width="10" height="10" rx="2" fill="{}"/></svg>', colour_of(slug, index))


@register.simple_tag
def meter(spent: Decimal | None, limit: Decimal | None, held: Decimal = Decimal(0), forecast: Decimal | None = None, currency: str = "USD") -> SafeString:  # noqa: PLR0917
    """A bar against a limit: spent solid, held lighter, forecast hatched, the limit a mark."""
    return drawings.meter(spent or Decimal(0), _known(limit), held=held or Decimal(0), forecast=_known(forecast), currency=currency)


@register.simple_tag
def sparkline(values: Sequence[Decimal | int | float | None], label: str = "") -> SafeString:
    """A small line without axes; the label says what it shows."""
    return drawings.sparkline(values, label)


@register.simple_tag(takes_context=True)
def query(context: Any, **changes: Any) -> str:
    """The page's address with some parameters changed: {% query sort="cost" page=None %}."""
    params: QueryDict = context["request"].GET.copy()
    for key, value in changes.items():
        if value is None or value == "":
            params.pop(key, None)
        else:
            params[key] = str(value)
    return "?" + params.urlencode()


@register.simple_tag(takes_context=True)
def range_picker(context: Any, span: Range) -> SafeString:
    """The range picker; it keeps the other parameters of the address."""
    request = context["request"]
    carried = [(key, value) for key, values in request.GET.lists() if key not in _RANGE_PARAMS and not key.endswith("page") for value in values]
    options = []
    for key, name in NAMES.items():
        if key == "custom":
            continue
        params = request.GET.copy()
        for own in (*_RANGE_PARAMS, "page"):
            params.pop(own, None)
        params["range"] = key
        named = Range.from_query({"range": key}, span.zone, timezone.now(), year_starts_in=span.year_starts_in)
        options.append({"name": name, "href": "?" + params.urlencode(), "label": named.label, "is_current": key == span.key})
    return _rendered("partials/range_picker.html", {"range": span, "options": options, "carried": carried})


@register.simple_tag
def filter_bar(bar: FilterBar) -> SafeString:
    return _rendered("partials/filter_bar.html", {"bar": bar})


@register.simple_tag(takes_context=True)
def table(context: Any, table: Table) -> SafeString:
    """A table in its card: search, sortable heads, pages, CSV."""
    shared = {name: context.get(name) for name in ("request", "zone", "now")}
    return _rendered("partials/table.html", {"table": table, **shared})


@register.simple_tag
def chart(chart: Chart) -> SafeString:
    """A chart in its card, with the same data as a table and as PNG."""
    return _rendered("partials/chart.html", {"chart": chart})


@register.simple_tag
def field(bound: BoundField, hint: str = "") -> SafeString:
    """A form field with label, hint and errors, tied together for screen readers."""
    described = f"{bound.auto_id}-note" if bound.errors or bound.help_text or hint else None
    attrs: dict[str, str | bool] = {}
    if bound.errors:
        attrs["aria-invalid"] = "true"
    if described:
        attrs["aria-describedby"] = described
    is_check = getattr(bound.field.widget, "input_type", "") == "checkbox" and not hasattr(bound.field, "choices")
    is_group = bound.field.widget.use_fieldset
    widget = bound.as_widget(attrs=attrs)
    return _rendered(
        "partials/field.html", {"field": bound, "widget": widget, "hint": hint or bound.help_text, "described": described, "is_check": is_check, "is_group": is_group}
    )


@register.inclusion_tag("partials/cell.html", takes_context=True)
def cell(context: Any, cell: Any) -> dict[str, Any]:
    """The inside of a table cell, by the kind of its column."""
    return {"cell": cell, "column": cell.column, "value": cell.value, "request": context.get("request"), "zone": context.get("zone")}


def _known(value: Value) -> Value | None:
    """The value; None for the empty text that a template gives in place of something that is not there."""
    return None if value == "" else value


_RANGE_PARAMS = ("range", "from", "to", "format", "table")


def _rendered(name: str, values: dict[str, Any]) -> SafeString:
    return render_to_string(name, values)


def _zone(context: Any) -> Any:
    zone = context.get("zone")
    return zone if zone is not None else timezone.get_default_timezone()


def _time(context: Any, instant: datetime | None, text: str) -> SafeString:
    if instant is None:
        return format_html('<span class="faint">{}</span>', text)
    local = instant.astimezone(_zone(context))
    return format_html('<time class="num" datetime="{}" title="{}">{}</time>', instant.isoformat(), f"{local:%Y-%m-%d %H:%M:%S} {local:%Z}", text)
