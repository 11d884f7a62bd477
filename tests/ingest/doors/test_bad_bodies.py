"""Bodies that cannot be taken: the right status, a problem document, a kept copy, and nothing else harmed."""

import gzip
import json
import os
import zlib
from io import BytesIO
from typing import Any, BinaryIO, cast

import pytest
import zstandard
from django.test import RequestFactory
from rest_framework.test import APIClient

from ingest.doors import body as door_body
from ingest.formats.batch import BadBody
from ingest.models import RejectedInput, UsageEvent
from tests.ingest.doors.test_events import call, send

pytestmark = pytest.mark.django_db
GZIP = {"HTTP_CONTENT_ENCODING": "gzip"}
ZSTD = {"HTTP_CONTENT_ENCODING": "zstd"}
NDJSON = {"content_type": "application/x-ndjson"}
MEBIBYTE = 1 << 20


def bomb_gzip() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(b" " * MEBIBYTE) for _ in range(65)) + packer.flush()


def bomb_zstd() -> bytes:
    return zstandard.compress(b" " * (65 * MEBIBYTE), 19)


def wide_window() -> bytes:
    parameters = zstandard.ZstdCompressionParameters(window_log=25, enable_ldm=True)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(os.urandom(1000) + b" " * (40 * MEBIBYTE))


BAD: list[tuple[str, Any, dict[str, Any], int, str]] = [
    ("empty", b"", {}, 400, "empty_body"),
    ("broken JSON", b'{"events": [', {}, 400, "broken_json"),
    ("NaN", b'{"id": "a", "input_tokens": NaN}', {}, 400, "broken_json"),
    ("broken UTF-8", b'{"id": "\xff\xfe"}', {}, 400, "broken_utf8"),
    ("a list", b"[]", {}, 400, "wrong_shape"),
    ("100,000 brackets", b"[" * 100_000, {}, 400, "wrong_shape"),
    ("100,000 objects deep", b'{"a":' * 100_000, {}, 400, "too_deep"),
    ("no gzip", b"{}", GZIP, 400, "broken_compression"),
    ("gzip cut short", gzip.compress(b"{}" * 99)[:-9], GZIP, 400, "broken_compression"),
    ("gzip and rubbish", gzip.compress(b"{}") + b"rubbish", GZIP, 400, "broken_compression"),
    ("gzip of nothing", b"", GZIP, 400, "broken_compression"),
    ("no zstd", b"{}", ZSTD, 400, "broken_compression"),
    ("zstd cut short", zstandard.compress(b"{}" * 99)[:-3], ZSTD, 400, "broken_compression"),
    ("zstd with a wide window", wide_window, ZSTD, 400, "broken_compression"),
    ("gzip bomb", bomb_gzip, GZIP, 413, "decoded_body_too_large"),
    ("zstd bomb", bomb_zstd, ZSTD, 413, "decoded_body_too_large"),
    ("33 MB", lambda: b" " * (33 * MEBIBYTE), {}, 413, "body_too_large"),
    ("10,001 events", lambda: json.dumps({"events": [call(n) for n in range(10_001)]}).encode(), {}, 413, "too_many_events"),
    ("10,001 lines", lambda: b"\n".join(json.dumps(call(n)).encode() for n in range(10_001)), NDJSON, 413, "too_many_events"),
    ("a million nothings", b'{"events": [' + b"{}," * 1_300_000 + b"{}]}", {}, 413, "too_many_values"),
    ("a form", b"a=b", {"content_type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ("protobuf", b"a", {"content_type": "application/x-protobuf"}, 415, "unsupported_media_type"),
    ("latin-1", b"{}", {"content_type": "application/json; charset=latin-1"}, 415, "unsupported_charset"),
    ("two types", b"{}", {"content_type": "application/json, text/plain"}, 400, "ambiguous_content_type"),
    ("deflate", zlib.compress(b"{}"), {"HTTP_CONTENT_ENCODING": "deflate"}, 415, "unsupported_encoding"),
    ("gzip twice", b"{}", {"HTTP_CONTENT_ENCODING": "gzip, gzip"}, 415, "unsupported_encoding"),
]


@pytest.mark.parametrize(("body", "headers", "status", "code"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_body_is_refused_with_a_problem_and_kept(api: APIClient, body: Any, headers: dict[str, Any], status: int, code: str) -> None:
    response = send(api, body() if callable(body) else body, **headers)
    problem = json.loads(response.content)
    assert (response.status_code, response["Content-Type"], problem["code"]) == (status, "application/problem+json", code)
    assert problem["detail"].endswith(".")
    kept = RejectedInput.objects.get()
    assert (kept.kind, kept.code, kept.door) == ("envelope", code, "rest")
    assert len(bytes(kept.payload)) <= 65_536
    assert not UsageEvent.objects.exists()
    assert send(api, call()).status_code == 201


@pytest.mark.parametrize("body", [b"{}", b"\n".join([b"{}"] * 3), b'{"events": []}'], ids=["one", "lines", "many"])
@pytest.mark.parametrize(
    "content_type", ["application/json", 'application/json; charset="UTF-8"', "application/x-ndjson", "application/jsonl", ""]
)
def test_every_spelling_of_json_is_taken(api: APIClient, body: bytes, content_type: str) -> None:
    assert send(api, body, content_type).status_code in (200, 422)


def test_a_body_that_ends_early_is_said_to() -> None:
    request = RequestFactory().generic("POST", "/", b"short", content_type="application/json", CONTENT_LENGTH="100")
    request._stream = BytesIO(b"short")
    with pytest.raises(BadBody, match="ended after 5 of 100"):
        door_body.body_read(request, max_body_bytes=1000, max_decoded_bytes=1000)


def test_a_length_over_the_limit_is_refused_before_a_byte_is_read() -> None:
    class Untouchable:
        def read(self, size: int) -> bytes:
            raise AssertionError("nothing may be read")

    request = RequestFactory().generic("POST", "/", b"", content_type="application/json", CONTENT_LENGTH="1001")
    request._stream = cast("BinaryIO", Untouchable())
    with pytest.raises(BadBody, match="may have 1,000 bytes"):
        door_body.body_read(request, max_body_bytes=1000, max_decoded_bytes=1000)


def test_a_chunked_body_needs_a_server_that_ends_it() -> None:
    request = RequestFactory().generic("POST", "/", b"", CONTENT_LENGTH="", HTTP_TRANSFER_ENCODING="chunked")
    with pytest.raises(BadBody) as caught:
        door_body.body_read(request, max_body_bytes=10, max_decoded_bytes=10)
    assert caught.value.status == 411
