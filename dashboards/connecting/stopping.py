"""The doors that stop calls before they are made: their lines are read from their pages in docs/connect, where the whole of it stands."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dashboards.connecting.clients import Lines

PAGES = Path(__file__).resolve().parents[2] / "docs" / "connect"
FENCED = re.compile(r"^```[a-z]*\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class StoppingDoor:
    """Something that asks whether a call may go on. `page` and `heading` say where its lines stand; without a heading they begin the page."""

    slug: str
    name: str
    asks: str
    page: str
    heading: str = ""


DOORS = (
    StoppingDoor("litellm-guard", "LiteLLM guard", "Before each call, and holds what it may cost.", "litellm", "Ask before each call"),
    StoppingDoor("nginx", "nginx", "Before each call (`auth_request`).", "nginx"),
    StoppingDoor("envoy", "Envoy", "Before each call (`ext_authz` over HTTP).", "envoy"),
    StoppingDoor("traefik", "Traefik", "Before each call (`forwardAuth`).", "traefik"),
    StoppingDoor("kong-check", "Kong", "Before each call (`pre-function`).", "kong", "Stop calls"),
    StoppingDoor(
        "claude-code-hook",
        "Claude Code hook",
        "Before each prompt and tool, and tells the engineer why.",
        "claude-code",
        "Stop a frozen session",
    ),
    StoppingDoor("codex-hook", "Codex hook", "Before each prompt and tool, and tells the engineer why.", "codex", "Stop a frozen session"),
    StoppingDoor("omnigent", "Omnigent policy", "Before each request, turn of a model and tool.", "omnigent"),
)


@cache
def doors() -> dict[str, StoppingDoor]:
    """By slug, those whose page is there."""
    return {door.slug: door for door in DOORS if lines_of(door)}


@cache
def lines_of(door: StoppingDoor) -> tuple[Lines, ...]:
    """What is to be copied, each with the sentence before it."""
    path = PAGES / f"{door.page}.md"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if door.heading:
        text = text.partition(f"\n## {door.heading}\n")[2]
    return tuple(blocks(re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]))


def blocks(text: str) -> Iterator[Lines]:
    end = 0
    for block in FENCED.finditer(text):
        before = [part for part in text[end : block.start()].strip().split("\n\n") if part and not part.startswith("# ")]
        yield Lines(LINK.sub(r"\1", " ".join(before[-1].split())) if before else "", block[1])
        end = block.end()
