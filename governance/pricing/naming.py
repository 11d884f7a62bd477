"""What the name of a model says beside which model it is: the biller, a region, a kind of call, a fine-tune. Pure text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from governance.pricing.catalogue import FACTS

RESOURCE = "models/"
COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
# us-east-1, europe-west4, and the zones that Azure and its clients put before a deployment.
CLOUD_REGION = re.compile(r"^(?:[a-z]{2}(?:-gov)?|europe|asia|northamerica|southamerica|australia|africa)-[a-z]+-?\d{1,2}$")
ZONES = frozenset({"us", "eu", "apac", "global", "global-standard", "us-gov", "jp", "uk"})
ROADS = frozenset({"converse", "invoke", "converse_like", "responses", "chat", "messages"})
AWS_ZONE = r"(?:us|eu|apac|global|jp|au|ca|us-gov)"
AWS_NAME = re.compile(rf"^(?:{AWS_ZONE}\.)?(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshot|nvidia|openai|qwen|stability|twelvelabs|writer|zai)\.")
AWS_REGION = re.compile(rf"^(?:regional|{AWS_ZONE})\.")
VERSION = re.compile(r"-v\d+(?::\d+)?$")
DATE = re.compile(r"[-@]20\d{2}-?[01]\d-?[0-3]\d")
# Clients that serve models on hardware of their own name it before the model. What runs there has no vendor's price.
OWN_HARDWARE = frozenset({
    "ollama", "ollama_chat", "vllm", "hosted_vllm", "lm_studio", "lmstudio", "llamafile", "llamacpp", "llama.cpp", "localai", "local", "mlx", "sglang", "tgi", "triton",
    "xinference", "openai_like", "custom_openai", "self-hosted", "selfhosted",
})  # fmt: skip
# Endings that name a kind of call, at prices of its own.
KINDS = {"batch": "batch", "batches": "batch", "fast": "fast", "flex": "flex", "priority": "priority"}
# Endings that change nothing about the price.
PLAIN = frozenset({"thinking", "beta", "self-moderated"})
# Endings by which a router takes another seller, or adds something that tokens do not tell.
ROUTED = {
    "nitro": "the fastest seller", "floor": "the cheapest seller", "exacto": "chosen sellers", "extended": "a longer context",
    "online": "a web search beside each call", "free": "calls free of charge",
}  # fmt: skip
ENDING = re.compile(r"^(?P<base>.+?)(?P<mark>[:/-])(?P<ending>[a-z-]+?)$")
FINE_TUNE = re.compile(r"^ft:(?P<base>[^:]+)(?::.*)?$")


@dataclass(frozen=True, slots=True)
class Ending:
    """A name taken apart: `kind` names the kind of call, `routed` says what a router does otherwise; both empty: nothing of the price."""

    base: str
    ending: str
    kind: str = ""
    routed: str = ""


def ending_of(name: str) -> Ending | None:
    """What the end of a lower-case name says of the call, as in `gpt-5:batch`, `claude-opus-4-6-fast`, `deepseek-r1:free`."""
    found = ENDING.match(name)
    if found is None:
        return None
    base, mark, ending = found.group("base", "mark", "ending")
    if ending in KINDS:
        return Ending(base, ending, kind=KINDS[ending])
    if mark != ":":
        return None
    if ending in ROUTED:
        return Ending(base, ending, routed=ROUTED[ending])
    return Ending(base, ending) if ending in PLAIN else None


def fine_tuned(name: str) -> str:
    """The model that a fine-tune was made from, as in `ft:gpt-4o:acme::id`; empty for other names."""
    found = FINE_TUNE.match(name)
    return found.group("base") if found else ""


def placed(name: str) -> tuple[str, str]:
    """The name without the region before it, and the region: `us-east-1/anthropic.claude…`, `eu/gpt-4o`, `converse/us…`."""
    region = ""
    first, slash, rest = name.partition("/")
    while slash and (first in ROADS or first in ZONES or CLOUD_REGION.match(first)):
        if first not in ROADS and not region:
            region = first
        name = rest
        first, slash, rest = name.partition("/")
    return name, region


def spellings(name: str) -> Iterator[str]:
    """The name, and the ways in which catalogues may write it: dates written out, resource names without their path."""
    yield name
    dated = COMPACT_DATE.sub(_dashed, name)
    if dated != name:
        yield dated
    # Google's resource names: models/gemini-2.5-flash, publishers/google/models/gemini-2.5-flash.
    if RESOURCE in name:
        yield name.rpartition(RESOURCE)[2]
    if name.startswith("arn:") and "/" in name:
        yield name.rpartition("/")[2]


@lru_cache(maxsize=20_000)
def family_key(name: str) -> str:
    """What remains of a model's name when everything a provider adds to it is gone: `us.anthropic.claude-opus-4-6-v1:0` → `claude-opus-4-6`."""
    bare = AWS_REGION.sub("", name.strip().lower().rpartition("/")[2])
    owner, dot, rest = bare.partition(".")
    bare = rest if dot and owner in FACTS["owners"] else bare
    return re.sub(r"[._]", "-", VERSION.sub("", DATE.sub("", bare)))


def _dashed(found: re.Match[str]) -> str:
    year, month, day = (int(part) for part in found.groups())
    try:
        return f"-{date(year, month, day).isoformat()}"
    except ValueError:
        return found.group(0)
