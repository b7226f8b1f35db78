"""Object or rest, cell by cell: on drawn cells whose truth is known, and against the twin."""

from dataclasses import astuple

import pytest
import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.objectives.drawn_cells import border, drawn_cells, everywhere
from partcnn.objectives.object_map import ObjectMap, SampledCells, fit_object_map, fit_object_maps, refined
from tests.reference import object_map as twin

NUM_CHANNELS = 16


def drawn_pictures(num_objects: int = 60, num_background: int = 40, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Maps of pictures with a box of an object that touches no border, which cells those are, and maps without.

    The object's cells are from five Gaussians and the ground's from six others, which stand in patches.
    """
    generator = torch.Generator().manual_seed(seed)
    size, total = 12, num_objects + num_background
    kinds = 3 * torch.randn(11, NUM_CHANNELS, generator=generator)
    patch = torch.randint(6, (total, 4, 4), generator=generator).repeat_interleave(3, 1).repeat_interleave(3, 2)
    is_object = torch.zeros(total, size, size, dtype=torch.bool)
    for picture in range(num_objects):
        top, left, bottom, right = torch.randint(1, 4, (4,), generator=generator).tolist()
        is_object[picture, top : size - bottom, left : size - right] = True
    part = 6 + torch.randint(5, (total, size, size), generator=generator)
    means = kinds[torch.where(is_object, part, patch)].movedim(-1, 1)
    maps = means + torch.randn(means.shape, generator=generator)
    return maps[:num_objects], is_object[:num_objects], maps[num_objects:]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("has_background", [True, False], ids=["with background pictures", "without"])
def test_the_object_is_found_without_a_label_of_a_place(has_background: bool, seed: int) -> None:
    maps, is_object, background = drawn_pictures(num_objects=80, num_background=60, seed=seed)
    fit = fit_object_maps(maps[:60], background[:40] if has_background else None, seed=seed)
    for pictures in (slice(0, 60), slice(60, 80)):  # also those that it has not seen
        found = fit.share(maps[pictures]) > 0.5
        assert (found == is_object[pictures]).double().mean() > 0.95
    assert fit.share(background[40:]).mean() < 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_objects_clusters_start_far_from_those_of_the_rest(seed: int) -> None:
    maps, _, background = drawn_pictures(seed=seed)
    start = fit_object_map(maps, background, rounds=0, seed=seed)
    assert torch.cdist(start.means[start.num_rest :], start.means[: start.num_rest]).min() > 6  # kinds are 17 apart


def test_a_share_is_between_0_and_1_for_every_cell() -> None:
    maps, _, background = drawn_pictures(num_objects=70)
    share = fit_object_map(maps, background).share(maps)
    assert share.shape == (70, 12, 12)
    assert share.min() >= 0
    assert share.max() <= 1
    assert fit_object_map(maps, background).share(maps[:0]).shape == (0, 12, 12)


def test_shares_of_many_pictures_are_those_of_each() -> None:
    maps, _, background = drawn_pictures(num_objects=70)
    fit = fit_object_map(maps, background)
    torch.testing.assert_close(fit.share(maps)[66:68], fit.share(maps[66:68]))


def test_an_ensemble_is_the_mean_of_its_fits_and_no_fit_is_in_two() -> None:
    maps, _, background = drawn_pictures(num_objects=10, num_background=5)
    first, second = (fit_object_maps(maps, background, num_fits=2, seed=seed) for seed in (0, 1))
    expected = (first.fits[0].share(maps) + first.fits[1].share(maps)) / 2
    torch.testing.assert_close(first.share(maps), expected)
    means = [fit.means for fit in (*first.fits, *second.fits)]
    assert not any(torch.equal(means[i], means[j]) for i in range(4) for j in range(i))


def test_the_same_seed_gives_the_same_fit_and_draws_from_nowhere_else() -> None:
    maps, _, background = drawn_pictures()
    torch.manual_seed(1)
    first, after = fit_object_map(maps, background, seed=3), torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), after)
    second = fit_object_map(maps, background, seed=3)
    assert torch.equal(first.means, second.means)
    assert torch.equal(first.log_weights, second.log_weights)
    assert first.variance == second.variance
    assert not torch.equal(first.means, fit_object_map(maps, background, seed=4).means)


def test_weights_sum_to_1_and_the_objects_to_the_prior() -> None:
    maps, _, background = drawn_pictures()
    fit = fit_object_map(maps, background, prior=0.3, num_clusters=5)
    assert fit.means.shape == (10, NUM_CHANNELS)
    assert fit.num_rest == 5
    assert fit.log_weights.exp().sum().item() == pytest.approx(1, abs=1e-5)
    assert fit.log_weights[5:].exp().sum().item() == pytest.approx(0.3, abs=1e-5)


def test_half_precision_is_computed_in_float32() -> None:
    maps, _, background = drawn_pictures(num_objects=10, num_background=5)
    half = fit_object_map(maps.half(), background.half())
    whole = fit_object_map(maps.half().float(), background.half().float())
    assert torch.equal(half.means, whole.means)
    assert half.share(maps.half()).dtype == torch.float32


def test_no_background_pictures_is_none_or_an_empty_tensor() -> None:
    maps, _, background = drawn_pictures(num_objects=10)
    first, second = fit_object_map(maps, None), fit_object_map(maps, background[:0])
    assert torch.equal(first.means, second.means)


@pytest.mark.parametrize("num_pictures", [1, 2])
def test_few_cells_and_cells_that_are_all_the_same_are_finite(num_pictures: int) -> None:
    for maps in (torch.zeros(num_pictures, 4, 3, 3), torch.rand(num_pictures, 4, 3, 3)):
        share = fit_object_map(maps, maps[:1]).share(maps)
        assert share.isfinite().all()


def drawn_fit(seed: int = 0) -> tuple[ObjectMap, SampledCells]:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    means[4] = 100  # holds no cell
    log_weights = torch.rand(5, generator=generator, dtype=torch.float64).log_softmax(dim=0)
    cells = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    is_border = torch.rand(18, generator=generator) < 0.4
    return ObjectMap(means, log_weights, 0.3, 2), SampledCells(cells[:18], is_border, cells[18:])


@pytest.mark.parametrize("has_background", [True, False])
def test_a_round_of_em_is_that_of_the_twin(has_background: bool) -> None:
    fit, cells = drawn_fit()
    if not has_background:
        cells = SampledCells(cells.of_objects, cells.is_border, cells.of_background[:0])
    found = refined(fit, cells, prior=0.35)
    means, weights, variance = twin.refined(
        fit.means.tolist(),
        fit.log_weights.tolist(),
        fit.variance,
        fit.num_rest,
        cells.of_objects.tolist(),
        cells.is_border.tolist(),
        cells.of_background.tolist(),
        0.35,
    )
    torch.testing.assert_close(found.means, torch.tensor(means, dtype=torch.float64))
    assert found.variance == pytest.approx(variance)
    least = [max(weight, 1e-4 * (0.65 if k < 2 else 0.35)) for k, weight in enumerate(weights)]
    assert found.log_weights.exp().tolist() == pytest.approx(least, rel=2e-4)  # no cluster is forgotten for good


def test_a_share_is_that_of_the_twin() -> None:
    fit, cells = drawn_fit()
    maps = cells.of_objects.T.reshape(1, 3, 3, 6)
    means, log_weights, variance, num_rest = astuple(fit)
    expected = [
        twin.object_share(cell, means.tolist(), log_weights.tolist(), variance, num_rest)
        for cell in cells.of_objects.tolist()
    ]
    assert fit.share(maps).flatten().tolist() == pytest.approx(expected)


def test_cells_are_drawn_once_each_and_with_their_numbers() -> None:
    maps = torch.arange(2 * 20.0).reshape(2, 1, 4, 5)
    is_border = border(maps)
    assert int(is_border.sum()) == 14
    cells, numbers = drawn_cells(maps, ~is_border, 100, torch.Generator().manual_seed(0))
    assert sorted(cells.flatten().tolist()) == [6, 7, 8, 11, 12, 13, 26, 27, 28, 31, 32, 33]
    assert torch.equal(cells.flatten().long() % 20, numbers)
    assert len(drawn_cells(maps, everywhere(maps), 7, torch.Generator())[0]) == 7


def test_bad_input_is_named() -> None:
    maps, background = torch.rand(2, 4, 5, 5), torch.rand(2, 4, 5, 5)
    for wrong in (maps[:0], maps[0], maps[:, :, :2]):
        with pytest.raises(ShapeError, match="object_maps: expected at least one picture"):
            fit_object_map(wrong, background)
    for wrong in (background[:, :3], background[0], background[..., :0]):
        with pytest.raises(ShapeError, match=r"background_maps: expected .* 4 channels as object_maps"):
            fit_object_map(maps, wrong)
    for change in ({"num_clusters": 1}, {"prior": 0.0}, {"prior": 1.0}):
        with pytest.raises(ConfigError, match="num_clusters, prior: expected at least 2"):
            fit_object_map(maps, background, **change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_fits: expected at least 1, got 0"):
        fit_object_maps(maps, background, num_fits=0)
    with pytest.raises(ShapeError, match=r"maps: expected .* with 4 channels as in the fit"):
        fit_object_map(maps, background).share(torch.rand(2, 3, 5, 5))
