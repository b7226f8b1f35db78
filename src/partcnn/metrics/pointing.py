"""The pointing game, batch by batch."""

from typing import Any

from torch import Tensor

from partcnn.metrics.base import HitShares
from partcnn.metrics.functional.pointing import TOLERANCE_PX, pointing_hits


class PointingGame(HitShares):
    """`partcnn.metrics.functional.pointing_game`, batch by batch.

    Args:
        num_filters, num_parts: as will be given.
        image_size, tolerance_px: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    def __init__(
        self,
        num_filters: int,
        num_parts: int,
        image_size: tuple[int, int],
        *,
        tolerance_px: float = TOLERANCE_PX,
        **settings: Any,
    ) -> None:
        super().__init__(num_filters, num_parts, image_size, **settings)
        self.tolerance_px = tolerance_px

    def update(self, peaks: Tensor, scores: Tensor, regions: Tensor) -> None:
        """As in `pointing_game`: images of one category."""
        hits = pointing_hits(peaks, scores, regions, self.image_size, tolerance_px=self.tolerance_px)
        self.hits += hits.sum(dim=0)
        self.num_shown += regions.any(dim=3).any(dim=2).sum(dim=0)
