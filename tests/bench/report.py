"""Prints what was measured: the median of the rounds, and in brackets the lowest and highest."""

from collections.abc import Mapping
from statistics import median

from tests.bench.servers import Web


def show(found: Mapping[str, list[float]], *, product: Web) -> None:
    for name, figures in found.items():
        print(f"{name:<28}{median(figures):>12,.2f}   [{min(figures):,.2f} … {max(figures):,.2f}]")
    print(f"web processes at their peak: {product.peak_rss_mb:,.0f} MB RSS together, {product.workers} children")
