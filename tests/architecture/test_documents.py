"""The commands that the documents tell people to type exist."""

import re
import subprocess
from argparse import ArgumentParser
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("governance", "ingest", "dashboards")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TARGET = re.compile(r"(?:`|^\s*|\$ )make ([a-z]+)\b", re.MULTILINE)
COMMAND = re.compile(r"manage\.py ([a-z_]+)")
CALL = re.compile(r"manage\.py ([a-z_]+)((?: [^`\n|<>#;]+)?)")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
READ = re.compile(r"""(?:os\.environ\.get\(|os\.environ\[|flag\()\s*"([A-Z_]+)\"""")
TABLED = re.compile(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", re.MULTILINE)
# Set by the system or by Django's own way of being started, not by the operator.
NOT_OURS = {"PATH", "DJANGO_SETTINGS_MODULE"}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_make_targets_exist(document: Path) -> None:
    assert set(TARGET.findall(document.read_text(encoding="utf-8"))) <= targets()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_management_commands_exist(document: Path) -> None:
    assert set(COMMAND.findall(document.read_text(encoding="utf-8"))) <= set(get_commands())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_options_of_management_commands_exist(document: Path) -> None:
    for name, rest in CALL.findall(document.read_text(encoding="utf-8")):
        words = rest.split()
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        command = load_command_class(get_commands()[name], name)
        known = options_of(command.create_parser("manage.py", name))
        assert options <= known, f"{name}: {options - known}"


def options_of(parser: ArgumentParser) -> set[str]:
    """The parser's own options and those of its actions."""
    found = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action.choices, dict):
            found |= {option for inner in action.choices.values() for option in inner._option_string_actions}
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    missing = [target for target in LINK.findall(document.read_text(encoding="utf-8")) if not (document.parent / target).exists()]
    assert missing == []


def test_operations_lists_every_variable_that_is_read() -> None:
    sources = (path.read_text(encoding="utf-8") for floor in FLOORS for path in (ROOT / floor).rglob("*.py") if "static" not in path.parts)
    read = {name for source in sources for name in READ.findall(source)} - NOT_OURS
    listed = TABLED.findall((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    assert {name.strip("` ") for names in listed for name in names.split(",")} == read


def test_ci_calls_only_what_the_readme_names() -> None:
    called = set(re.findall(r"^make ([a-z]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE))
    assert called
    assert called <= set(TARGET.findall((ROOT / "README.md").read_text(encoding="utf-8")))


def test_scripts_are_well_formed() -> None:
    for script in (ROOT / "tools").iterdir():
        subprocess.run(["/bin/sh", "-n", str(script)], check=True)


def test_the_readme_s_event_is_the_same_when_its_command_is_repeated() -> None:
    """What is posted again is a duplicate, which it could not be if the command made up a new time."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    posted = re.findall(r"^curl .*api/v1/events(?:.*\\\n)*.*$", readme, re.MULTILINE)
    assert len(posted) == 1
    assert "$(" not in posted[0]
    assert '"id": "call-1"' in posted[0]
