"""NMI and ARI between filters and parts, batch by batch."""

from typing import Any

import torch
from torch import Tensor

from partcnn.metrics.base import CountMetric
from partcnn.metrics.functional.agreement import PartAgreement, agreement_of_tables, part_clusters


class FilterPartAgreement(CountMetric):
    """`partcnn.metrics.functional.part_agreement`, batch by batch; `compute` gives the NMI, `result` all four scores.

    Args:
        num_filters, num_parts: as will be given, the background's map not among the filters.
        input_size: as in the function.
        settings: of `torchmetrics.Metric`.
    """

    higher_is_better = True
    tables: Tensor

    def __init__(
        self, num_filters: int, num_parts: int, *, input_size: tuple[int, int] | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.input_size = input_size
        shape = (2, num_filters + 1, num_parts)
        self.add_state("tables", torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, feature_maps: Tensor, landmarks: Tensor, background: Tensor | None = None) -> None:
        """Maps [picture, filter, row, col] and landmarks [picture, part, 2] in shares of the picture; the maps
        [picture, row, col] of the background, where there are any."""
        clusters = part_clusters(feature_maps, landmarks, background=background, input_size=self.input_size).long()
        is_shown = clusters[..., 0] >= 0
        parts = torch.arange(landmarks.shape[1], device=is_shown.device).expand(is_shown.shape)[is_shown]
        for table, found in zip(self.tables, clusters[is_shown].unbind(dim=1), strict=True):
            table.index_put_((found, parts), table.new_ones(()), accumulate=True)

    def compute(self) -> Tensor:
        """A scalar, float64; nan where no landmark is visible."""
        return self.tables.new_tensor(self.result().nmi)

    def result(self) -> PartAgreement:
        """All four scores, of this process's pictures alone."""
        return agreement_of_tables(self.tables[0], self.tables[1])
