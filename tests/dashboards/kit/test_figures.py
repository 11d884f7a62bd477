"""Figures read alike wherever they stand."""

from decimal import Decimal

import pytest

from dashboards.components.figures import percent_text


@pytest.mark.parametrize(
    ("share", "text"), [("13.13", "1,313\u202f%"), ("-20", "\u22122,000\u202f%"), ("0.999", "100\u202f%"), ("0.0123", "1.2\u202f%")]
)
def test_a_percentage_of_thousands_is_grouped_as_other_figures(share: str, text: str) -> None:
    assert percent_text(Decimal(share)) == text
