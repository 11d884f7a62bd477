"""Addresses of pages as notices and API answers name them."""

import re
from urllib.parse import quote
from uuid import UUID

from django.conf import settings

# Browsers resolve these parts of an address, percent-encoded or not, so they are written with a sign before them.
DOTS = re.compile(r"(?<![^/])(~*\.{1,2})(?![^/])")
MARKED_DOTS = re.compile(r"(?<![^/])~(~*\.{1,2})(?![^/])")


def addressed(key: str) -> str:
    """A key as a part of an address: `..` as `~..`, and that one as `~~..`; `key_addressed` undoes it."""
    return DOTS.sub(r"~\1", key)


def key_addressed(part: str) -> str:
    """The key that a part of an address is of."""
    return MARKED_DOTS.sub(r"\1", part)


def request_link(slug: str, request_id: UUID) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/approvals/{request_id}"


def channel_link(slug: str, endpoint_id: int) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/settings/channels/{endpoint_id}"


def preferences_link(slug: str) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/notifications"


def budget_link(slug: str, budget_id: int) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/budgets/{budget_id}"


def session_link(slug: str, session_key: str) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/sessions/{quote(addressed(session_key))}"


def freezes_link(slug: str) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/freezes"
