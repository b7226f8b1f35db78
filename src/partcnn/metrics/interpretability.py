"""Part interpretability, batch by batch, where the thresholds are known."""

from typing import Any

from torch import Tensor

from partcnn.metrics.base import HitShares
from partcnn.metrics.functional.arguments import check_fraction
from partcnn.metrics.functional.interpretability import IOU_THRESHOLD, part_ious
from partcnn.metrics.functional.regions import cell_discs


class PartInterpretability(HitShares):
    """`partcnn.metrics.functional.part_interpretability`, batch by batch, with the thresholds of a first pass.

    Args:
        thresholds: [filter], what `ActivationThresholds` computed over the same pictures.
        num_parts: as will be given.
        centers_px, image_size, radius_px, iou_threshold: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    thresholds: Tensor
    centers_px: Tensor

    def __init__(
        self,
        thresholds: Tensor,
        num_parts: int,
        centers_px: Tensor,
        image_size: tuple[int, int],
        *,
        radius_px: float,
        iou_threshold: float = IOU_THRESHOLD,
        **settings: Any,
    ) -> None:
        super().__init__(len(thresholds), num_parts, image_size, **settings)
        check_fraction("iou_threshold", iou_threshold)
        self.radius_px, self.iou_threshold = radius_px, iou_threshold
        self.register_buffer("thresholds", thresholds, persistent=False)
        self.register_buffer("centers_px", centers_px, persistent=False)
        self._discs: Tensor | None = None

    def update(self, feature_maps: Tensor, regions: Tensor) -> None:
        """Maps [image, filter, row, col] and regions [image, part, row, col] of images of one category."""
        if self._discs is None or self._discs.shape[2:] != regions.shape[2:]:
            grid = (regions.shape[2], regions.shape[3])
            self._discs = cell_discs(self.centers_px, self.radius_px, grid, self.image_size)
        is_above = (feature_maps >= self.thresholds[:, None, None]) & (feature_maps > 0)
        ious = part_ious(is_above, regions, self._discs.to(regions.device))
        self.hits += (ious > self.iou_threshold).sum(dim=0)
        self.num_shown += regions.any(dim=3).any(dim=2).sum(dim=0)
