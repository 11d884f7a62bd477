"""Prints what was measured: the median of the rounds, in brackets the lowest and highest, the aims, and what others reach on such a machine."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median

from tests.bench.processor import titles
from tests.bench.servers import Web

NAMES = {
    "copy rows/s": "baseline: COPY of ready text into usage_event, 1,000 rows a commit, one connection; rows/s",
    "batch events/s": "events over HTTP, 1,000 a request, 4 clients; events/s",
    "batch ratio": "  ratio (aim 0.2; the nearest rival 0.016)",
    "bare view, rows/s, {}": "baseline: bare Django view that commits one row, clients: {}; posts/s",
    "single posts/s, {}": "one event a request, clients: {}; posts/s (the nearest rival 100 to 170)",
    "single ratio, {}": "  ratio (aim 0.5)",
    "bare view, ms, {}": "  processor time of a row, web server and database; ms",
    "single ms, {}": "  of a post; ms",
    "single cost, {}": "  cost ratio",
    "bare p50 ms": "baseline: bare view that updates one row, 300/s asked for; p50 ms",
    "bare p99 ms": "  p99 ms",
    "bare max/s": "  as many as 8 clients get; requests/s",
    "authorize p50 ms": "authorizations, 300/s asked for; p50 ms (the nearest rival adds 20)",
    "authorize p99 ms": "  p99 ms (aim 10)",
    "authorize max/s": "  as many as 8 clients get; requests/s",
    "ratio p50 ms": "  p50 to the baseline's",
    "ratio p99 ms": "  p99 to the baseline's",
    "ratio max/s": "  rate to the baseline's",
}
NAMES |= {
    "native 512 events/s": "baseline: native events over HTTP, 512 a request, 4 clients; events/s",
    "otlp events/s": "OTLP protobuf log records of Claude Code, 512 a request, 4 clients; events/s",
    "otlp ratio": "  ratio",
    "native 100 events/s": "baseline: native events over HTTP, 100 a request, 4 clients; events/s",
    "litellm events/s": "LiteLLM's generic_api batches of 100, 4 clients; events/s",
    "litellm ratio": "  ratio",
    "transcript MB": "a Claude Code transcript of 1,000,000 lines, imported by manage.py collect; MB",
    "transcript lines/s": "  lines/s",
    "transcript events/s": "  calls/s, read and stored",
    "transcript peak MB": "  memory at its peak, RSS; MB (aim 300)",
}
NAMES |= titles()
SINGLE_AIM = 0.5


def _title(name: str) -> str:
    """What the figure is; those of single posts are kept by the number of clients."""
    if name.startswith("parse "):
        return f"processor time from body to event, {name.removeprefix('parse ').removesuffix(' us')}; µs an event"
    kind, _, clients = name.rpartition(", ")
    return NAMES[name] if name in NAMES else NAMES[f"{kind}, {{}}"].format(clients)

for clients in (8, 64, 200):
    NAMES |= {
        f"row /s, {clients}": f"baseline: bare view, all update one row, {clients} clients as quick as they can; requests/s",
        f"row p50 ms, {clients}": "  p50 ms", f"row p99 ms, {clients}": "  p99 ms", f"row cpu ms, {clients}": "  processor time of one, ms",
        f"row waits, {clients}": "  database sessions waiting for a lock, mean",
        f"crowd /s, {clients}": f"authorizations on one budget, {clients} clients as quick as they can; decisions/s",
        f"crowd p50 ms, {clients}": "  p50 ms", f"crowd p99 ms, {clients}": "  p99 ms", f"crowd cpu ms, {clients}": "  processor time of one, ms",
        f"crowd waits, {clients}": "  database sessions waiting for a lock, mean", f"crowd ratio, {clients}": "  rate to the baseline's",
    }
NAMES |= {
    "paced p50 ms, 200": "200 clients on one budget, 200/s asked for; p50 ms", "paced p99 ms, 200": "  p99 ms (aim 50)",
    "sync models": "reading a price list of so many models", "sync s, quotes": "  all of it new to the source and less trusted; s",
    "sync s, nothing new": "  the same again; s", "sync s, all changed": "  every price changed, each becomes a row; s",
    **{f"sync s, {which}, processor": "    processor time of the process that reads; s" for which in ("quotes", "nothing new", "all changed")},
    "rate us": "rating one call by the whole book; microseconds", "rate batch us": "  one of a kind with a price of its own; microseconds",
    "rate new us": "  one under a name that was never seen; microseconds",
    "search first ms": "finding a model as one types, over HTTP, first after prices have changed; slowest ms",
    "search p50 ms": "finding a model as one types, over HTTP; p50 ms", "search p99 ms": "  p99 ms",
    "resume ms": "from the decision that grants more to the first call that passes, over HTTP; ms (aim 1,000)",
}


def show(found: Mapping[str, list[float]], *, product: Web) -> None:
    """The figures in the order in which they were measured."""
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load average {load} (the benchmark's own part is about 3)")
    print(f"{'':<100}{'median':>12}   [lowest … highest]")
    for name, figures in found.items():
        print(f"{_title(name):<100}{median(figures):>12,.2f}   [{min(figures):,.2f} … {max(figures):,.2f}]")
    for name, figures in found.items():
        if name.startswith("single ratio"):
            print(
                f"half of the bare view's posts, clients: {name.rpartition(' ')[2]}: {'met' if median(figures) >= SINGLE_AIM else 'not met'}"
            )
    print(f"web server at its peak: {product.peak_rss_mb:,.0f} MB RSS, all {product.workers + 1} processes together")
