"""What is relied on where several workers run the tests: those of a group share one, with a browser's house, a proxy, a port, and none is left out."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

GROUPED = """
import pytest

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(8))
def test_of_the_group(number):
    pass
"""


def test_tests_of_a_group_share_a_worker(tmp_path: Path) -> None:
    """xdist 3.8 passes over its groups in silence where pytest is 9.2 or newer: https://github.com/pytest-dev/pytest-xdist/issues/1386."""
    (tmp_path / "test_grouped.py").write_text(GROUPED, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-v", "-n", "2", "--dist", "loadgroup", "-p", "no:django", "-p", "no:cacheprovider"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    workers = re.findall(r"\[(gw\d)\].* PASSED", done.stdout)
    assert len(workers) == 8
    assert len(set(workers)) == 1


def test_no_two_tests_have_one_name(request: pytest.FixtureRequest) -> None:
    """xdist runs one of those that have the same; where pytest is 9.2 or newer, schemathesis gives all of a schema's operations one."""
    names = Counter(item.nodeid for item in request.session.items)
    assert not [name for name, count in names.items() if count > 1]
