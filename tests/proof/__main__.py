"""`make prove`: hard limits and acknowledged events under many processes, crashes and lost connections, on a durable server of its own; writes docs/proof.md."""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--strikes", type=int, default=60, help="times that a process is killed and some connections are cut")
    parser.add_argument("--events", type=int, default=20_000, help="posted without authorization while connections are cut")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, default=None, help="where the report goes (docs/proof.md)")
    wanted = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="weighhouse-proof-"))
    folder.chmod(0o755)  # the database's own user passes through it when we are root
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        for name in ("DATABASE_URL", "BROKER_URL"):
            os.environ.pop(name, None)
        os.environ |= {"VAR": str(folder), "DJANGO_SETTINGS_MODULE": "governance.conf.settings", "LOG_LEVEL": "ERROR"}
        import django

        from governance.conf import embedded

        django.setup()
        stack.enter_context(embedded.running(folder, parts=("postgres",), settings={"max_connections": "200"}))
        from tests.proof.play import prove

        scale = {"calls": wanted.calls, "processes": wanted.processes, "strikes": wanted.strikes, "events": wanted.events}
        return prove(**scale, seed=wanted.seed, report=wanted.report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
