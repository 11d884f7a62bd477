"""`make bench`: the product's throughput and latency beside named baselines, measured in turns on the same machine in one run."""

import argparse
import sys
from collections.abc import Sequence

from tests.bench import rerating
from tests.bench.grounds import grounds

STEPS = ("batch", "single", "authorize", "processor", "crowd", "resume", "otlp", "litellm", "parse", "transcript", "sources", "prices")
# Takes long, and a database of its own.
ALONE = "rerating"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="baseline and product take turns this many times; medians are printed (5)")
    parser.add_argument("--only", choices=(*STEPS, ALONE), action="append", help=f"measure only this; may be given again ({ALONE} alone)")
    parser.add_argument("--apart", type=int, default=rerating.APART_S, help=f"seconds between calls that are alike, in --only {ALONE} ({rerating.APART_S})")
    parser.add_argument("--events", type=int, default=1_000_000, help=f"so many calls are re-rated by --only {ALONE} (1,000,000)")
    parser.add_argument("--hold", action="store_true", help="keep the servers up at the end until Enter, to look at them")
    wanted = parser.parse_args(arguments)
    if ALONE in (wanted.only or ()):
        if len(wanted.only) > 1:
            parser.error(f"{ALONE} is measured alone.")
        return rerating.main(["--events", str(wanted.events), "--apart", str(wanted.apart)])
    with grounds() as folder:
        from tests.bench.measures import measure

        measure(folder, rounds=wanted.rounds, only=frozenset(wanted.only or STEPS), is_held=wanted.hold)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
