"""Where on its map a filter says that its part is: the peak, as in the paper, or what all of the map tells."""

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.objectives.equivariance import expected_positions, mean_positions
from partcnn.objectives.fitness import at_least_float32
from partcnn.objectives.templates import map_peaks

PLACES = ("peak", "expected")  # that one may choose from
_READINGS = (*PLACES, "centroid")  # the last is that of filters that compete
FITNESS_SCALE = 60.0  # n²τ for a map whose peak is 1: what `PartMask` trains with, places are read with


def part_places(
    feature_maps: Tensor,  # [image, filter, row, col], ≥ 0, before the mask
    places: str = "peak",
    *,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [image, filter, 2] (row, col)
    """The cell of every filter's part.

    "peak" is the cell of the largest value, the paper's μ̂. "expected" is the cell nearest to `expected_cells`,
    "centroid" the one nearest to `centroid_cells`, for filters that compete for cells.

    Args:
        feature_maps: their values are read and not changed.
        places: one of `PLACES`, or "centroid".
        beta: slope of the templates, for "expected"; a tensor [filter] gives each filter its own.

    Returns:
        Whole numbers. Of a map that is zero everywhere (0, 0), or the middle.

    Raises:
        ConfigError: `places` is none of them.
        ShapeError: the maps do not have four axes, or no cell; or β has another number of filters.
    """
    return exact_places(feature_maps, places, beta=beta).round().long()


def exact_places(
    feature_maps: Tensor,  # [image, filter, row, col], ≥ 0, before the mask
    places: str = "peak",
    *,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [image, filter, 2] (row, col)
    """`part_places` before they are rounded to a cell: fractions of cells, but for "peak"; float.

    Args, Raises: as of `part_places`.
    """
    check_places(places)
    if places == "peak":
        return map_peaks(feature_maps).float()
    return centroid_cells(feature_maps) if places == "centroid" else expected_cells(feature_maps, beta=beta)


def check_places(places: str) -> None:
    """Raises ConfigError unless it is one of `PLACES`, or "centroid"."""
    if places not in _READINGS:
        raise ConfigError(f"places: expected one of {', '.join(PLACES)}, got {places!r}")


def centroid_cells(feature_maps: Tensor) -> Tensor:  # [image, filter, row, col] → [image, filter, 2] (row, col)
    """The mean of the cells, weighed by the map itself: Σ_c x(c) · c / Σ_c x(c), in fractions of cells.

    Of a map that is zero everywhere the middle.

    Raises:
        ShapeError: the maps do not have four axes, or no cell.
    """
    _check_maps(feature_maps)
    maps = at_least_float32(feature_maps)
    total = maps.sum(dim=(2, 3), keepdim=True)
    is_empty = total <= torch.finfo(maps.dtype).tiny
    weights = torch.where(is_empty, 1 / (maps.shape[2] * maps.shape[3]), maps / total.where(~is_empty, 1))
    cells = tuple(torch.arange(count, device=maps.device) for count in maps.shape[2:])
    return mean_positions(weights, (cells[0], cells[1])).flip(-1)


def expected_cells(
    feature_maps: Tensor,  # [image, filter, row, col], ≥ 0
    *,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [image, filter, 2] (row, col)
    """The mean of the cells under the paper's model of a map: p(T_μ | x, T⁺) = softmax over μ of s_μ(x).

        e(x) = Σ_μ μ · p(T_μ | x / max x, T⁺),   τ = 60 / n²

    The peak is one cell of a noisy map; this weighs all of them, and is what `equivariance` trains. It may lie
    between two places of which neither is sure, and a map with little around its peak is drawn to the middle. Every
    map is first divided by its peak, so that weak and strong ones are read alike. Ours, not the paper's.

    Args:
        feature_maps: half precision is computed in float32.
        beta: slope of the templates; a tensor [filter] gives each filter its own.

    Returns:
        Fractions of cells; the middle of the map where it is zero everywhere.

    Raises:
        ShapeError: the maps do not have four axes, or no cell; or β has another number of filters.
    """
    _check_maps(feature_maps)
    height, width = feature_maps.shape[2:]
    peaks = feature_maps.amax(dim=(2, 3), keepdim=True)
    cells = (torch.arange(height), torch.arange(width))
    scaled = feature_maps / peaks.where(peaks > 0, 1)
    return expected_positions(scaled, cells, tau=FITNESS_SCALE / (height * width), beta=beta).flip(-1)


def _check_maps(feature_maps: Tensor) -> None:
    if feature_maps.ndim != 4 or 0 in feature_maps.shape[2:]:
        raise ShapeError(f"feature_maps: expected [image, filter, row, col], got {tuple(feature_maps.shape)}")
