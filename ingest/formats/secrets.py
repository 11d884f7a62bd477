"""Cuts keys, tokens and passwords out of text: of what is kept though it was not counted, and of the labels of calls that are. Pure."""

import re
from functools import lru_cache
from typing import Any

import msgspec

from ingest.formats.event import UsageEvent

SECRET = re.compile(
    # Not within a word, but behind a sign that is written with letters: `%20`, and `\\n` or `\\u0020` in JSON that could not be decoded.
    r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[bfnrt])|(?<=\\u[0-9A-Fa-f]{4}))("
    r"wh_[0-9a-f]{4,}_[\w-]{8,}"
    r"|sk-[\w-]{16,}|csk-[A-Za-z0-9]{16,}"
    r"|(?:sk|rk|pk)_(?:live|test)_\w{8,}|whsec_[\w+/=]{16,}"
    r"|(?:gsk|r8|hf|fw|co|vck|pcsk|jina|npm|esecret)_[A-Za-z0-9]{16,}|tgp_v[0-9]_[\w-]{16,}|lsv2_[a-z]{2}_\w{16,}"
    r"|(?:xai|pplx|tvly|dp)-[A-Za-z0-9]{20,}|nvapi-[\w-]{20,}|dapi[0-9a-f]{32}"
    r"|AIza[\w-]{20,}|ya29\.[\w.-]{16,}|1//0[\w-]{20,}|GOCSPX-[\w-]{16,}"
    r"|ABSK[A-Za-z0-9+/=]{40,}|bedrock-api-key-[\w+/=-]{16,}"
    # The secret beside the id of an AWS key goes with it.
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}(?:[^A-Za-z0-9/+]{1,8}[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+]))?"
    r"|gh[pousr]_\w{16,}|github_pat_\w{16,}|gl(?:pat|dt|rt|ptt|cbt|ft|soat)-[\w-]{16,}|xox[a-z]-[\w-]{8,}"
    r"|eyJ[\w-]{8,}\.[\w-]{4,}\.?[\w-]*"
    r"|(?i:bearer|basic)(?:\s|%20)+[\w.~+/=-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*"
    r")",
    re.DOTALL,
)
# A name that says its value is a secret, however that one looks.
CALLED_SECRET = r"(?i:secret|api[_-]?key|passw(?:or)?d|(?:access|auth|refresh)[_-]?token)"  # noqa: S105 - names of secrets, not one
ASSIGNED = re.compile(rf"({CALLED_SECRET}[\w-]{{0,20}}[\"'\s\\]{{0,4}}(?:[=:]|%3[dD])[\"'\s\\]{{0,4}})([\w.~+/=%-]{{16,}})")
NAMING = re.compile(CALLED_SECRET)
SECRET_WORD = re.compile(r"[\w.~+/=%-]{16,}")
# A label of a call by itself, not the name or the number of one.
IS_SECRET = re.compile(rf"{CALLED_SECRET}(?:[_-]access[_-]key)?\Z")
SHORTEST_SECRET = 12
# What people label calls with. Ids are never touched, those that vendors gave included, because two that were cut alike would be one.
# With how long each may be, because what stands for a short secret is longer.
LABELS = {"member": 254, "team": 200, "project": 200, "environment": 80, "task": 200}
OF_VENDORS = "vendor."
# Such as sk-learn-experiments-2026, or basic authentication: no key is made of words.
WORDS = re.compile(r"[a-z]{1,14}(?:[-_.:/ ](?:[a-z]{1,14}|[0-9]{1,8}))*")
MOST_REMEMBERED = 4_096
# Who signs in, as it stands in the address of a repository, with a password or a token.
USERINFO = re.compile(r"(\bhttps?://)[^/\s@]+@")


def without_secrets(text: str) -> str:
    """The text with each key or token reduced to its first letters."""
    return ASSIGNED.sub(lambda found: found[1] + beginning(found[2]), SECRET.sub(lambda found: beginning(found[0]), text))


def beginning(secret: str) -> str:
    return f"{secret[:6]}…[secret removed]"


def labels_redacted(event: UsageEvent) -> UsageEvent:
    """The event with the secrets in its labels cut, which nearly always is the event itself.

    They get there with an environment that a client reports whole, a caller's metadata, or a token in the address of a repository.
    """
    changes: dict[str, Any] = {}
    for name, size in LABELS.items():
        value = getattr(event, name)
        if len(value) >= SHORTEST_SECRET and (kept := known_redacted(value)) != value:
            changes[name] = kept[:size]
    if event.tags and (tags := dict(counted_tag(*tag) for tag in event.tags.items())) != event.tags:
        changes["tags"] = tags
    return msgspec.structs.replace(event, **changes) if changes else event


def counted_tag(name: str, value: str) -> tuple[str, str]:
    """The tag; a word that a gateway was given as a tag by itself is its name."""
    name = name if len(name) < SHORTEST_SECRET else known_redacted(name)
    if len(value) < SHORTEST_SECRET or name.startswith(OF_VENDORS):
        return name, value
    return name, beginning(value) if is_called_secret(name) and SECRET_WORD.fullmatch(value) else known_redacted(value)


@lru_cache(MOST_REMEMBERED)
def known_redacted(label: str) -> str:
    """As without_secrets, but for plain words: labels are few and come with every call."""
    return label if WORDS.fullmatch(label) else without_secrets(USERINFO.sub(r"\1", label))


@lru_cache(MOST_REMEMBERED)
def is_called_secret(name: str) -> bool:
    return IS_SECRET.search(name) is not None
