"""Seals what must be read again but not by whoever gets hold of a copy of the database: addresses that are secrets, and signing keys."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

from governance.errors import Conflict

PURPOSE = b"weighhouse.notices.sealing"


def sealed(text: str) -> str:
    """The text under the installation's own key (SECRET_KEY)."""
    return _cipher().encrypt(text.encode()).decode()


def opened(text: str) -> str:
    """What was sealed. Raises Conflict when SECRET_KEY is another one than then."""
    try:
        return _cipher().decrypt(text.encode()).decode()
    except InvalidToken:
        raise Conflict("SECRET_KEY has changed since this was stored: enter it again.") from None


def _cipher() -> Fernet:
    key = hashlib.blake2b(settings.SECRET_KEY.encode(), digest_size=32, person=PURPOSE[:16]).digest()
    return Fernet(base64.urlsafe_b64encode(key))
