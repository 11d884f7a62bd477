"""A session's page has an address that browsers leave as it is, whatever the session is called."""

from urllib.parse import unquote, urljoin, urlsplit

import pytest
from django.urls import resolve, reverse

from governance.notices.links import session_link


@pytest.mark.parametrize("key", ["s-7f31", "..", ".", "../../settings", "a/../b", "a/./", "~..", "~~.", "...", "a..b", "%2e%2e", "a/b"])
def test_an_address_leads_to_the_session_it_was_made_for(key: str) -> None:
    for address in (reverse("session", args=["acme", key]), urlsplit(session_link("acme", key)).path):
        followed = urlsplit(urljoin("https://weighhouse.example.com/o/acme/", address)).path
        assert followed == address
        found = resolve(unquote(followed))
        assert (found.url_name, found.kwargs["key"]) == ("session", key)
