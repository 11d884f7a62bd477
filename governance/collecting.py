"""How Python collects garbage in processes that store many events: next to nothing of what they make lies in cycles."""

import gc

# Container objects made and not freed before the youngest are looked through; Python's own 700 costs a batch a fifth of its time.
YOUNG, OLDER, OLD = 50_000, 20, 50
# Where requests wait meanwhile: a look at 10,000 that are garbage takes 6 to 15 ms.
YOUNG_OF_REQUESTS = 2_000


def collect_rarely(*, young: int = YOUNG) -> None:
    """Leaves what is loaded by now out of all collections, which would stop every request for a tenth of a second and more, and makes them rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(young, OLDER, OLD)
