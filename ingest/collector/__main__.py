"""`weighhouse-collector`: posts the usage that harnesses wrote on this machine, once or as it grows."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .collecting import QUIET_S, Collector, Round
from .places import places
from .positions import Positions, default_path
from .readers import readers
from .readers.values import Fields
from .sending import Away, Post, Refused

LABELS = ("team", "project", "member", "environment", "billing_mode", "task_class")
log = logging.getLogger("weighhouse.collector")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="weighhouse-collector", description=__doc__)
    found.add_argument("harness", nargs="*", help=f"which to read, of {', '.join(sorted(readers()))} (all that are here)")
    found.add_argument("--path", type=Path, help="read this file or folder instead of the harness's own; names one harness")
    found.add_argument("--url", default="", help="the server (WEIGHHOUSE_URL)")
    found.add_argument("--key", default="", help="an API key with the scope ingest (WEIGHHOUSE_KEY)")
    found.add_argument("--watch", action="store_true", help="go on as the files grow, until stopped")
    found.add_argument("--interval", type=float, default=15.0, help="seconds between looks with --watch (15)")
    found.add_argument(
        "--label", action="append", default=[], metavar="NAME=VALUE", help=f"{', '.join(LABELS)}, or a tag; may be given again"
    )
    found.add_argument("--state", type=Path, help=f"where positions are kept ({default_path()})")
    found.add_argument("--dry-run", action="store_true", help="print what would be sent, send and remember nothing")
    found.add_argument("--quiet", action="store_true", help="say only what went wrong")
    return found


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Returns 0, 1 when the server was away, 2 when something has to be changed first."""
    wanted = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING if wanted.quiet else logging.INFO, format="%(message)s")
    try:
        named_check(wanted.harness, wanted.path)
        sink = show if wanted.dry_run else post(wanted, environment)
        positions = Positions(wanted.state or default_path(environment), is_kept=not wanted.dry_run)
        # A file that is named is taken as it is; the harness's own may be in the middle of a call.
        is_final = wanted.path is not None and not wanted.watch
        collector = Collector(sink, positions, labels=labels(wanted.label), is_final=is_final)
        return watched(collector, wanted) if wanted.watch else once(collector, chosen(wanted), wanted.path)
    except Refused as refusal:
        log.error("%s", refusal)  # noqa: TRY400 - the sentence is all there is to say
        return 2
    except Away as away:
        log.error("%s What was not sent is sent the next time.", away)  # noqa: TRY400
        return 1
    except KeyboardInterrupt:
        return 0


def named_check(named: Sequence[str], path: Path | None) -> None:
    """Raises Refused for what cannot be read by these words, whatever is on this machine."""
    if unknown := sorted(set(named) - set(readers())):
        raise Refused(f"There is no harness '{unknown[0]}'; known are {', '.join(sorted(readers()))}.")
    if path is not None and len(named) != 1:
        raise Refused("With --path say which harness wrote it.")
    if path is not None and not path.exists():
        raise Refused(f"There is no {path}.")


def present(named: Sequence[str]) -> list[str]:
    """The harnesses to read: those that were named, else those that have left something on this machine by now."""
    return list(named) or [name for name in sorted(readers()) if any(place.folder.is_dir() for place in places(name))]


def chosen(wanted: argparse.Namespace) -> list[str]:
    """As `present`. Raises Refused where there is nothing."""
    if found := present(wanted.harness):
        return found
    raise Refused("No harness has left anything on this machine yet.")


def post(wanted: argparse.Namespace, environment: Mapping[str, str]) -> Post:
    url, key = wanted.url or environment.get("WEIGHHOUSE_URL", ""), wanted.key or environment.get("WEIGHHOUSE_KEY", "")
    if not url or not key:
        raise Refused("Say --url and --key, or set WEIGHHOUSE_URL and WEIGHHOUSE_KEY.")
    return Post(url, key, patience_s=None if wanted.watch else 30.0)


def show(harness: str, calls: list[Fields]) -> None:
    for call in calls:
        sys.stdout.write(json.dumps(call) + "\n")


def labels(given: Sequence[str]) -> dict[str, Any]:
    """Fields and tags of NAME=VALUE. Raises Refused."""
    found: dict[str, Any] = {}
    for word in given:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise Refused(f"'{word}' is not NAME=VALUE.")
        if name in LABELS:
            found[name] = value
        else:
            found.setdefault("tags", {})[name] = value
    return found


def once(collector: Collector, harnesses: Sequence[str], path: Path | None) -> int:
    for harness in harnesses:
        tell(harness, collector.round(harness, path))
    collector.positions.forget_missing()
    return 0


def watched(collector: Collector, wanted: argparse.Namespace) -> int:
    """Goes on until it is stopped. A harness may be installed long after this was started, so they are looked for at each turn."""
    if not present(wanted.harness):
        log.info("No harness has left anything on this machine yet; waiting for the first.")
    while True:
        for harness in present(wanted.harness):
            done = collector.round(harness, wanted.path)
            if done.calls or done.unread:
                tell(harness, done)
        time.sleep(max(0.1, wanted.interval))


def tell(harness: str, done: Round) -> None:
    unread = f", {done.unread} records could not be read" if done.unread else ""
    waiting = f", {done.waiting} wait until their file has rested for {QUIET_S:.0f} s: it may still be written" if done.waiting else ""
    log.info("%s: %d calls in %d files%s%s", harness, done.calls, done.files, waiting, unread)


if __name__ == "__main__":
    sys.exit(main())
