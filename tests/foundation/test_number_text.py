"""A number is shown with a true minus, never as minus zero, and nothing is shown as a dash."""

import math

import pytest

from partcnn.foundation.number_text import decimal, percent, signed


@pytest.mark.parametrize(
    ("value", "plain", "with_sign"),
    [
        (0.414, "0.41", "+0.41"),
        (-0.016, "−0.02", "−0.02"),
        (-0.004, "0.00", "0.00"),
        (0.004, "0.00", "0.00"),
        (0.0, "0.00", "0.00"),
        (12.0, "12.00", "+12.00"),
        (math.nan, "–", "–"),
        (None, "–", "–"),
    ],
)
def test_a_number_has_one_text(value: float | None, plain: str, with_sign: str) -> None:
    assert decimal(value) == plain
    assert signed(value) == with_sign


def test_shares_are_percent_with_one_decimal() -> None:
    assert [percent(share) for share in (0.974, -0.05, math.nan)] == ["97.4 %", "−5.0 %", "–"]
