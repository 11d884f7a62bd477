"""The baseline of storing: COPY of rows that lie ready as text into the same partitioned table, a commit for each batch, one connection."""

import time
from uuid import uuid4

import psycopg

from ingest.services.statements import EVENT_COLUMNS

NAMES = ", ".join(EVENT_COLUMNS)
SAMPLE = f"COPY (SELECT {NAMES} FROM usage_event WHERE organization_id > 0 LIMIT 1000) TO STDOUT"
COPY = f"COPY usage_event ({NAMES}) FROM STDIN"
# An organization that does not exist, so that the product's own sums stay true.
NOBODY = "0"


def sample(connection: psycopg.Connection) -> list[list[bytes]]:
    """A thousand events that the product has stored, as the columns of COPY's text."""
    with connection.cursor().copy(SAMPLE) as copy:
        text = b"".join(bytes(piece) for piece in copy)
    return [line.split(b"\t") for line in text.splitlines()]


def blocks(rows: list[list[bytes]], count: int) -> list[bytes]:
    """`count` batches of these rows, each row with an id of its own."""
    place = list(EVENT_COLUMNS).index("id")
    owner = list(EVENT_COLUMNS).index("organization_id")
    made = []
    for _ in range(count):
        for row in rows:
            row[place], row[owner] = str(uuid4()).encode(), NOBODY.encode()
        made.append(b"".join(b"\t".join(row) + b"\n" for row in rows))
    return made


def rows_per_second(connection: psycopg.Connection, batches: list[bytes]) -> float:
    """Copies and commits one batch after the other."""
    began = time.perf_counter()
    for batch in batches:
        with connection.cursor().copy(COPY) as copy:
            copy.write(batch)
        connection.commit()
    return len(batches) * 1000 / (time.perf_counter() - began)
