"""Templates, prior, peaks and mask against their slow twins."""

import math

import pytest
import torch

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.objectives.templates import map_peaks, part_mask, template_bank, template_prior
from tests.reference import templates as twin

SIZES = [(1, 1), (1, 4), (4, 1), (3, 3), (3, 5), (6, 2), (7, 7)]
float64 = torch.float64


def random_maps(*shape: int, seed: int = 0, dtype: torch.dtype = float64) -> torch.Tensor:
    """Maps after a ReLU: about half of the cells are 0."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=float64).relu().to(dtype)


def assert_agrees(actual: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected, dtype=float64), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("norm", ["l1", "l2"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(("tau", "beta"), [(1.0, 4.0), (0.5 / 49, 4.0), (0.3, 1.7)], ids=str)
def test_the_bank_is_the_twins(size: tuple[int, int], norm: str, tau: float, beta: float) -> None:
    bank = template_bank(size, tau=tau, beta=beta, norm=norm, dtype=float64)
    assert_agrees(bank, twin.template_bank(size, tau=tau, beta=beta, norm=norm))


def test_a_template_of_four_by_four_cells_worked_by_hand() -> None:
    template = template_bank((4, 4), tau=0.5, beta=2.0, dtype=float64)[1 + 1 * 4 + 2]  # peak at row 1, column 2
    expected = [[-0.25, 0.0, 0.25, 0.0], [0.0, 0.25, 0.5, 0.25], [-0.25, 0.0, 0.25, 0.0], [-0.5, -0.25, 0.0, -0.25]]
    assert_agrees(template, expected)


def test_the_first_template_is_the_negative_one() -> None:
    assert_agrees(template_bank((2, 3), tau=0.7, dtype=float64)[0], [[-0.7] * 3] * 2)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("alpha", [None, 0.0, 0.3, 1.0])
def test_the_prior_is_the_twins_and_sums_to_one(size: tuple[int, int], alpha: float | None) -> None:
    prior = template_prior(size, alpha=alpha, dtype=float64)
    assert_agrees(prior, twin.template_prior(size, alpha=alpha))
    assert float(prior.sum()) == pytest.approx(1.0, abs=1e-12)


def test_the_papers_alpha_makes_every_template_equally_likely() -> None:
    assert_agrees(template_prior((3, 5), dtype=float64), [1 / 16] * 16)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_peaks_are_the_twins(size: tuple[int, int]) -> None:
    maps = random_maps(4, 3, *size).round()  # rounding makes ties and all-zero maps
    expected = [[twin.peak(x.numpy()) for x in image] for image in maps]
    assert map_peaks(maps).tolist() == [[list(cell) for cell in image] for image in expected]


def test_of_several_equal_cells_the_peak_is_the_first_in_row_order() -> None:
    x = torch.tensor([[0.0, 0.0, 2.0], [2.0, 1.0, 0.0], [2.0, 0.0, 0.0]], dtype=float64)
    assert map_peaks(x[None, None]).tolist() == [[[0, 2]]]


def test_a_silent_map_has_its_peak_in_the_first_cell() -> None:
    assert map_peaks(torch.zeros(1, 1, 3, 4)).tolist() == [[[0, 0]]]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("beta", [4.0, 1.3, [4.0, 0.9, 2.2]], ids=["4", "1.3", "per filter"])
def test_masked_maps_are_the_twins(size: tuple[int, int], beta: float | list[float]) -> None:
    maps = random_maps(4, 3, *size, seed=1)
    slope = torch.tensor(beta, dtype=float64) if isinstance(beta, list) else beta
    assert_agrees(part_mask(maps, beta=slope), twin.part_mask(maps.numpy(), beta=beta))


def test_the_mask_has_no_tau_a_uniform_map_keeps_its_peak() -> None:
    masked = part_mask(torch.full((1, 1, 3, 4), 5.0, dtype=float64), beta=2.0)
    steps = 5 * (1 - 2 / math.sqrt(12)), 5 * (1 - 4 / math.sqrt(12))
    assert_agrees(masked[0, 0, 0], [5.0, steps[0], 0.0, 0.0])
    assert steps[1] < 0


@pytest.mark.parametrize("cell", [(0, 1), (4, 4)], ids=["near the peak", "far from it"])
def test_cells_below_zero_come_out_as_zero(cell: tuple[int, int]) -> None:
    # far from the peak the template is −1, and −1 · −3 would be an activation out of nowhere
    x = torch.zeros(1, 1, 5, 5, dtype=float64)
    x[0, 0, 0, 0], x[0, 0, cell[0], cell[1]] = 1.0, -3.0
    assert float(part_mask(x)[0, 0, cell[0], cell[1]]) == 0.0


def test_the_mask_has_the_gradient_of_a_constant_factor() -> None:
    maps = random_maps(2, 2, 3, 4) + 0.1 * torch.arange(1, 13, dtype=float64).reshape(3, 4)  # > 0, one peak each
    assert torch.autograd.gradcheck(part_mask, (maps.requires_grad_(),), fast_mode=False)


def test_the_mask_of_silent_maps_is_zero_with_a_finite_gradient() -> None:
    maps = torch.zeros(2, 2, 3, 3, dtype=float64, requires_grad=True)
    masked = part_mask(maps)
    (gradient,) = torch.autograd.grad(masked.sum(), maps)
    assert masked.eq(0).all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, float64], ids=str)
def test_the_mask_keeps_the_type_of_the_maps(dtype: torch.dtype) -> None:
    maps = random_maps(2, 2, 5, 5, dtype=dtype)
    masked = part_mask(maps)
    assert masked.dtype == dtype
    assert (masked <= maps).all()
    torch.testing.assert_close(masked.double(), part_mask(maps.double()), atol=1e-2, rtol=1e-2)


def test_no_filters_and_no_images_pass_through() -> None:
    assert part_mask(torch.zeros(2, 0, 3, 3)).shape == (2, 0, 3, 3)
    assert part_mask(torch.zeros(0, 2, 3, 3)).shape == (0, 2, 3, 3)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (1, 2, 3, 4, 5)], ids=str)
def test_maps_without_four_axes_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=", ".join(map(str, shape))):
        part_mask(torch.zeros(shape))


@pytest.mark.parametrize("size", [(0, 3), (3, 0)], ids=str)
def test_maps_without_a_cell_are_refused_with_their_size(size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=f"{size[0]}, {size[1]}"):
        part_mask(torch.zeros(1, 2, *size))
    with pytest.raises(ShapeError, match=f"{size[0]}, {size[1]}"):
        template_bank(size, tau=1.0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"tau": 0.0}, "tau"),
        ({"tau": -1.0}, "tau"),
        ({"tau": math.nan}, "tau"),
        ({"tau": 1.0, "beta": 0.0}, "beta"),
        ({"tau": 1.0, "beta": math.nan}, "beta"),
        ({"tau": 1.0, "norm": "l3"}, "l3"),
    ],
    ids=str,
)
def test_impossible_templates_are_refused_by_name(settings: dict[str, float], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        template_bank((3, 3), **settings)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_an_alpha_that_is_no_probability_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigError, match="alpha"):
        template_prior((3, 3), alpha=alpha)


@pytest.mark.parametrize("beta", [0.0, -1.0], ids=str)
def test_a_mask_without_a_slope_is_refused(beta: float) -> None:
    with pytest.raises(ConfigError, match="beta"):
        part_mask(torch.zeros(1, 2, 3, 3), beta=beta)


def test_slopes_that_do_not_fit_the_filters_are_refused_with_their_shape() -> None:
    with pytest.raises(ShapeError, match="3"):
        part_mask(torch.zeros(1, 2, 3, 3), beta=torch.ones(3))
