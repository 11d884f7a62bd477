"""Programs from PyPI that only tests run, each in an environment of its own: what they need is much, and of versions of its own."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(sys.prefix)  # the environment the tests run in; the others lie in it and go with it


def apart(requirement: str) -> Path:
    """The environment of ``requirement`` ("litellm[proxy]==1.106.2"), made the first time it is asked for.

    Processes that ask at once wait for one another: two that make the same environment take each other's files away.
    Fails the test when it cannot be made, with what uv says.
    """
    made = HOME / requirement.partition("[")[0].replace("==", "-")
    with made.with_name(f"{made.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _stands(made):
            _run("venv", "--quiet", "--clear", "--python", sys.executable, str(made), wanted=requirement)
            _run("pip", "install", "--quiet", "--python", str(made / "bin/python"), requirement, wanted=requirement)
            (made / ".made").touch()
    return made


def _stands(made: Path) -> bool:
    python = made / "bin/python"
    return (made / ".made").exists() and python.exists() and not subprocess.run([python, "-c", ""], check=False).returncode


def _run(*arguments: str, wanted: str) -> None:
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    if not os.access(Path.home(), os.W_OK):
        environment.setdefault("UV_CACHE_DIR", str(HOME / "cache"))
    done = subprocess.run([_uv(), *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"This test needs {wanted} from PyPI, which could not be installed: {done.stderr}")


def _uv() -> str:
    """The system's if it works, else the one that tools/environment has put beside Python."""
    found = shutil.which("uv")
    works = found and not subprocess.run([found, "--version"], capture_output=True, check=False).returncode
    return found if found and works else str(HOME / "bin/uv")
