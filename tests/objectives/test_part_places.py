"""Where a filter says its part is: the peak, and the expected cell against its float64 twin."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.model.mask import PartMask
from partcnn.objectives.part_places import PLACES, centroid_cells, expected_cells, part_places
from partcnn.objectives.templates import map_peaks
from tests.reference.part_places import expected_place


@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    beta=st.floats(0.5, 12),
    height=st.sampled_from([1e-4, 1.0, 1e4]),
)
def test_the_expected_cell_is_the_mean_under_the_posterior_of_the_templates(
    seed: int, size: tuple[int, int], beta: float, height: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 3, *size, generator=generator, dtype=torch.float64) * height
    maps[0, 1] = 0
    found = expected_cells(maps, beta=beta)
    for image in range(2):
        for index in range(3):
            wanted = expected_place(maps[image, index].numpy(), beta=beta)
            assert found[image, index].tolist() == pytest.approx(wanted, abs=1e-9)


def test_a_peak_is_one_cell_and_an_expected_place_weighs_all_that_lies_around() -> None:
    maps = torch.zeros(1, 2, 14, 14)
    maps[0, :, 4:7, 2:5] = 0.9  # nine cells about (5, 3)
    maps[0, :, 4, 2] = 1  # of which this one happens to be the largest
    maps[0, 1, 10, 12] = 1.1  # one cell far off
    assert part_places(maps).tolist() == [[[4, 2], [10, 12]]]
    for row, col in part_places(maps, "expected")[0].tolist():
        assert abs(row - 5) <= 1
        assert abs(col - 3) <= 2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_places_are_cells_of_the_map(layout: torch.memory_format) -> None:
    maps = torch.rand(5, 4, 6, 9).contiguous(memory_format=layout)
    for places in PLACES:
        found = part_places(maps, places)
        assert found.dtype == torch.long
        assert (found >= 0).all()
        assert (found < torch.tensor([6, 9])).all()
        assert torch.equal(found, part_places(maps.contiguous(), places))


def test_the_place_does_not_depend_on_how_strong_the_map_is() -> None:
    maps = torch.rand(4, 3, 7, 5)
    torch.testing.assert_close(expected_cells(maps * 37), expected_cells(maps), atol=1e-4, rtol=0)


def test_a_silent_filter_is_expected_in_the_middle() -> None:
    assert expected_cells(torch.zeros(1, 1, 5, 7))[0, 0].tolist() == pytest.approx([2, 3])


def test_a_slope_of_each_filter_is_its_own() -> None:
    maps = torch.rand(2, 2, 6, 6)
    both = expected_cells(maps, beta=torch.tensor([2.0, 8.0]))
    torch.testing.assert_close(both[:, 0], expected_cells(maps[:, :1], beta=2.0)[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(both[:, 1], expected_cells(maps[:, 1:], beta=8.0)[:, 0], atol=1e-4, rtol=0)


def test_the_expected_cell_has_the_gradient_of_its_definition() -> None:
    maps = torch.rand(2, 2, 4, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(expected_cells, (maps,))


def test_a_mask_reads_places_as_it_was_made_to_and_as_it_is_asked_to() -> None:
    maps = torch.rand(8, 3, 14, 14)
    mask = PartMask(3, 2, enabled=False, places="expected")
    assert torch.equal(mask.part_cells(maps), part_places(maps, "expected"))
    assert torch.equal(mask.part_cells(maps, "peak"), map_peaks(maps))
    assert torch.equal(PartMask(3, 2).part_cells(maps), map_peaks(maps))


def test_bad_input_is_named() -> None:
    with pytest.raises(ConfigError, match="places: expected one of peak, expected, got 'middle'"):
        part_places(torch.rand(1, 1, 3, 3), "middle")
    with pytest.raises(ConfigError, match="places: expected peak with a mask, which is about the peak, got expected"):
        PartMask(3, 2, places="expected")
    for places in PLACES:
        with pytest.raises(ShapeError):
            part_places(torch.rand(1, 3, 3), places)


def test_a_centroid_is_the_mean_of_the_cells_weighed_by_the_map() -> None:
    maps = torch.zeros(1, 3, 4, 5)
    maps[0, 0, 1, 2], maps[0, 0, 3, 2] = 3, 1
    maps[0, 1, 2, 4] = 1e-6  # however weak
    assert part_places(maps, "centroid").tolist() == [[[2, 2], [2, 4], [2, 2]]]  # of nothing the middle
    assert centroid_cells(maps)[0, 0].tolist() == [1.5, 2]
