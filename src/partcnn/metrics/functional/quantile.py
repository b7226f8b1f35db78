"""The threshold that a given share of a filter's cells exceeds, over any number of pictures in bounded memory.

Positive activations are counted in bins whose edges are fixed beforehand, 1024 to a doubling: all float32 numbers
that agree in sign, exponent and the first ten bits of the fraction share one. Counts are whole numbers and add up,
so the threshold does not depend on the order of the pictures, on batches, or on how many processes counted.
"""

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.metrics.functional.arguments import check_fraction, check_maps

QUANTILE = 0.005  # share of cells above the threshold, of Bau et al. (2017) and the paper
LOWEST, HIGHEST = 2.0**-20, 2.0**20  # smaller activations count as silence, larger ones as the last bin
_BITS = 10
_SHIFT = 23 - _BITS  # of the fraction of a float32
_FIRST = (127 - 20) << _BITS
NUM_BINS = (40 << _BITS) + 1  # bin 0 is silence
_FILTERS_AT_ONCE = 64  # 20 MB each time


def activation_bins(feature_maps: Tensor) -> Tensor:
    """The bin of every activation, int32 of the same shape: 0 is silence, then ascending."""
    bits = feature_maps.detach().to(torch.float32).clamp(min=0, max=HIGHEST).contiguous().view(torch.int32)
    bins = (bits >> _SHIFT) - (_FIRST - 1)
    return bins.clamp(min=0, max=NUM_BINS - 1)


def lower_edges(bins: Tensor) -> Tensor:
    """The smallest activation of each bin, float64; 0 for silence. Of NUM_BINS, above the last: infinity."""
    bits = ((bins.to(torch.int32) + (_FIRST - 1)) << _SHIFT).contiguous()
    edges = bits.view(torch.float32).double().masked_fill(bins <= 0, 0.0)
    return edges.masked_fill(bins >= NUM_BINS, torch.inf)


def activation_histogram(feature_maps: Tensor) -> Tensor:  # [image, filter, row, col] -> [filter, bin] int64
    """How many cells of each filter's maps fall into each bin. Histograms of several batches add up.

    Raises:
        ShapeError, ConfigError: the maps do not have four axes, or hold nan.
    """
    check_maps(feature_maps)
    histogram = torch.zeros(feature_maps.shape[1], NUM_BINS, dtype=torch.int64, device=feature_maps.device)
    add_to_histogram(histogram, activation_bins(feature_maps))
    return histogram


def add_to_histogram(histogram: Tensor, bins: Tensor) -> None:
    """Count the bins [image, filter, row, col] in place."""
    by_filter = bins.transpose(0, 1).flatten(1).long()
    histogram.scatter_add_(1, by_filter, torch.ones_like(by_filter))


def threshold_bins(histogram: Tensor, *, quantile: float = QUANTILE) -> Tensor:  # [filter, bin] -> [filter] int64
    """The first bin whose cells are above the threshold: no more than `quantile` of all cells lie in it or higher.

    At least 1: silence is never above the threshold.

    Raises:
        ShapeError: not a histogram of `activation_histogram`.
        ConfigError: the quantile is not between 0 and 1.
    """
    if histogram.ndim != 2 or histogram.shape[1] != NUM_BINS:
        raise ShapeError(
            f"histogram: expected [filter, {NUM_BINS}], got {tuple(histogram.shape)}; see activation_histogram"
        )
    check_fraction("quantile", quantile)
    found = []
    for filters in histogram.split(_FILTERS_AT_ONCE):
        at_or_above = filters.flip(1).cumsum(dim=1).flip(1)  # [filter, bin]
        allowed = (at_or_above[:, :1].double() * quantile).floor()
        found.append((at_or_above > allowed).sum(dim=1))  # it falls with the bin, so the count is the first that fits
    return torch.cat(found).clamp(min=1)


def activation_thresholds(histogram: Tensor, *, quantile: float = QUANTILE) -> Tensor:  # [filter] float64
    """T_f with p(x > T_f) = quantile over all cells of all maps of filter f.

    Bau et al. (2017), Sec. 2; Zhang, Wu & Zhu (2018), Sec. 5. The figure is the edge of a bin, at most 1/1024 of
    itself above the exact quantile; cells x ≥ T_f are those above it.

    Returns:
        At least 2⁻²⁰, the threshold of a filter that fires on a smaller share of cells than `quantile`: all of its
        positive activations are then above. Infinity where more than that share of activations exceeds 2²⁰.

    Raises:
        ShapeError, ConfigError: as in `threshold_bins`.
    """
    return lower_edges(threshold_bins(histogram, quantile=quantile))
