"""The commands that the documents tell people to type exist."""

import re
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGET = re.compile(r"(?:`|^\s*|\$ )make ([a-z]+)\b", re.MULTILINE)
COMMAND = re.compile(r"manage\.py ([a-z_]+)")
OPTION = re.compile(r"manage\.py ([a-z_]+)(?: ([a-z]+))?[^`\n]*")


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_exist(document: Path) -> None:
    assert set(TARGET.findall(document.read_text(encoding="utf-8"))) <= targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_management_commands_exist(document: Path) -> None:
    assert set(COMMAND.findall(document.read_text(encoding="utf-8"))) <= set(get_commands())


def test_ci_calls_only_what_the_readme_names() -> None:
    called = set(re.findall(r"^make ([a-z]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE))
    assert called
    assert called <= set(TARGET.findall((ROOT / "README.md").read_text(encoding="utf-8")))


def test_scripts_are_well_formed() -> None:
    for script in (ROOT / "tools").iterdir():
        subprocess.run(["/bin/sh", "-n", str(script)], check=True)
