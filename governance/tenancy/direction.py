"""What others wrote does not turn the text around it.

A name may hold characters that set the direction of writing. One that is never closed mirrors what comes after it on the page, words and
amounts of ours too: whoever names a session could have an approver read another sum. So pages show them as a sign of something unreadable.
Letters that are written from right to left need none of them. Values of fields and addresses keep them, so that what is posted or looked up is what was meant.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

# U+202A to U+202E and U+2066 to U+2069, as they are in UTF-8.
TURNING = re.compile(rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])")
BETWEEN_TAGS = re.compile(rb">[^<>]+")
SIGN = "\N{REPLACEMENT CHARACTER}".encode()


class KeepDirection:
    """Middleware of the pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self.get_response(request)
        if not answer.streaming and answer.get("Content-Type", "").startswith("text/html") and TURNING.search(answer.content):  # type: ignore[attr-defined]
            answer.content = BETWEEN_TAGS.sub(lambda text: TURNING.sub(SIGN, text[0]), answer.content)  # type: ignore[attr-defined]
        return answer
