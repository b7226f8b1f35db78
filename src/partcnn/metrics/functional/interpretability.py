"""Part interpretability: how often what a filter fires on overlaps a part."""

import math

import torch
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.metrics.functional.arguments import check_fraction, check_maps, check_num_images, check_regions
from partcnn.metrics.functional.quantile import QUANTILE, activation_bins, activation_histogram, threshold_bins
from partcnn.metrics.functional.regions import cell_discs
from partcnn.metrics.functional.results import BestPartMetric, hit_shares

IOU_THRESHOLD = 0.2  # the paper's; Bau et al. (2017) took 0.04
_MAX_ELEMENTS = 2**22  # of the discs' union held at once


def part_interpretability(
    feature_maps: Tensor,  # [image, filter, row, col]
    regions: Tensor,  # [image, part, grid row, grid col] bool
    centers_px: Tensor,  # [row, col, 2]
    image_size: tuple[int, int],
    *,
    radius_px: float,
    iou_threshold: float = IOU_THRESHOLD,
    quantile: float = QUANTILE,
    thresholds: Tensor | None = None,  # [filter]
) -> BestPartMetric:
    """The share of a part's pictures on which what a filter fires on overlaps the part; higher is better.

    Zhang, Wu & Zhu (2018), Sec. 5, after Bau et al. (2017). T_f: the activation that `quantile` of all cells of
    filter f exceed. S: the union of discs around the cells above T_f. Part k is hit where
    IoU = |S ∩ part| / |S ∪ part| > iou_threshold;  P_{f,k} = hits / pictures that show k;  P_f = max_k P_{f,k}. The
    value is the mean of P_f over all filters. The paper gives no radius, so that its figures cannot be compared with
    those of any other radius.

    Args:
        feature_maps: after the ReLU, on pictures of the filters' category.
        regions: the parts' pixels, or samples of them on a coarser grid; empty where a picture does not show a part.
        centers_px: of each cell's receptive field, (x, y) in pixels of the frame.
        image_size: (height, width) of the frame.
        radius_px: of the discs, above 0.
        iou_threshold, quantile: between 0 and 1.
        thresholds: T_f, where known, such as `activation_thresholds` over more pictures; None takes these maps.

    Returns:
        Shares between 0 and 1, nan for a part that no picture shows. A filter that never fires hits nothing: 0.

    Raises:
        ShapeError: axes or sizes do not fit together.
        ConfigError: a number is outside what it may be, or the maps hold nan.
    """
    check_maps(feature_maps)
    check_regions(regions)
    check_num_images("regions", regions, len(feature_maps), "feature_maps")
    check_fraction("iou_threshold", iou_threshold)
    if thresholds is None:
        first_above = threshold_bins(activation_histogram(feature_maps), quantile=quantile)
        is_above = activation_bins(feature_maps) >= first_above[:, None, None]
    elif thresholds.shape == feature_maps.shape[1:2]:
        is_above = (feature_maps >= thresholds.to(feature_maps.device)[:, None, None]) & (feature_maps > 0)
    else:
        raise ShapeError(
            f"thresholds: expected one for each of {feature_maps.shape[1]} filters, got {thresholds.shape}"
        )
    discs = cell_discs(centers_px, radius_px, (regions.shape[2], regions.shape[3]), image_size)
    ious = part_ious(is_above, regions, discs)
    return hit_shares((ious > iou_threshold).sum(dim=0), regions.any(dim=3).any(dim=2).sum(dim=0))


def part_ious(
    is_above: Tensor,  # [image, filter, row, col] bool
    regions: Tensor,  # [image, part, grid row, grid col] bool
    discs: Tensor,  # [row, col, grid row, grid col] bool
) -> Tensor:  # [image, filter, part] float64
    """IoU of a part's region with the union of the discs around the cells above the threshold.

    Returns:
        Between 0 and 1; nan where the picture does not show the part.

    Raises:
        ShapeError: the maps and the discs, or the regions and the discs, are of different sizes.
    """
    if is_above.shape[2:] != discs.shape[:2] or regions.shape[2:] != discs.shape[2:]:
        raise ShapeError(
            f"discs: expected [row, col, grid row, grid col] = {(*is_above.shape[2:], *regions.shape[2:])}, "
            f"got {tuple(discs.shape)}; see cell_discs"
        )
    flat_discs = discs.flatten(2).flatten(0, 1).float()  # [cell, point]
    flat_regions = regions.flatten(2).float()  # [image, part, point]
    part_area = flat_regions.sum(dim=2)
    cells = is_above.flatten(2)
    images, filters = cells.any(dim=2).nonzero(as_tuple=True)  # a map without such a cell overlaps nothing
    shape = (*is_above.shape[:2], regions.shape[1])
    overlap = flat_discs.new_zeros(shape)
    area = flat_discs.new_zeros(shape[:2])
    for rows in torch.arange(len(images), device=images.device).split(max(1, _MAX_ELEMENTS // discs[0, 0].numel())):
        image, filter_ = images[rows], filters[rows]
        union = (cells[image, filter_].float() @ flat_discs).clamp_(max=1)  # counts of discs: whole numbers
        area[image, filter_] = union.sum(dim=1)
        for one in image.unique().tolist():
            own = image == one
            overlap[one, filter_[own]] = union[own] @ flat_regions[one].T
    iou = overlap.double() / (area[..., None] + part_area[:, None] - overlap).double()
    return iou.masked_fill(part_area[:, None] == 0, math.nan)
