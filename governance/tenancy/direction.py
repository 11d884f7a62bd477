"""What others wrote does not turn the text around it, and is not invisible.

A name may hold characters that set the direction of writing. One that is never closed mirrors what comes after it on the page, words and
amounts of ours too: whoever names a session could have an approver read another sum. So pages show them as a sign of something unreadable.
Letters that are written from right to left need none of them. Values of fields and addresses keep them, so that what is posted or looked up is what was meant.
A name of nothing but characters without width would be a link that nobody sees, so it is shown as the same sign.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

# U+202A to U+202E and U+2066 to U+2069, as they are in UTF-8.
TURNING = re.compile(rb"\xe2(?:\x80[\xaa-\xae]|\x81[\xa6-\xa9])")
BETWEEN_TAGS = re.compile(rb">[^<>]+")
# U+00AD, U+200B to U+200F, U+2060 to U+2064 and U+FEFF, with nothing else between two tags.
UNSEEN = re.compile(rb">\s*(?:(?:\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf)\s*)+(?=<)")
SIGN = "\N{REPLACEMENT CHARACTER}".encode()


class KeepDirection:
    """Middleware of the pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self.get_response(request)
        if isinstance(answer, HttpResponse) and answer.get("Content-Type", "").startswith("text/html"):
            was = shown = answer.content
            if TURNING.search(shown):
                shown = BETWEEN_TAGS.sub(lambda text: TURNING.sub(SIGN, text[0]), shown)
            shown = UNSEEN.sub(b">" + SIGN, shown)
            if shown != was:
                answer.content = shown
        return answer
