"""The overview's chart: spend by provider per day, the running day hatched."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from dashboards.charts.base import OTHER, Chart, Mark, Series, stacked_bars
from dashboards.components.figures import SYMBOLS, money_text

Costs = Mapping[tuple[date, str | None], Decimal]


def provider_chart(
    costs: Costs, *, days: Sequence[date], named: Sequence[tuple[str, str, str]], today: date, currency: str, marks: Sequence[Mark], note: str
) -> Chart:
    """`named` are (key, name, address) of the providers shown on their own, most spent first; all others have key None in `costs`."""
    series = [Series(name, [costs.get((day, key), 0) for day in days], key=key, href=href) for key, name, href in named]
    if any(key is None for _, key in costs):
        series.append(Series("Other", [costs.get((day, None), 0) for day in days], key="other", colour=OTHER))
    running = len(days) - 1 if days and days[-1] == today else None
    figure = stacked_bars(list(days), series, unit=SYMBOLS.get(currency, currency + "\u00a0"), running=running, marks=marks)
    rows = [
        [f"{day:%Y-%m-%d}", *(money_text(entry.values[index], currency) for entry in series), money_text(sum((Decimal(entry.values[index] or 0) for entry in series), Decimal(0)), currency)]
        for index, day in enumerate(days)
    ]
    summary = f"Spend per day by provider. Most: {named[0][1]}." if named else ""
    headers = ["Day", *(entry.name for entry in series), "Total"]
    return Chart("spend-by-provider", "Spend by provider", figure, headers, rows, note=note, height=330, marks=marks, summary=summary)
