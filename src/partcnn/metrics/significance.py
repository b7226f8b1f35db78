"""How sure a figure is: bootstrap intervals and paired tests, by scipy."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError

Statistic = Callable[..., Tensor]  # of counts [resample, image] for each stratum -> [measure, resample]
FEWEST_IMAGES = 10  # an interval of fewer would be taken for more than it is
_FEWEST_PAIRS = 2
_ROUNDING = 1e-9


def bootstrap_intervals(
    statistic: Statistic,
    sizes: Sequence[int],
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    batch: int | None = None,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """Percentile intervals of several measures at once, images drawn with replacement within each stratum.

    `scipy.stats.bootstrap`, which is given image numbers; the statistic gets how often each image was drawn. A
    resample holds images twice, so what is a maximum or a spread is biased in it, on few images so much that the
    figure itself lies outside of its interval: no bootstrap says anything then.

    Args:
        statistic: counts [resample, image], one tensor per stratum → [measure, resample].
        sizes: images in each stratum, at least 1; the image of a stratum of one is in every resample.
        resamples, confidence: of the interval.
        batch: resamples at a time; None takes all.
        seed: of the draws.

    Returns:
        (low, high) of each measure; nan where there are fewer than `FEWEST_IMAGES` in all, where a resample left the
        measure undefined, and where the figure of the images as they are lies outside.
    """
    from scipy import stats

    figures = statistic(*(torch.ones(1, size, dtype=torch.float64) for size in sizes)).numpy()[:, 0]
    drawn_strata = [index for index, size in enumerate(sizes) if size > 1]
    if sum(sizes) < FEWEST_IMAGES or not drawn_strata:
        return [(np.nan, np.nan)] * len(figures)
    is_undefined = np.isnan(figures)

    def of_numbers(*numbers: npt.NDArray[np.int64], axis: int = -1) -> npt.NDArray[np.float64]:
        nonlocal is_undefined
        counts = [torch.ones(numbers[0].size // numbers[0].shape[-1], 1, dtype=torch.float64)] * len(sizes)
        for index, one in zip(drawn_strata, numbers, strict=True):
            counts[index] = _drawn(one, sizes[index])
        values = statistic(*counts).numpy()
        # scipy warns of nan, and knows no measure from another.
        is_undefined = is_undefined | np.isnan(values).any(axis=1)
        array: npt.NDArray[np.float64] = np.nan_to_num(values).reshape(len(values), *numbers[0].shape[:-1])
        return array

    result = stats.bootstrap(
        tuple(np.arange(sizes[index]) for index in drawn_strata),
        of_numbers,
        n_resamples=resamples,
        confidence_level=confidence,
        batch=batch,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = np.array(result.confidence_interval)  # each [measure]
    slack = _ROUNDING * np.maximum(1, np.abs(figures))
    is_outside = (figures < low - slack) | (figures > high + slack)
    bounds = np.where(is_undefined | is_outside, np.nan, [low, high])
    return [(low, high) for low, high in bounds.T.tolist()]


def paired_p_value(values: Sequence[float], others: Sequence[float], *, resamples: int = 9999, seed: int = 0) -> float:
    """The two-sided p-value of "the pairs have the same mean", by swapping within pairs.

    `scipy.stats.permutation_test` on the mean difference; exact where all swaps are fewer than `resamples`. Pairs are
    filters of two networks that started alike, or the figures of two methods on several categories. Filters of one
    network are trained together and not independent: over filters the p-value speaks of these two networks, over
    categories or seeds of the methods.

    Args:
        values, others: of equal length; a pair with a nan is left out.
        resamples: random swaps where there are too many to try all.
        seed: of these.

    Returns:
        Between 0 and 1; nan with fewer than two pairs.

    Raises:
        ShapeError: the lengths differ.
    """
    if len(values) != len(others):
        raise ShapeError(f"others: expected {len(values)} figures as in values, got {len(others)}; give pairs")
    from scipy import stats

    pairs = np.array([values, others], dtype=np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < _FEWEST_PAIRS:
        return float("nan")

    def mean_difference(
        first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], axis: int
    ) -> npt.NDArray[np.float64]:
        difference: npt.NDArray[np.float64] = (first - second).mean(axis=axis)
        return difference

    result = stats.permutation_test(
        tuple(pairs),
        mean_difference,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _drawn(numbers: npt.NDArray[np.int64], size: int) -> Tensor:
    flat = torch.from_numpy(numbers.reshape(-1, numbers.shape[-1]))
    return torch.zeros(len(flat), size, dtype=torch.float64).scatter_add_(1, flat, torch.ones(flat.shape).double())
