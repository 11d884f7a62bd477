"""The ground every measurement stands on: a folder of its own with a database and a broker in it, and Django set up to use them."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def grounds() -> Iterator[Path]:
    """Gives the folder; servers and folder are gone at the end. Nothing of Django may be imported before."""
    folder = Path(tempfile.mkdtemp(prefix="weighhouse-bench-"))
    folder.chmod(0o755)  # the database's own user passes through it when we are root
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        for name in ("DATABASE_URL", "BROKER_URL"):
            os.environ.pop(name, None)
        os.environ |= {"VAR": str(folder), "DJANGO_SETTINGS_MODULE": "governance.conf.settings", "LOG_LEVEL": "WARNING"}
        import django

        from governance.conf import embedded

        django.setup()
        stack.enter_context(embedded.running(folder))
        yield folder
