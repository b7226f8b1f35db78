"""The pointing game: how often a filter's peak lies in a part."""

import torch
from torch import Tensor

from partcnn.metrics.functional.arguments import check_num_images, check_regions, check_scored_peaks
from partcnn.metrics.functional.regions import grown_regions
from partcnn.metrics.functional.results import BestPartMetric, hit_shares

TOLERANCE_PX = 15.0  # of Zhang et al. (2018), who give a picture's own pixels; ours are the frame's


def pointing_game(
    peaks: Tensor,  # [image, filter, 2]
    scores: Tensor,  # [image, filter]
    regions: Tensor,  # [image, part, grid row, grid col] bool
    image_size: tuple[int, int],
    *,
    tolerance_px: float = TOLERANCE_PX,
) -> BestPartMetric:
    """The share of a part's pictures on which a filter's peak lies in the part; higher is better.

    Zhang, Bargal, Lin, Brandt, Shen & Sclaroff, "Top-down neural attention by excitation backprop" (IJCV 2018):
    hits / (hits + misses), a hit within `tolerance_px` of the region. Over all pictures that show the part, not the
    strongest alone; the value is the mean over filters of each one's best part.

    Args:
        peaks: (x, y) in pixels of the frame.
        scores: the activation there; a filter that is silent on a picture, score ≤ 0, misses.
        regions: the parts' pixels, or samples of them on a coarser grid; empty where a picture does not show a part.
        image_size: (height, width) of the frame.
        tolerance_px: at least 0. Peak and part are compared on the regions' grid, so by half a grid step more or less.

    Returns:
        Shares between 0 and 1, nan for a part that no picture shows.

    Raises:
        ShapeError: axes or sizes do not fit together.
        ConfigError: the tolerance is negative; a number is nan or infinite that may not be.
    """
    hits = pointing_hits(peaks, scores, regions, image_size, tolerance_px=tolerance_px)
    return hit_shares(hits.sum(dim=0), regions.any(dim=3).any(dim=2).sum(dim=0))


def pointing_hits(
    peaks: Tensor,
    scores: Tensor,
    regions: Tensor,
    image_size: tuple[int, int],
    *,
    tolerance_px: float = TOLERANCE_PX,
) -> Tensor:  # [image, filter, part] bool
    """Where the peak lies in the part; arguments and errors are those of `pointing_game`."""
    check_scored_peaks(peaks, scores)
    check_regions(regions)
    check_num_images("regions", regions, len(peaks), "peaks")
    grown = grown_regions(regions, tolerance_px, image_size)
    height, width = image_size
    rows, cols = regions.shape[2:]
    steps = peaks.new_tensor([width / cols, height / rows])
    # Near the border the middle of what a cell sees may lie outside the picture: its nearest point counts.
    cells = (peaks / steps).floor().long().clamp(min=0).minimum(torch.tensor([cols - 1, rows - 1]).to(peaks.device))
    images = torch.arange(len(peaks), device=peaks.device)[:, None]
    hits = grown.movedim(1, 3)[images, cells[..., 1], cells[..., 0]]  # [image, filter, part]
    return hits & (scores > 0)[..., None]
