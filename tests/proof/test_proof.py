"""A short proof in each run of the tests; the long one is `make prove`."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.processes
def test_limits_hold_while_processes_are_killed_and_connections_cut(tmp_path: Path) -> None:
    """400 calls by 12 processes, of which 6 are killed, and 3,000 that are only reported, on a durable server of its own."""
    command = [sys.executable, "-m", "tests.proof", "--calls", "400", "--processes", "12", "--strikes", "6", "--events", "3000", "--report", str(tmp_path / "proof.md")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acknowledged events held" in (tmp_path / "proof.md").read_text()
