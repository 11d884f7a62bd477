"""API keys: made, hashed, found by the secret a client presents."""

import hashlib
import secrets

PREFIX = "wh_"


def new_secret() -> tuple[str, str]:
    """A new key and the prefix that may be shown: ("wh_ab12cd34_…", "wh_ab12cd34")."""
    head = PREFIX + secrets.token_hex(4)
    return f"{head}_{secrets.token_urlsafe(32)}", head


def secret_hash(secret: str) -> str:
    """SHA-256 of the key. Keys are 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()
