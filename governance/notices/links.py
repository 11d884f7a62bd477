"""Addresses of pages as notices and API answers name them."""

from urllib.parse import quote
from uuid import UUID

from django.conf import settings


def request_link(slug: str, request_id: UUID) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/approvals/{request_id}"


def channel_link(slug: str, endpoint_id: int) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/settings/channels/{endpoint_id}"


def preferences_link(slug: str) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/notifications"


def budget_link(slug: str, budget_id: int) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/budgets/{budget_id}"


def session_link(slug: str, session_key: str) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/sessions/{quote(session_key)}"


def freezes_link(slug: str) -> str:
    return f"{settings.PUBLIC_URL}/o/{slug}/freezes"
