"""A part moves with its picture: expected positions, and how they vary within pictures and between."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from partcnn.foundation.errors import LayerError, ShapeError
from partcnn.model.conversion import convert
from partcnn.model.losses import equivariance_loss
from partcnn.model.mask import PartMask, part_masks
from partcnn.model.modules import MapErasing
from partcnn.networks.probing.receptive_field import cell_centers, receptive_field
from partcnn.objectives.equivariance import equivariance, expected_positions
from tests.reference import equivariance as twin

float64 = torch.float64
WHOLE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
FLIPPED = [[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]


def even_centers(height: int, width: int) -> tuple[Tensor, Tensor]:
    return (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width


def random_case(height: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(6, 3, height, width, generator=generator, dtype=float64).relu() * 4
    belongs = (torch.rand(3, 3, generator=generator) < 0.6).repeat(2, 1)
    frames = torch.rand(6, 2, 3, generator=generator, dtype=float64)
    return maps, belongs, frames


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 6), (1, 1)], ids=str)
@pytest.mark.parametrize("beta", [4.0, [2.0, 4.0, 5.5]], ids=["one slope", "a slope per filter"])
def test_it_agrees_with_its_twin(size: tuple[int, int], beta: float | list[float]) -> None:
    maps, belongs, frames = random_case(*size)
    centers = even_centers(*size)
    slopes = torch.tensor(beta, dtype=float64) if isinstance(beta, list) else beta
    found = equivariance(maps, belongs, frames, centers, tau=0.7, beta=slopes)
    expected = [
        twin.equivariance(
            maps[:, [f]].tolist(),
            belongs[:, [f]].tolist(),
            frames.tolist(),
            [center.to(float64).tolist() for center in centers],
            0.7,
            beta[f] if isinstance(beta, list) else beta,
        )[0]
        for f in range(3)
    ]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=float64), atol=1e-10, rtol=0)


def test_the_gradient_is_that_of_the_value() -> None:
    maps, belongs, frames = random_case(3, 4)
    maps = (maps + 0.1).requires_grad_()

    def loss(maps: Tensor) -> Tensor:
        return equivariance(maps, belongs, frames, even_centers(3, 4), tau=0.3)

    assert torch.autograd.gradcheck(loss, maps, fast_mode=False)


@given(row=st.integers(0, 6), col=st.integers(0, 6))
def test_a_sharp_peak_is_where_it_is_expected(row: int, col: int) -> None:
    maps = torch.zeros(1, 1, 7, 7)
    maps[0, 0, row, col] = 1000.0
    (position,) = expected_positions(maps, even_centers(7, 7), tau=1.0).flatten(0, 1)
    torch.testing.assert_close(position, torch.tensor([(col + 0.5) / 7, (row + 0.5) / 7]))


def at_cells(rows: list[int], cols: list[int]) -> Tensor:
    """[image, 1, 7, 7] with one sharp peak each."""
    maps = torch.zeros(len(rows), 1, 7, 7)
    maps[torch.arange(len(rows)), 0, rows, cols] = 1000.0
    return maps


@given(places=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=5))
def test_it_is_the_ratio_of_the_variances_within_a_picture_and_between_pictures(places: list[tuple[int, int]]) -> None:
    rows, cols = (list(axis) for axis in zip(*places, strict=True))
    moves = torch.cat([at_cells(rows, cols), at_cells(rows, [6 - col for col in cols])])  # with the flip
    stays = torch.cat([at_cells(rows, cols), at_cells(rows, cols)])
    loss = equivariance(
        torch.cat([moves, stays], dim=1),
        torch.ones(len(moves), 2, dtype=torch.bool),
        torch.tensor([WHOLE] * len(places) + [FLIPPED] * len(places)),
        even_centers(7, 7),
        tau=1.0,
    )
    x, y = (torch.tensor(axis).add(0.5).div(7) for axis in (cols, rows))
    between = x.var(correction=0) + y.var(correction=0)
    expected_of_moves = math.log(0.002 / (0.002 + between))
    # what stays is at x and 1 − x of the picture: its middle is 1/2, whatever the picture
    within = ((2 * x - 1) ** 2).mean() / 2
    expected_of_stays = torch.log((within + 0.002) / (y.var(correction=0) + 0.002))
    torch.testing.assert_close(loss, torch.tensor([expected_of_moves, expected_of_stays]), atol=1e-4, rtol=1e-4)


def test_a_fixed_point_of_the_object_is_worth_no_more_than_silence() -> None:
    fixed = at_cells([3] * 4, [3] * 4)
    follower = at_cells([1, 5, 2, 4] * 2, [0, 3, 6, 2] * 2)
    maps = torch.cat([torch.cat([fixed, fixed]), follower, torch.zeros(8, 1, 7, 7)], dim=1)
    belongs, frames = torch.ones(8, 3, dtype=torch.bool), torch.tensor([WHOLE] * 8)
    loss = equivariance(maps, belongs, frames, even_centers(7, 7), tau=1.0)
    torch.testing.assert_close(loss[[0, 2]], torch.zeros(2), atol=1e-4, rtol=0)
    assert loss[1] < -3


def test_pictures_of_other_categories_do_not_count_and_none_gives_0() -> None:
    maps, _, frames = random_case(4, 4)
    belongs = torch.tensor([[True, False, False], [False, True, False], [False, True, False]]).repeat(2, 1)
    found = equivariance(maps, belongs, frames, even_centers(4, 4), tau=0.5)
    alone = equivariance(maps[[0, 3]], belongs[[0, 3]], frames[[0, 3]], even_centers(4, 4), tau=0.5)
    assert found[0] == alone[0] != 0
    assert found[2] == 0
    empty = equivariance(maps[:0], belongs[:0], frames[:0], even_centers(4, 4), tau=0.5)
    assert empty.tolist() == [0, 0, 0]


def test_half_precision_is_computed_in_float32() -> None:
    maps, belongs, frames = random_case(4, 4)
    half = equivariance(maps.half(), belongs, frames, even_centers(4, 4), tau=0.5)
    assert half.dtype == torch.float32
    whole = equivariance(maps.half().float(), belongs, frames, even_centers(4, 4), tau=0.5)
    assert torch.equal(half, whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_maps": torch.zeros(5, 3, 4, 4)}, "two views of each picture"),
        ({"belongs": torch.ones(6, 2, dtype=torch.bool)}, "two views of each picture"),
        ({"frames": torch.zeros(6, 3, 3)}, "two views of each picture"),
        ({"centers": even_centers(4, 5)}, "centers: expected"),
    ],
    ids=["odd", "belongs", "frames", "centers"],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, object], message: str) -> None:
    maps, belongs, frames = random_case(4, 4)
    arguments = {"feature_maps": maps, "belongs": belongs, "frames": frames, "centers": even_centers(4, 4)} | change
    with pytest.raises(ShapeError, match=message):
        equivariance(**arguments, tau=0.5)  # type: ignore[arg-type]


# --- of a network


def test_cell_centers_are_those_of_the_receptive_field() -> None:
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU())  # sees pixels 0 to 2, 4 to 6, ...
    rows, cols = cell_centers(receptive_field(trunk, "0", (16, 24)))
    torch.testing.assert_close(rows, torch.tensor([1.5, 5.5, 9.5, 13.5]) / 16)
    torch.testing.assert_close(cols, torch.tensor([1.5, 5.5, 9.5, 13.5, 17.5, 21.5]) / 24)


def test_the_loss_of_a_network_is_its_masks_mean_at_the_scale_of_the_objective() -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU())
    settings = {"objective": "exact", "filters": 4, "background": 0, "input_size": (32, 32)}
    model = convert(trunk, "1", num_classes=2, **settings).eval()
    model(torch.randn(4, 3, 32, 32))
    labels, frames = torch.tensor([1, 0, 1, 0]), torch.tensor([WHOLE, WHOLE, FLIPPED, FLIPPED])
    ((name, mask),) = part_masks(model)
    centers = even_centers(8, 8)
    found = equivariance_loss(model, labels, frames, {name: centers})
    maps = mask.feature_maps
    assert maps is not None
    scaled = maps / maps.amax(dim=(2, 3)).mean()
    belongs = torch.tensor([True, False, True, False])[:, None].expand(4, 4)
    expected = equivariance(scaled, belongs, frames, centers, tau=60 / 64).mean()
    torch.testing.assert_close(found, expected)
    with pytest.raises(LayerError, match=r"part_layers\.0\.mask"):
        equivariance_loss(model, labels, frames, {})


def test_the_loss_leaves_the_masks_statistics_alone() -> None:
    mask = PartMask(2, 2, background=0).train()
    mask(torch.rand(2, 2, 4, 4))
    before = {key: value.clone() for key, value in mask.state_dict().items()}
    mask.equivariance(torch.tensor([1, 1]), torch.tensor([WHOLE, WHOLE]), even_centers(4, 4))
    assert all(torch.equal(value, before[key]) for key, value in mask.state_dict().items())


# --- erasing


def test_erasing_takes_one_rectangle_of_all_channels_in_training_only() -> None:
    torch.manual_seed(0)
    maps = torch.ones(400, 3, 14, 14)
    erased = MapErasing(0.5).train()(maps)
    assert set(erased.unique().tolist()) == {0.0, 1.0}
    assert (erased == erased[:, :1]).all()
    rows, cols = (erased[:, 0] == 0).any(dim=2), (erased[:, 0] == 0).any(dim=1)
    assert torch.equal(erased[:, 0] == 0, rows[:, :, None] & cols[:, None, :])
    share = rows.any(dim=1).double().mean().item()
    assert abs(share - 0.5) < 4 * math.sqrt(0.25 / 400)
    assert 1 <= int(rows.sum(dim=1).max()) <= 7
    assert torch.equal(MapErasing(0.5).eval()(maps), maps)
    assert torch.equal(MapErasing(0.0).train()(maps), maps)
