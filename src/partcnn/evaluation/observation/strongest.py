"""The pictures of one class on which each filter fires most, gathered batch by batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from partcnn.metrics.functional import merged_tables, strongest_images
from partcnn.metrics.functional.strongest import empty_table

NUM_TOP_IMAGES = 8  # shown of each filter
_FEWEST_ROWS = 1000


class ClassTables:
    """Rows of a class's pictures, folded into tables of the strongest when they take more memory than these.

    The tables of a class with few pictures are larger than its rows, and are made anew each time they are asked for:
    with hundreds of classes they would not fit into memory together.

    Args:
        num_filters, num_parts: of the rows.
        top: images per filter and part.

    Attributes:
        num_rows: kept as rows now.
    """

    def __init__(self, num_filters: int, num_parts: int, top: int) -> None:
        self._by_part = empty_table(num_filters, num_parts, 0)
        self._of_all = empty_table(num_filters, 1, 0)
        self._top, self._rows, self.num_rows = top, list[tuple[Tensor, ...]](), 0
        # A row is 8 bytes a filter, an entry of a table 48 bytes a filter and part.
        self._most_rows = max(_FEWEST_ROWS, 6 * num_parts * top)

    def add(self, points: Tensor, scores: Tensor, landmarks: Tensor, index: Tensor) -> None:
        """Rows [image, filter, 2], [image, filter], [image, part, 2], [image]; points are cells or pixels."""
        self._rows.append((points, scores, landmarks, index))
        self.num_rows += len(index)
        if self.num_rows > self._most_rows:
            self._fold()

    def by_part(self, filters: Tensor | None = None) -> Tensor:
        """[filter, part, rank, 6]: of the pictures that show the part; see `metrics.functional.strongest`.

        Args:
            filters: [filter] numbers of those that are wanted; None: all.
        """
        wanted = slice(None) if filters is None else filters
        if not self._rows:
            return self._by_part[wanted]
        points, scores, landmarks, index = (torch.cat(columns) for columns in zip(*self._rows, strict=True))
        rows = (points[:, wanted].double(), scores[:, wanted].double(), landmarks)
        return joined_tables(
            [self._by_part[wanted], strongest_images(*rows, top=self._top, image_index=index)], self._top
        )

    def of_all(self) -> Tensor:
        """[filter, rank, 6]: of all pictures of the class, the first few; the landmark is nothing."""
        if not self._rows:
            return self._of_all[:, 0]
        points, scores, _, index = (torch.cat(columns) for columns in zip(*self._rows, strict=True))
        rows = (points.double(), scores.double(), torch.zeros(len(index), 1, 2))
        found = strongest_images(*rows, top=NUM_TOP_IMAGES, image_index=index)
        return joined_tables([self._of_all, found], NUM_TOP_IMAGES)[:, 0]

    def _fold(self) -> None:
        self._by_part, self._of_all = self.by_part(), self.of_all()[:, None]
        self._rows, self.num_rows = [], 0


def joined_tables(tables: Sequence[Tensor], top: int) -> Tensor:
    """The table [filter, part, rank, 6] of all images that these tables were made from, `top` of each at most."""
    num_ranks = min(top, sum(table.shape[2] for table in tables))
    num_filters, num_parts = tables[0].shape[:2]
    padded = empty_table(num_filters, num_parts, num_ranks).repeat(len(tables), 1, 1, 1, 1)
    for whole, table in zip(padded, tables, strict=True):
        whole[:, :, : table.shape[2]] = table
    return merged_tables(padded)
