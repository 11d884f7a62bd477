"""What pricing costs: rating one event by the whole bundled book, a name that was never seen, and finding a model as one types.

A process reads the book anew for the first search after prices have changed, so some searches come before those that are measured.
"""

from datetime import UTC, datetime
from time import perf_counter
from timeit import timeit
from typing import TYPE_CHECKING

import httpx

from governance.pricing.book import current_book
from governance.pricing.usage import Usage

if TYPE_CHECKING:
    from tests.bench.measures import Bench

RATED = 20_000
NEW_NAMES = 500
TYPED = ("claude-sonnet-4-5-20250929", "openai gpt", "deepseek-v4", "qwen3 coder", "bedrock/us.anthropic.claude")
# So many that every process of the web server gets one of them.
CONNECTIONS = 12
USAGE = Usage(input_tokens=1200, cache_read_tokens=50_000, cache_write_5m_tokens=2000, output_tokens=900, reasoning_tokens=100)


def prices(bench: "Bench") -> None:
    """Rating in this process, searching over HTTP letter by letter."""
    book, now = current_book(refresh=True), datetime.now(UTC)

    def rate(model: str, tags: dict[str, str] | None = None) -> None:
        book.rate(provider="firstParty", model=model, at=now, usage=USAGE, context=tags)

    bench.note("rate us", 1e6 / RATED * timeit(lambda: rate("claude-opus-4-8"), number=RATED))
    bench.note("rate batch us", 1e6 / RATED * timeit(lambda: rate("claude-opus-4-8", {"processing": "batch"}), number=RATED))
    names = iter([f"never-seen-{number}-{now.timestamp()}" for number in range(NEW_NAMES)])
    bench.note("rate new us", 1e6 / NEW_NAMES * timeit(lambda: rate(next(names)), number=NEW_NAMES))
    bench.note("search first ms", max(ms for _ in range(CONNECTIONS) for ms in _search(bench, TYPED[0][:2])))
    times = sorted(ms for text in TYPED for ms in _search(bench, text))
    bench.note("search p50 ms", times[len(times) // 2])
    bench.note("search p99 ms", times[len(times) * 99 // 100])


def _search(bench: "Bench", text: str) -> list[float]:
    """Milliseconds of each search while the text is typed."""
    found = []
    with httpx.Client(base_url=f"http://127.0.0.1:{bench.product.port}", headers={"Authorization": f"Bearer {bench.person}"}) as client:
        for end in range(1, len(text) + 1):
            began = perf_counter()
            client.get("/api/v1/prices/models", params={"q": text[:end], "limit": 25}).raise_for_status()
            found.append((perf_counter() - began) * 1000)
    return found
