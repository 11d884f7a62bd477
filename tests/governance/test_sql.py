"""Lists travel to PostgreSQL as arrays and come back the same."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governance import sql

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
INSTANT = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, places=15, min_value=-(10**12), max_value=10**12),
    "uuid": st.uuids(),
    "timestamptz": INSTANT,
    "date": st.dates(),
    "boolean": st.booleans(),
}


def returned(kind: str, values: list[Any]) -> list[Any]:
    """What the database makes of the list."""
    return [row.value for row in sql.rows(f"SELECT x.value FROM {sql.unnest('x', {'value': kind})}", {"value": values})]


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
def test_a_list_comes_back_as_it_went(kind: str) -> None:
    @given(st.lists(KINDS[kind] | st.none(), max_size=8))
    def check(values: list[Any]) -> None:
        assert returned(kind, values) == values

    check()


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["", "NULL", "null", "None", '"', "\\", '","', "{}", "a,b", " a ", "\n", "é ø 漢"])
def test_texts_that_arrays_give_a_meaning_stay_texts(text: str) -> None:
    assert returned("text", [text]) == [text]
    assert returned("text", ["a", text, None]) == ["a", text, None]


@pytest.mark.django_db
def test_text_that_the_database_cannot_hold_is_refused() -> None:
    with pytest.raises(psycopg.DataError):
        returned("text", ["a\0b"])


@pytest.mark.django_db
def test_values_of_the_hot_path_keep_their_exactness() -> None:
    assert returned("numeric", [Decimal("0.000000000000001"), Decimal("1E-15")]) == [Decimal("1E-15")] * 2
    moment = datetime(2026, 3, 29, 1, 0, 0, 1, UTC) + timedelta(hours=1)
    assert returned("timestamptz", [moment]) == [moment]
    assert returned("date", [date(2026, 3, 29)]) == [date(2026, 3, 29)]
    assert returned("uuid", [UUID(int=7)]) == [UUID(int=7)]


@pytest.mark.django_db
def test_jsonb_is_read_as_what_it_says() -> None:
    assert sql.rows("""SELECT '{"a": ["b", 1, null]}'::jsonb AS value""")[0].value == {"a": ["b", 1, None]}
