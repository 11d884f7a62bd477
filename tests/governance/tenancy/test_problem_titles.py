"""Titles of problem documents are sentences, with every word filled in."""

from rest_framework.exceptions import MethodNotAllowed, Throttled

from governance.tenancy.problems import exception_handler


def test_a_method_that_is_not_allowed_is_named() -> None:
    answer = exception_handler(MethodNotAllowed("PUT"), {})
    assert answer is not None
    assert (answer.data["title"], answer.data["code"], answer.status_code) == ('Method "PUT" not allowed.', "method_not_allowed", 405)


def test_a_title_without_a_gap_stays_as_it_is() -> None:
    answer = exception_handler(Throttled(wait=3), {})
    assert answer is not None
    assert answer.data["title"] == str(Throttled.default_detail)
