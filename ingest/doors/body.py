"""Reads a request's body in pieces under limits, unpacking gzip and zstd without ever holding more than is allowed."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import zstandard
from django.http import HttpRequest

from ingest.formats.batch import BadBody, TooLarge, Unreadable, Unsupported

PIECE = 65_536
# A zstd block of 4 bytes can unpack to 128 KiB, so what is fed at once bounds what comes out at once (16 MiB).
ZSTD_PIECE = 512
ZSTD_WINDOW = 8 * 1024 * 1024
GZIP_WINDOW_BITS = 31


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class LengthRequired(BadBody):
    """The server in front cannot pass on a body of unknown length."""

    status = 411
    title = "The length of the body is needed"


def body_read(request: HttpRequest, *, max_body_bytes: int, max_decoded_bytes: int) -> bytes:
    """The body, unpacked. Raises TooLarge (413), Unreadable (400), Unsupported (415) or LengthRequired (411)."""
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower() or "identity"
    pieces = raw_pieces(request, max_body_bytes)
    if encoding == "identity":
        return joined(pieces, max_decoded_bytes)
    if encoding in ("gzip", "x-gzip"):
        return joined(gunzipped(pieces), max_decoded_bytes)
    if encoding == "zstd":
        return joined(unzstd(pieces), max_decoded_bytes)
    raise Unsupported("unsupported_encoding", f"The compression '{encoding[:40]}' is not taken; send gzip, zstd or none.")


def media_type(request: HttpRequest) -> str:
    """The media type without parameters, in lower case; "" when none was sent. Raises for one that contradicts itself."""
    header = str(request.META.get("CONTENT_TYPE", "")).lower()
    if "," in header:
        raise Unreadable("ambiguous_content_type", "More than one Content-Type was sent.")
    kind, _, parameters = header.partition(";")
    charset = parameters.partition("charset=")[2].partition(";")[0].strip().strip('"')
    if charset not in ("", "utf-8", "utf8"):
        raise Unsupported("unsupported_charset", f"The text must be UTF-8, not '{charset[:40]}'.")
    return kind.strip()


def raw_pieces(request: HttpRequest, limit: int) -> Iterator[bytes]:
    """The body as it came, in pieces, at most `limit` bytes."""
    declared = declared_length(request)
    if declared is not None and declared > limit:
        raise too_large(limit)
    stream: Stream = request if declared is not None else unmeasured(request)
    seen = 0
    while piece := read_piece(stream):
        seen += len(piece)
        if seen > limit:
            raise too_large(limit)
        yield piece
    if declared is not None and seen < declared:
        raise Unreadable("incomplete_body", f"The body ended after {seen:,} of {declared:,} bytes.")


def declared_length(request: HttpRequest) -> int | None:
    header = request.META.get("CONTENT_LENGTH") or ""
    return int(header) if header.isascii() and header.isdigit() else None


def unmeasured(request: HttpRequest) -> Stream:
    """The stream of a body without a length, which can be read only where the server ends it."""
    environ = request.META
    if environ.get("wsgi.input_terminated"):
        stream: Stream = environ["wsgi.input"]
        return stream
    if environ.get("HTTP_TRANSFER_ENCODING"):
        raise LengthRequired("length_required", "Send a Content-Length.")
    return request


def read_piece(stream: Stream) -> bytes:
    try:
        return stream.read(PIECE)
    except OSError:
        raise Unreadable("incomplete_body", "The connection ended before the body did.") from None


def gunzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What the gzip members in the pieces hold, one after the other."""
    inflater = zlib.decompressobj(wbits=GZIP_WINDOW_BITS)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if inflater.eof:
                    inflater = zlib.decompressobj(wbits=GZIP_WINDOW_BITS)
                yield inflater.decompress(rest, PIECE)
                rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        while part := inflater.decompress(b"", PIECE):
            yield part
    except zlib.error:
        raise Unreadable("broken_compression", "The body says it is gzip, and is not or is damaged.") from None
    if not inflater.eof:
        raise Unreadable("broken_compression", "The gzip body is cut short.")


def unzstd(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What the zstd frames in the pieces hold, one after the other."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
    frame = decompressor.decompressobj(write_size=PIECE)
    try:
        for piece in pieces:
            for offset in range(0, len(piece), ZSTD_PIECE):
                rest = piece[offset : offset + ZSTD_PIECE]
                while rest:
                    if frame.eof:
                        frame = decompressor.decompressobj(write_size=PIECE)
                    yield frame.decompress(rest)
                    rest = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError:
        raise Unreadable("broken_compression", "The body says it is zstd, and is not, is damaged, or needs a window over 8 MiB.") from None
    if not frame.eof:
        raise Unreadable("broken_compression", "The zstd body is cut short.")


def joined(pieces: Iterable[bytes], limit: int) -> bytes:
    """The pieces together, refused as soon as they pass the limit."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise TooLarge("decoded_body_too_large", f"The body unpacks to more than {limit:,} bytes.")
        parts.append(piece)
    return b"".join(parts)


def too_large(limit: int) -> TooLarge:
    return TooLarge("body_too_large", f"A body may have {limit:,} bytes; send it in several requests.")
