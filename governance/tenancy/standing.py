"""Whether a key and its organization still are as a process remembers them: a condition for the statement that writes by them.

The row versions that a key was read from are looked for where they lay: to join the rows again and compare all of it in words costs
a statement that commits one call a tenth of its time.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from governance.tenancy.authentication import UNMOVED, Remembered, remembered_parameters

CONFIGURED = "(SELECT config_version FROM organization WHERE id = %(organization)s) = %(version)s"
# The kinds of rows that keys are made of; of several keys at once only that they are several.
Parts = tuple[str, ...] | None


def parts_of(keys: Sequence[Remembered | None]) -> tuple[Parts, dict[str, Any]]:
    """Which condition these keys take, and its parameters. None among them has been looked up just now."""
    pending = {key.secret_hash: key for key in keys if key is not None}
    if len(pending) > 1:
        return None, remembered_parameters(keys)
    told: dict[str, Any] = {}
    for key in pending.values():
        told["key_hash"] = key.secret_hash
        for number, row in enumerate(key.rows):
            told |= {f"row_{number}": row.id, f"place_{number}": row.ctid, f"made_{number}": row.xmin}
        return tuple(row.table for row in key.rows), told
    return (), told


@lru_cache
def as_remembered(parts: Parts) -> str:
    """SQL that is true while the organization %(organization)s has the configuration %(version)s and the keys are unmoved. Needs what `parts_of` tells."""
    if not parts:
        return CONFIGURED if parts is not None else f"{CONFIGURED} AND {UNMOVED}"
    places = [
        f"r{number}.ctid = %(place_{number})s::tid AND r{number}.xmin = %(made_{number})s::xid AND r{number}.id = %(row_{number})s"
        for number in range(len(parts))
    ]
    versions = [
        f"r{number}.id = %(organization)s AND r{number}.config_version = %(version)s"
        for number, table in enumerate(parts)
        if table == "organization"
    ]
    tables = " CROSS JOIN ".join(f"{table} r{number}" for number, table in enumerate(parts))
    return f"EXISTS (SELECT FROM {tables} WHERE {' AND '.join([*versions, *places, 'r0.secret_hash = %(key_hash)s'])})"
