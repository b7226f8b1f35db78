"""Contributions are summed over the pictures of each filter's category, however many classes there are."""

import pytest
import torch

from partcnn.evaluation.observation import contributions
from partcnn.evaluation.observation.contributions import ContributionSums

NUM_IMAGES, NUM_CLASSES, NUM_FILTERS = 12, 5, 3
SERVES = torch.tensor([[1, 1, 0, 1, 1], [0, 0, 1, 0, 0], [0, 1, 0, 0, 0]]).bool()  # [filter, label]


@pytest.fixture
def found(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Contributions [image, class, filter] and labels."""
    values = torch.randn(NUM_IMAGES, NUM_CLASSES, NUM_FILTERS, generator=generator)
    return values, torch.randint(NUM_CLASSES, (NUM_IMAGES,), generator=generator)


@pytest.mark.parametrize("is_known", [True, False])
def test_the_sums_are_over_the_pictures_that_count(found: tuple[torch.Tensor, torch.Tensor], is_known: bool) -> None:
    values, labels = found
    sums = ContributionSums(SERVES if is_known else None, NUM_FILTERS, NUM_CLASSES, NUM_CLASSES)
    for rows in torch.arange(NUM_IMAGES).split(5):
        sums.add(values[rows], labels[rows])
    expected = torch.zeros(NUM_CLASSES, NUM_FILTERS, dtype=torch.float64)
    for value, label in zip(values, labels.tolist(), strict=True):
        for number in range(NUM_FILTERS):
            if SERVES[number, label]:
                expected[:, number] += value[:, number].double()
    torch.testing.assert_close(sums.of(SERVES), expected)


def test_a_table_that_would_be_too_large_is_not_kept(
    found: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contributions, "_MOST_VALUES", NUM_CLASSES**2 * NUM_FILTERS)
    sums = ContributionSums(None, NUM_FILTERS, NUM_CLASSES, NUM_CLASSES)
    sums.add(*found)
    assert sums.of(SERVES) is None
