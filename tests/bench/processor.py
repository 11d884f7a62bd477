"""What one request costs of the processors: by the web server and by the database, one client, one request after the other.

Other work on the machine disturbs this less than it does rates and latencies; the bare views beside it say by how much.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.measures import Bench

EACH = 400
REQUESTS = {
    "bare row": ("bare", "/store", "single"),
    "post": ("product", "/api/v1/events", "single"),
    "bare update": ("bare", "/hold", "authorization"),
    "authorization": ("product", "/api/v1/authorizations", "authorization"),
}
NAMES = {
    "bare row": "baseline: bare view that commits one row", "post": "one event a request",
    "bare update": "baseline: bare view that updates one row", "authorization": "authorization",
}  # fmt: skip


def processor(bench: "Bench") -> None:
    for name, (side, path, kind) in REQUESTS.items():
        to = bench.product if side == "product" else bench.bare
        before = bench.used_apart(to)
        answered = bench.send(to=to, path=path, kind=kind, clients=1, each=EACH)
        for part, used, used_before in zip(("web server", "database"), bench.used_apart(to), before, strict=True):
            bench.note(f"{name}, {part} ms", (used - used_before) * 1000 / len(answered.latencies_ms))


def titles() -> dict[str, str]:
    """What the figures are called where they are printed."""
    return {f"{name}, {part} ms": f"processor time of one, 1 client: {title}, {part}; ms" for name, title in NAMES.items() for part in ("web server", "database")}
