"""Whose call a gateway's record is: whom the caller named, else the owner of the gateway's key. Pure."""

import msgspec

from ingest.formats.scalars import Scalar, text

# The user whom LiteLLM writes down where there is none.
NOBODY = "default_user_id"


def person(end_user: str, *, email: Scalar | None = None, user: Scalar | None = None) -> str | None:
    """The person. What Claude Code sends as the end user names a device, and an account where somebody is signed in."""
    named = end_user
    if end_user.startswith("{"):
        try:
            account = msgspec.json.decode(end_user.encode("utf-8", "replace"), type=dict[str, object]).get("account_uuid")
            named = account if isinstance(account, str) else ""
        except (msgspec.DecodeError, RecursionError):
            named = ""
    elif end_user.startswith("user_") and "_account_" in end_user and "_session_" in end_user:
        named = end_user.partition("_account_")[2].rpartition("_session_")[0].strip("_")
    return text(named, 254) or text(email, 254) or (text(user, 254) if user != NOBODY else None)
