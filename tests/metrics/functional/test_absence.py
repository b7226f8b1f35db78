"""Firing on hidden parts: against the slow twin, and filters of which one knows what they have."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional import hidden_firing
from tests.reference import absence as twin


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 40), st.sampled_from([0.3, 0.5, 0.9, 1.0]), st.booleans())
def test_it_is_that_of_the_twin(seed: int, num_pictures: int, kept: float, has_ties: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(num_pictures, 4, generator=generator)
    if has_ties:
        scores = (3 * scores).round()
    is_shown = torch.rand(num_pictures, 4, generator=generator) < 0.6
    found = hidden_firing(scores, is_shown, kept=kept)
    assert found.dtype == torch.float64
    expected = twin.hidden_firing(scores.tolist(), is_shown.tolist(), kept)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_who_knows_has_none_who_does_not_look_as_many_and_who_always_fires_all() -> None:
    generator = torch.Generator().manual_seed(0)
    is_shown = torch.rand(4000, 3, generator=generator) < 0.5
    scores = torch.stack([is_shown[:, 0].float(), torch.rand(4000, generator=generator), torch.ones(4000)], dim=1)
    assert hidden_firing(scores, is_shown).tolist() == pytest.approx([0, 0.9, 1], abs=0.02)


def test_by_hand() -> None:
    scores = torch.tensor([[0.1], [0.5], [0.6], [0.7], [0.9], [0.4], [0.55], [0.2], [0.3], [0.8]])
    is_shown = torch.arange(10)[:, None] < 5
    assert hidden_firing(scores, is_shown, kept=0.8).item() == pytest.approx(2 / 5)  # at 0.5: 0.55 and 0.8
    assert hidden_firing(scores, is_shown).item() == 1  # at 0.1
    assert hidden_firing(scores[1:], is_shown[1:]).isnan().all()  # four that show it


def test_no_picture_and_no_part() -> None:
    assert hidden_firing(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.bool)).isnan().all()
    assert hidden_firing(torch.zeros(9, 0), torch.zeros(9, 0, dtype=torch.bool)).shape == (0,)


def test_other_axes_and_shares_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"is_shown: expected \[picture, part\] and bool"):
        hidden_firing(torch.zeros(9, 2), torch.zeros(9, 3, dtype=torch.bool))
    with pytest.raises(ShapeError, match="float32"):
        hidden_firing(torch.zeros(9, 2), torch.zeros(9, 2))
    with pytest.raises(ConfigError, match="kept: expected a share above 0 and at most 1, got 0"):
        hidden_firing(torch.zeros(9, 2), torch.zeros(9, 2, dtype=torch.bool), kept=0)
