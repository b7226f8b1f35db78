"""The torchmetrics: batches, merged states and two processes give the functions' figures on all images at once."""

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics import (
    METRICS,
    ActivationThresholds,
    ClassPurity,
    Coverage,
    CrowdedFilters,
    DeadFilters,
    DisplacementScatter,
    EffectiveFilters,
    FilterConsistency,
    FilterPartAgreement,
    FilterStability,
    LeastLocationInstability,
    LocationInstability,
    PartInterpretability,
    PartPurity,
    PartTracking,
    PointingGame,
)
from partcnn.metrics import functional as part_metrics
from partcnn.metrics.functional.arguments import check_top
from partcnn.objectives.templates import map_peaks

SIZE, CELLS, GRID = (48, 64), (6, 8), (12, 16)
NUM_IMAGES, NUM_FILTERS, NUM_PARTS, NUM_CATEGORIES = 57, 4, 3, 3  # 57: the last batch is a short one
ROWS, COLS = torch.meshgrid(torch.arange(CELLS[0]), torch.arange(CELLS[1]), indexing="ij")
CENTERS = torch.stack([COLS * 8 + 4.0, ROWS * 8 + 4.0], dim=-1)
OWNERS = torch.tensor([0, 1, 2, 1])
Data = dict[str, Tensor]


def drawn(seed: int = 0) -> Data:
    """Maps with many ties, landmarks and regions of which one in four is absent."""
    generator = torch.Generator().manual_seed(seed)
    maps = (torch.rand(NUM_IMAGES, NUM_FILTERS, *CELLS, generator=generator) ** 6 * 8).round() / 8
    maps[:, 3][torch.rand(NUM_IMAGES, generator=generator) < 0.6] = 0  # mostly silent
    landmarks = torch.rand(NUM_IMAGES, NUM_PARTS, 2, generator=generator) * torch.tensor([64.0, 48.0])
    regions = torch.zeros(NUM_IMAGES, NUM_PARTS, *GRID, dtype=torch.bool)
    for image in range(NUM_IMAGES):
        for part in range(NUM_PARTS):
            if torch.rand((), generator=generator) < 0.25:
                landmarks[image, part] = math.nan
            else:
                x, y = landmarks[image, part].tolist()
                regions[image, part] = part_metrics.box_region((x - 9, y - 9, x + 9, y + 9), GRID, SIZE)
    cells = map_peaks(maps)
    return {
        "maps": maps,
        "peaks": CENTERS[cells[..., 0], cells[..., 1]],
        "scores": maps.amax(dim=(2, 3)),
        "landmarks": landmarks,
        "regions": regions,
        "shares": landmarks / torch.tensor([64.0, 48.0]),
        "ground": maps.new_full((NUM_IMAGES, *CELLS), 0.1),
        "cells": cells.float(),
        "fires": maps.amax(dim=(2, 3)) > 0.2,
        "noisy_peaks": CENTERS[cells[..., 0], cells[..., 1]] + torch.randn(cells.shape, generator=generator) * 6,
        "noisy_scores": maps.amax(dim=(2, 3)).roll(1, dims=0),
        "index": torch.arange(NUM_IMAGES),
        "labels": torch.randint(NUM_CATEGORIES, (NUM_IMAGES,), generator=generator),
    }


SIZES = (NUM_FILTERS, NUM_PARTS, SIZE)
POINTS = ("peaks", "scores", "landmarks", "index")
NOISY = ("peaks", "scores", "noisy_peaks", "noisy_scores", "landmarks")
NAMES = ["left eye", "right eye", "beak"]
THRESHOLDS = part_metrics.activation_thresholds(part_metrics.activation_histogram(drawn()["maps"]), quantile=0.05)


def of_interpretability(**settings: object) -> PartInterpretability:
    return PartInterpretability(THRESHOLDS, NUM_PARTS, CENTERS, SIZE, radius_px=10.0, iou_threshold=0.1, **settings)


OF_ALL_FILTERS = {"thresholds", "nmi", "effective_filters", "crowded"}  # which the table has as a figure alone, or not

# name → how to make the metric, and what its update takes
CASES: dict[str, tuple[Callable[..., torch.nn.Module], tuple[str, ...]]] = {
    "location_instability": (lambda **s: LocationInstability(*SIZES, top=9, **s), POINTS),
    "part_tracking_r2": (lambda **s: PartTracking(*SIZES, top=9, **s), POINTS),
    "displacement_scatter": (lambda **s: DisplacementScatter(*SIZES, top=9, **s), POINTS),
    "coverage": (lambda **s: Coverage(*SIZES, top=2, threshold=0.2, **s), POINTS),
    "least_location_instability": (
        lambda **s: LeastLocationInstability(NUM_CATEGORIES, *SIZES, top=9, **s),
        (*POINTS, "labels"),
    ),
    "dead_filters": (lambda **s: DeadFilters(NUM_FILTERS, **s), ("scores",)),
    "class_purity": (lambda **s: ClassPurity(OWNERS, NUM_CATEGORIES, **s), ("maps", "labels")),
    "consistency": (lambda **s: FilterConsistency(*SIZES, threshold=0.2, **s), POINTS[:3]),
    "stability": (lambda **s: FilterStability(NUM_FILTERS, SIZE, **s), NOISY),
    "part_purity": (lambda **s: PartPurity(NUM_FILTERS, NAMES, SIZE, **s), POINTS),
    "pointing_game": (lambda **s: PointingGame(*SIZES, tolerance_px=3.0, **s), ("peaks", "scores", "regions")),
    "part_interpretability": (of_interpretability, ("maps", "regions")),
    "thresholds": (lambda **s: ActivationThresholds(NUM_FILTERS, quantile=0.05, **s), ("maps",)),
    "nmi": (lambda: FilterPartAgreement(NUM_FILTERS, NUM_PARTS, input_size=SIZE), ("maps", "shares", "ground")),
    "effective_filters": (lambda: EffectiveFilters(NUM_FILTERS), ("maps",)),
    "crowded": (CrowdedFilters, ("cells", "fires")),
}


def expected(name: str, data: Data) -> Tensor:
    """Of the functions, on all images at once."""
    points = [data[key] for key in POINTS[:3]]
    silent = part_metrics.dead_filters(data["scores"])
    by_class = [data["labels"] == label for label in range(NUM_CATEGORIES)]
    maps = data["maps"]
    activation = torch.stack([maps[own].sum(dim=(2, 3)).double().mean(dim=0) for own in by_class], dim=1)
    interpretability = {"radius_px": 10.0, "iou_threshold": 0.1, "thresholds": THRESHOLDS}
    values: dict[str, Callable[[], float | Tensor]] = {
        "location_instability": lambda: part_metrics.location_instability(*points, SIZE, top=9).value,
        "part_tracking_r2": lambda: part_metrics.part_tracking(*points, SIZE, top=9, is_dead=silent).value,
        "displacement_scatter": lambda: part_metrics.displacement_scatter(*points, SIZE, top=9).value,
        "coverage": lambda: part_metrics.coverage(
            part_metrics.part_tracking(*points, SIZE, top=2, is_dead=silent).per_filter, threshold=0.2
        ),
        "least_location_instability": lambda: part_metrics.least_location_instability(
            [part_metrics.location_instability(*(p[own] for p in points), SIZE, top=9).per_filter for own in by_class]
        ),
        "dead_filters": lambda: silent.double().mean(),
        "class_purity": lambda: part_metrics.class_purity(activation, OWNERS).mean(),
        "consistency": lambda: part_metrics.consistency(*points, SIZE, threshold=0.2).value,
        "stability": lambda: part_metrics.stability(*(data[key] for key in NOISY), SIZE).nanmean(),
        "part_purity": lambda: part_metrics.part_purity(*points, SIZE, parts=NAMES).value,
        "pointing_game": lambda: (
            part_metrics.pointing_game(data["peaks"], data["scores"], data["regions"], SIZE, tolerance_px=3.0).value
        ),
        "part_interpretability": lambda: (
            part_metrics.part_interpretability(maps, data["regions"], CENTERS, SIZE, **interpretability).value
        ),
        "thresholds": lambda: THRESHOLDS,
        "nmi": lambda: (
            part_metrics.part_agreement(maps, data["shares"], background=data["ground"], input_size=SIZE).nmi
        ),
        "effective_filters": lambda: part_metrics.participation_ratio(part_metrics.MapMoments.of(maps).correlation),
        "crowded": lambda: part_metrics.crowded_filters(data["cells"], data["fires"]),
    }
    return torch.as_tensor(values[name](), dtype=torch.float64)


def updated(name: str, data: Data, images: Tensor, batch_size: int = 8):  # type: ignore[no-untyped-def]
    make, takes = CASES[name]
    metric = make()
    for batch in images.split(batch_size):
        metric.update(*(data[key][batch] for key in takes))
    return metric


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch_size", [1, 8, NUM_IMAGES])
def test_batches_in_any_order_give_the_figure_of_all_images_at_once(name: str, batch_size: int):
    data = drawn()
    order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(1))
    found = updated(name, data, order, batch_size).compute()
    torch.testing.assert_close(found, expected(name, data), rtol=1e-12, atol=1e-12)
    assert found.isfinite().all()


@pytest.mark.parametrize("name", CASES)
def test_merged_states_give_the_figure_of_all_images_at_once(name: str):
    data = drawn()
    first, second = torch.arange(20), torch.arange(20, NUM_IMAGES)
    metric = updated(name, data, second)
    metric.merge_state(updated(name, data, first))
    torch.testing.assert_close(metric.compute(), expected(name, data), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["location_instability", "displacement_scatter", "least_location_instability", "part_purity"]
)
def test_an_image_that_a_sampler_repeats_counts_once(name: str):
    data = drawn()
    again = torch.cat([torch.arange(NUM_IMAGES), torch.arange(30)])
    torch.testing.assert_close(updated(name, data, again).compute(), expected(name, data), rtol=1e-12, atol=1e-12)


def test_a_reset_metric_starts_anew():
    data = drawn()
    metric = updated("part_tracking_r2", data, torch.arange(NUM_IMAGES))
    metric.reset()
    metric.update(*(data[key][:30] for key in POINTS))
    fresh = updated("part_tracking_r2", data, torch.arange(30), 30)
    assert metric.compute() == fresh.compute()


def test_not_averaged_a_metric_gives_every_filter_and_part():
    data = drawn()
    for name, shape in {
        "part_tracking_r2": (NUM_FILTERS, NUM_PARTS),
        "pointing_game": (NUM_FILTERS, NUM_PARTS),
        "class_purity": (NUM_FILTERS,),
        "consistency": (NUM_FILTERS, NUM_PARTS),
        "stability": (NUM_FILTERS,),
        "part_purity": (NUM_FILTERS, NUM_PARTS - 1),  # left and right are one
        "dead_filters": (NUM_FILTERS,),
        "least_location_instability": (NUM_CATEGORIES, NUM_FILTERS, NUM_PARTS),
    }.items():
        make, takes = CASES[name]
        metric = make(is_averaged=False)
        metric.update(*(data[key] for key in takes))
        assert metric.compute().shape == shape


def _in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    data = drawn()
    images = torch.arange(NUM_IMAGES)[rank::2]  # 29 and 28: the last batches differ
    found = {name: updated(name, data, images).compute() for name in CASES}
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed training")
def test_two_processes_give_the_figure_of_all_images_at_once(tmp_path: Path):
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.multiprocessing.spawn(_in_process, (str(tmp_path),), nprocs=2)
    data = drawn()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name in CASES:
            torch.testing.assert_close(found[name], expected(name, data), rtol=1e-12, atol=1e-12)


def test_every_metric_of_the_table_is_tested_here():
    assert METRICS.keys() == CASES.keys() - OF_ALL_FILTERS
    for name, entry in METRICS.items():
        assert isinstance(CASES[name][0](), entry.metric)


# --- wrong input


@pytest.fixture
def points() -> dict[str, Tensor]:
    data = drawn()
    return {key: data[key] for key in POINTS}


def test_images_need_a_number_of_their_own(points: dict[str, Tensor]):
    metric = LocationInstability(*SIZES)
    with pytest.raises(ConfigError, match="image_index: expected"):
        metric.update(points["peaks"], points["scores"], points["landmarks"], torch.arange(3))
    with pytest.raises(ConfigError, match="image_index: expected"):
        metric.update(points["peaks"], points["scores"], points["landmarks"], points["index"].float())


def test_other_filters_than_announced_are_refused(points: dict[str, Tensor]):
    metric = LocationInstability(NUM_FILTERS + 1, NUM_PARTS, SIZE)
    with pytest.raises(ShapeError, match="peaks, landmarks: expected"):
        metric.update(*points.values())
    with pytest.raises(ShapeError, match="scores: expected"):
        DeadFilters(3).update(torch.zeros(2, 4))


def test_settings_that_mean_nothing_are_refused():
    with pytest.raises(ConfigError, match="top: expected"):
        LocationInstability(*SIZES, top=1)
    with pytest.raises(ConfigError, match="quantile: expected"):
        ActivationThresholds(2, quantile=1.0)
    with pytest.raises(ConfigError, match="threshold: expected"):
        Coverage(*SIZES, threshold=0)
    check_top(2)
