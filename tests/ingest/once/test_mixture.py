"""On mixtures of which the truth is known two calls are not taken for one, but where each of them lost a report."""

import pytest

from tests.ingest.once.mixture import MIXTURES, Mixture, tallied


@pytest.mark.parametrize("kind", MIXTURES, ids=lambda kind: kind.name)
def test_calls_come_out_as_they_were(kind: Mixture) -> None:
    merged, _, split = tallied(kind, sessions=15).rates()
    assert merged <= (4 if kind.lost else 0)
    assert split <= 0.5
