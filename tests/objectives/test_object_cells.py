"""Cells well within an object, and an object's shares in views of its picture."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.objectives.object_cells import carried_into_views, eroded
from tests.reference import object_map as twin

float64 = torch.float64
WHOLE = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=float64)
FLIPPED = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], dtype=float64)


def even_centers(height: int, width: int) -> tuple[Tensor, Tensor]:
    return (torch.arange(height, dtype=float64) + 0.5) / height, (torch.arange(width, dtype=float64) + 0.5) / width


def drawn_share(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


sizes = st.tuples(st.integers(1, 5), st.integers(1, 6))


@given(size=sizes, seed=st.integers(0, 2**31), offset=st.floats(0, 0.1), stride=st.floats(0.05, 0.2))
def test_shares_are_carried_as_the_twin_does(size: tuple[int, int], seed: int, offset: float, stride: float) -> None:
    """Centres need not lie symmetrically, and views may look past the picture."""
    share = drawn_share(2, *size, seed=seed)
    frames = drawn_share(2, 3, 2, 3, seed=seed + 1) * 3 - 1.5
    rows, cols = (torch.arange(length, dtype=float64) for length in size)
    centers = (offset + stride * rows, 0.1 + 0.9 * stride * cols)
    found = carried_into_views(share, frames, centers)
    assert found.shape == (2, 3, *size)
    as_floats = [center.tolist() for center in centers]
    expected = [
        [twin.carried_into_view(share[picture].tolist(), frame, as_floats) for frame in frames[picture].tolist()]
        for picture in range(2)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=float64), atol=1e-9, rtol=0)


def test_the_whole_picture_is_itself_and_a_flip_is_flipped() -> None:
    share = drawn_share(2, 4, 6)
    found = carried_into_views(share, torch.stack([WHOLE, FLIPPED]).expand(2, 2, 2, 3), even_centers(4, 6))
    torch.testing.assert_close(found[:, 0], share)
    torch.testing.assert_close(found[:, 1], share.flip(-1))


def test_beyond_the_picture_its_border_goes_on() -> None:
    share = drawn_share(1, 4, 4)
    to_the_right = torch.tensor([[[[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]]]])
    found = carried_into_views(share, to_the_right, even_centers(4, 4))
    torch.testing.assert_close(found[0, 0], share[0, :, 3:].expand(4, 4))


@given(size=sizes, seed=st.integers(0, 2**31))
def test_erosion_is_that_of_the_twin(size: tuple[int, int], seed: int) -> None:
    share = drawn_share(2, *size, seed=seed)
    expected = [twin.eroded(picture) for picture in share.tolist()]
    assert torch.equal(eroded(share), torch.tensor(expected, dtype=float64))


def test_erosion_takes_the_outline_and_leaves_what_is_within() -> None:
    share = torch.zeros(1, 7, 7)
    share[0, 1:6, 1:6] = 1
    expected = torch.zeros(1, 7, 7)
    expected[0, 2:5, 2:5] = 1
    assert torch.equal(eroded(share), expected)


def test_no_picture_and_no_view_are_empty() -> None:
    centers = even_centers(4, 4)
    assert carried_into_views(torch.rand(0, 4, 4), torch.rand(0, 2, 2, 3), centers).shape == (0, 2, 4, 4)
    assert carried_into_views(torch.rand(3, 4, 4), torch.rand(3, 0, 2, 3), centers).shape == (3, 0, 4, 4)
    assert eroded(torch.rand(0, 4, 4)).shape == (0, 4, 4)


def test_shapes_that_do_not_fit_are_named() -> None:
    share, frames, centers = torch.rand(2, 4, 5), torch.rand(2, 3, 2, 3), even_centers(4, 5)
    for wrong in (frames[:1], frames[:, 0], frames[..., :2]):
        with pytest.raises(ShapeError, match="share, frames: expected"):
            carried_into_views(share, wrong, centers)
    with pytest.raises(ShapeError, match=r"centers: expected \(4, 5\) rows and columns"):
        carried_into_views(share, frames, even_centers(5, 4))
    with pytest.raises(ShapeError, match=r"share: expected \[image, row, col\]"):
        eroded(share[0])
