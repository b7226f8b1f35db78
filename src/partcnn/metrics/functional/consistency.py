"""Whether the same part lies around a filter's peak in all pictures, and also under noise: Huang et al. (2023)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.metrics.functional.arguments import check_fraction, check_scored_peaks, checked_diagonal
from partcnn.metrics.functional.results import BestPartMetric, hit_shares

BOX_FRAC = 72 / 224  # of the picture's sides: the box around a peak
CONSISTENT = 0.8  # of the pictures that show a part: a consistent filter has it in its box on so many
_MOST_ELEMENTS = 2**22  # of the distances of one chunk of pictures


@dataclass(frozen=True)
class Consistency(BestPartMetric):
    """Of every filter on every part the share of pictures with the part in its box; `value` counts filters.

    `best_part` is that of the highest share.
    """

    is_consistent: Tensor  # [filter] float64: 1 or 0; nan for a filter that has no part to be measured on

    @property
    def of_filters(self) -> Tensor:
        return self.is_consistent


def consistency(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    box_frac: float = BOX_FRAC,
    threshold: float = CONSISTENT,
) -> Consistency:
    """The share of filters that have some part in a box around their peak on 80 % of the pictures that show it.

    Huang, Xue, Huang, Zhang, Song, Jing & Song, "Evaluation and improvement of interpretability for self-explainable
    part-prototype networks" (ICCV 2023), consistency score:

        a_fk = pictures with the point of part k in the box around the peak of filter f / pictures that show k
        score = mean over filters of [max_k a_fk ≥ 0.8]

    The box has 72 of 224 of the picture's height and of its width, edges included. Higher is better. A third of a
    side is wide: a point that never moves is consistent where a part lies near it.

    Args:
        peaks: (x, y) in pixels of the frame, of pictures of one category; those of silent filters are not read.
        scores: the activation there; a filter that is silent on a picture, score ≤ 0, has no part in its box.
        landmarks: (x, y) of the parts' points in the same frame; nan where a picture does not show the part.
        image_size: (height, width) of the frame.
        box_frac: side of the box as a share of the picture's, in (0, 1].
        threshold: share of pictures from which on a filter is consistent, in (0, 1].

    Returns:
        Shares [filter, part] in 0–1, nan for a part that no picture shows; the value is in 0–1, nan without a part.

    Raises:
        ShapeError: axes or sizes do not fit together.
        ConfigError: a number is outside its range, or infinite.
    """
    is_inside = parts_in_boxes(peaks, scores, landmarks, image_size, box_frac=box_frac)
    num_shown = are_shown(landmarks).sum(dim=0).to(is_inside.device)
    return consistency_of_counts(is_inside.sum(dim=0), num_shown, threshold=threshold)


def consistency_of_counts(hits: Tensor, num_shown: Tensor, *, threshold: float = CONSISTENT) -> Consistency:
    """The same of the pictures with a part in the box [filter, part], and of those that show it [part]."""
    check_fraction("threshold", threshold, is_one_allowed=True)
    found = hit_shares(hits, num_shown)
    best = found.best_per_filter
    is_consistent = (best >= threshold).double().masked_fill(best.isnan(), math.nan)
    return Consistency(
        per_filter=found.per_filter,
        value=is_consistent.nanmean().item(),
        num_images=found.num_images,
        best_per_filter=best,
        best_part=found.best_part,
        is_consistent=is_consistent,
    )


def stability(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    noisy_peaks: Tensor,  # [image, filter, 2]
    noisy_scores: Tensor,  # [image, filter]
    landmarks: Tensor,  # [image, part, 2]
    image_size: tuple[int, int],
    *,
    box_frac: float = BOX_FRAC,
) -> Tensor:  # [filter] float64
    """The share of pictures on which the parts in the box around a filter's peak stay the same when noise is added.

    Huang et al. (ICCV 2023), stability score: Gaussian noise is added to the network's normalised input, and the set of
    parts in the box of `consistency` is to be the same as without. Counted are the pictures that show some part and on
    which the filter fires without noise. Higher is better; a point that never moves has 1, and a box that holds no part
    either time stays the same.

    Args:
        peaks, scores, landmarks, image_size, box_frac: as of `consistency`.
        noisy_peaks, noisy_scores: the same with noise. A filter that falls silent has changed.

    Returns:
        In 0–1; nan for a filter that fires on no picture that shows a part.

    Raises:
        ShapeError, ConfigError: as of `consistency`.
    """
    found = stable_boxes(peaks, scores, noisy_peaks, noisy_scores, landmarks, image_size, box_frac=box_frac)
    num_same, num_counted = found.sum(dim=1)
    shares: Tensor = num_same / num_counted.double()  # 0 / 0 is nan
    return shares


def stable_boxes(
    peaks: Tensor,
    scores: Tensor,
    noisy_peaks: Tensor,
    noisy_scores: Tensor,
    landmarks: Tensor,
    image_size: tuple[int, int],
    *,
    box_frac: float = BOX_FRAC,
) -> Tensor:  # [2, image, filter] bool
    """Where the parts in the box stay the same, and where that is counted; arguments and errors of `stability`."""
    if noisy_peaks.shape != peaks.shape:
        raise ShapeError(
            f"noisy_peaks: expected {list(peaks.shape)} as in peaks, got {list(noisy_peaks.shape)}; "
            "give the same pictures and filters, once with noise"
        )
    before = parts_in_boxes(peaks, scores, landmarks, image_size, box_frac=box_frac)
    after = parts_in_boxes(noisy_peaks, noisy_scores, landmarks, image_size, box_frac=box_frac)
    is_shown = are_shown(landmarks).any(dim=1)[:, None].to(before.device)
    is_counted = (scores > 0).to(before.device) & is_shown
    is_same = is_counted & (noisy_scores > 0).to(before.device) & (before == after.to(before.device)).all(dim=2)
    return torch.stack([is_same, is_counted])


def are_shown(landmarks: Tensor) -> Tensor:  # [image, part, 2] → [image, part] bool
    """The parts that pictures show."""
    return ~landmarks.isnan().any(dim=2)


def parts_in_boxes(
    peaks: Tensor,
    scores: Tensor,
    landmarks: Tensor,
    image_size: tuple[int, int],
    *,
    box_frac: float = BOX_FRAC,
) -> Tensor:  # [image, filter, part] bool
    """Where a part's point lies in the box around a peak; arguments and errors are those of `consistency`."""
    check_scored_peaks(peaks, scores, landmarks)
    checked_diagonal(image_size)
    check_fraction("box_frac", box_frac, is_one_allowed=True)
    height, width = image_size
    half = peaks.new_tensor([width, height], dtype=torch.float64) * (box_frac / 2)
    chunk = max(1, _MOST_ELEMENTS // max(1, 2 * peaks.shape[1] * landmarks.shape[1]))
    points = landmarks.detach().to(peaks.device, torch.float64)
    found = torch.zeros(*peaks.shape[:2], landmarks.shape[1], dtype=torch.bool, device=peaks.device)
    for first in range(0, len(peaks), chunk):
        own = slice(first, first + chunk)
        gaps = peaks[own, :, None].detach().double() - points[own, None]
        found[own] = (gaps.abs() <= half).all(dim=3)  # of nan False
    return found & (scores.to(peaks.device) > 0)[..., None]
