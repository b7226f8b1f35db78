"""Part purity, batch by batch; the state is a table of each filter's strongest images."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.base import ImageMetric
from partcnn.metrics.functional.arguments import check_fraction, check_top, checked_diagonal
from partcnn.metrics.functional.part_purity import (
    NUM_PICTURES,
    WINDOW_FRAC,
    empty_windows,
    merged_sides,
    purity_of_table,
    strongest_windows,
)
from partcnn.metrics.functional.results import BestPartMetric
from partcnn.metrics.functional.strongest import merged_tables


class PartPurity(ImageMetric):
    """`partcnn.metrics.functional.part_purity`, batch by batch; [filter, merged part] where not averaged.

    Args:
        num_filters: as will be given.
        parts: their names, in the order of the landmarks.
        image_size, top, window_frac: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    table: Tensor

    def __init__(
        self,
        num_filters: int,
        parts: Sequence[str],
        image_size: tuple[int, int],
        *,
        top: int = NUM_PICTURES,
        window_frac: float = WINDOW_FRAC,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        check_top(top)
        checked_diagonal(image_size)
        check_fraction("window_frac", window_frac, is_one_allowed=True)
        self.parts, self.image_size, self.top, self.window_frac = list(parts), image_size, top, window_frac
        table = empty_windows(num_filters, len(merged_sides(self.parts)), top)
        self.add_state("table", table, dist_reduce_fx=merged_tables)

    def update(self, peaks: Tensor, scores: Tensor, landmarks: Tensor, image_index: Tensor) -> None:
        """Images of one category, as in the function; `image_index` [image] is a number of each image's own."""
        if image_index.shape != peaks.shape[:1] or image_index.is_floating_point():
            raise ConfigError(
                f"image_index: expected a whole number for each of {len(peaks)} images, got {image_index}"
            )
        new = strongest_windows(
            peaks,
            scores,
            landmarks,
            self.image_size,
            parts=self.parts,
            top=self.top,
            window_frac=self.window_frac,
            image_index=image_index,
        ).to(self.table.device)
        if len(new) != len(self.table):
            raise ShapeError(f"peaks: expected {len(self.table)} filters, got {len(new)}")
        padded = torch.full_like(self.table, torch.nan)
        padded[:, :, : new.shape[2]] = new
        self.table = merged_tables(torch.stack([self.table, padded]))

    def result(self) -> BestPartMetric:
        return purity_of_table(self.table)
