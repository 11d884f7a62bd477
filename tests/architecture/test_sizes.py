"""Functions and files stay small. The exceptions are a list that may only shrink."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("governance", "ingest", "dashboards")
FILE_LINES = 500
FUNCTION_LINES = 70
MEDIAN_FUNCTION_LINES = 10
# What is longer today, with its length: take it out of the list when it has been cut.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def sources() -> Iterator[Path]:
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def functions() -> Iterator[tuple[str, int]]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_grows_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {name: length for name, length in lengths.items() if length > LONG_FILES.get(name, FILE_LINES)} == {}
    assert {name for name in LONG_FILES if lengths.get(name, 0) <= FILE_LINES} == set(), "these are short now: take them off the list"


def test_no_function_grows_long() -> None:
    lengths = dict(functions())
    assert {name: length for name, length in lengths.items() if length > LONG_FUNCTIONS.get(name, FUNCTION_LINES)} == {}
    assert {name for name in LONG_FUNCTIONS if lengths.get(name, 0) <= FUNCTION_LINES} == set(), "these are short now: take them off the list"


def test_most_functions_are_read_at_a_glance() -> None:
    lengths = sorted(length for _, length in functions())
    assert lengths[len(lengths) // 2] <= MEDIAN_FUNCTION_LINES


def test_every_module_says_what_its_job_is() -> None:
    silent = [str(path.relative_to(ROOT)) for path in sources() if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []
