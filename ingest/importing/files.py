"""Uploaded files, kept in the database in compressed pieces within bounds, so that a worker on any machine can read them."""

import codecs
import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from governance.errors import Invalid
from ingest.doors.body import gunzipped
from ingest.importing.models import ImportPiece, ImportRun
from ingest.importing.text import encoding_of

# What one file may have as it is sent and unpacked, and how many files of an organization may wait or run at a time.
MOST_BYTES = 100 * 1024 * 1024
MOST_UNPACKED = 512 * 1024 * 1024
MOST_OPEN = 5
PIECE = 512 * 1024
HEAD = 65_536
GZIP = b"\x1f\x8b"


@dataclass(slots=True)
class Seen:
    """What reading a file through shows of it."""

    bytes_sent: int = 0
    bytes_total: int = 0
    lines: int = 0
    head: bytes = b""
    is_utf8: bool = True
    _decoder: codecs.IncrementalDecoder = field(default_factory=codecs.getincrementaldecoder("utf-8"))
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def look(self, piece: bytes) -> None:
        """Takes note of the next piece, unpacked."""
        self.bytes_total += len(piece)
        self.lines += piece.count(b"\n")
        self._digest.update(piece)
        if len(self.head) < HEAD:
            self.head += piece[: HEAD - len(self.head)]
        if self.is_utf8:
            try:
                self._decoder.decode(piece)
            except UnicodeDecodeError:
                self.is_utf8 = False

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    @property
    def encoding(self) -> str:
        return encoding_of(self.head, is_utf8=self.is_utf8)


def file_keep(run: ImportRun, sent: Iterable[bytes]) -> Seen:
    """Keeps the file as it is sent, gzip unpacked. Raises Invalid for one that is empty, too large or no text, and Unreadable for broken gzip."""
    seen = Seen()
    rest, number = b"", 0
    for piece in _unpacked(_measured(sent, seen)):
        seen.look(piece)
        if seen.bytes_total > MOST_UNPACKED:
            raise Invalid(f"Unpacked, a file may have {MOST_UNPACKED // 1024**2:,} MiB. Send it in parts.", field="file")
        rest += piece
        while len(rest) >= PIECE:
            _keep(run, number, rest[:PIECE])
            rest, number = rest[PIECE:], number + 1
    if rest:
        _keep(run, number, rest)
    if not seen.head.strip():
        raise Invalid("The file is empty.", field="file")
    if seen.head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"%PDF")):
        raise Invalid("This is a workbook or a document. Save the table as CSV and send that.", field="file")
    return seen


def _measured(sent: Iterable[bytes], seen: Seen) -> Iterator[bytes]:
    for piece in sent:
        seen.bytes_sent += len(piece)
        if seen.bytes_sent > MOST_BYTES:
            raise Invalid(
                f"A file may have {MOST_BYTES // 1024**2:,} MiB as it is sent. Compress it with gzip, or send it in parts.", field="file"
            )
        yield piece


def _unpacked(sent: Iterator[bytes]) -> Iterator[bytes]:
    first = next(sent, b"")

    def again() -> Iterator[bytes]:
        yield first
        yield from sent

    return gunzipped(again()) if first.startswith(GZIP) else again()


def _keep(run: ImportRun, number: int, content: bytes) -> None:
    ImportPiece.objects.create(organization_id=run.organization_id, run=run, number=number, content=zlib.compress(content, 1))


def file_pieces(run: ImportRun) -> Iterator[bytes]:
    """The file again, piece by piece."""
    number = 0
    while (
        content := ImportPiece.objects.filter(organization=run.organization_id, run=run, number=number)
        .values_list("content", flat=True)
        .first()
    ):
        yield zlib.decompress(bytes(content))
        number += 1


def file_drop(run: ImportRun) -> None:
    """Forgets the file: nothing needs it any more."""
    ImportPiece.objects.filter(organization=run.organization_id, run=run).delete()
