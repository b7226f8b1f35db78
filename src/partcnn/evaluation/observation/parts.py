"""What the filters of the top layer do to part regions: pointing, thresholds and overlaps, and what baselines get."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from partcnn.evaluation.observation.protocol import Protocol
from partcnn.evaluation.observation.spool import PictureSpool
from partcnn.evaluation.observation.strongest import ClassTables
from partcnn.metrics.functional import cell_discs, grown_regions, part_ious
from partcnn.metrics.functional.quantile import NUM_BINS, add_to_histogram, lower_edges, threshold_bins
from partcnn.networks.probing.receptive_field import ReceptiveField

_BATCH_SIZE = 32


@dataclass(frozen=True)
class Hits:
    """Counts over the pictures of a class: shares are hits / shown."""

    pointing: Tensor  # [filter, part] pictures whose peak lies in the part
    overlap: Tensor  # [filter, part] pictures on which the discs overlap the part
    num_shown: Tensor  # [filter, part] or [part] pictures of the filter's category that show the part


@dataclass(frozen=True)
class ClassHits:
    """The same over the pictures of every group."""

    pointing: Tensor  # [group, filter, part]
    overlap: Tensor  # [group, filter, part]
    num_shown: Tensor  # [group, part]

    def over(self, serves: Tensor) -> Hits:
        """Of every filter on the pictures of the groups that it serves, [filter, group] bool."""
        own = serves.T[:, :, None].long()
        num_shown = serves.long() @ self.num_shown
        return Hits((self.pointing * own).sum(dim=0), (self.overlap * own).sum(dim=0), num_shown)


Overlaps: TypeAlias = dict[tuple[int, int], Tensor]  # (group, picture) → [filter of the group, part] bool


class PartObservation:
    """Part regions against the maps of the top layer; memory does not grow with the pictures, but a spool does.

    Args:
        field: of the cells.
        num_filters, num_groups, num_parts: of what is added; groups are those of the pictures.
        protocol: of the measures.

    Attributes:
        histogram: [filter, bin] of all cells of all pictures, background too.
        baseline_tables: class → tables of the filters that do not look: the first answers the middle of the picture,
            the others a cell drawn anew on each.
    """

    def __init__(
        self, field: ReceptiveField, *, num_filters: int, num_groups: int, num_parts: int, protocol: Protocol
    ) -> None:
        self.field, self.protocol = field, protocol
        self.grid = protocol.grid(field.input_size)
        self.radius_px, self.tolerance_px = protocol.radius(field.stride_px), protocol.tolerance(field.input_size)
        self.histogram = torch.zeros(num_filters, NUM_BINS, dtype=torch.int64)
        self.baseline_tables: dict[int, ClassTables] = {}
        self._first_above: Tensor | None = None  # once asked for
        self._num_parts, num_random = num_parts, protocol.num_random_filters
        self._pointing = torch.zeros(num_groups, num_filters, num_parts, dtype=torch.int64)
        self._shown = torch.zeros(num_groups, num_parts, dtype=torch.int64)
        self._baseline_hits = torch.zeros(2, num_groups, 1 + num_random, num_parts, dtype=torch.int64)
        self._spool = PictureSpool((num_filters, *field.map_size), (num_parts, *self.grid))
        rows, cols = torch.meshgrid(*(torch.arange(cells) for cells in field.map_size), indexing="ij")
        self._centers_px = field.centers_px(torch.stack([rows, cols], dim=-1).double())
        self._discs = cell_discs(self._centers_px, self.radius_px, self.grid, field.input_size)
        # What a filter that fires in one place overlaps, and where it points: each cell, and the middle last.
        height, width = field.input_size
        self._places = torch.cat([self._centers_px.flatten(0, 1), torch.tensor([[width / 2, height / 2]])])
        discs = cell_discs(self._places[:, None], self.radius_px, self.grid, field.input_size)
        self._place_discs = discs[:, 0].flatten(1).float()  # [place, point]
        self._place_points = _nearest_points(self._places, self.grid, field.input_size)

    def add_to_thresholds(self, bins: Tensor) -> None:
        """Cells of one batch of pictures, each once: [image, filter, row, col] of `activation_bins`."""
        self._first_above = None
        add_to_histogram(self.histogram, bins)

    def add(
        self,
        bins: Tensor,  # [image, filter, row, col] of `activation_bins`, of the maps after the mask
        cells: Tensor,  # [image, filter, 2]
        scores: Tensor,  # [image, filter]
        regions: Tensor,  # [image, part, grid row, grid col] bool
        labels: Tensor,
        landmarks: Tensor,
        index: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One batch, each picture with one of its groups: those that show a part [image] bool, and their pointing hits
        [picture, filter, part]."""
        is_annotated = regions.flatten(1).any(dim=1)
        if not is_annotated.any():
            return is_annotated, torch.zeros(0, bins.shape[1], self._num_parts, dtype=torch.bool)
        labels, regions, index = labels[is_annotated], regions[is_annotated], index[is_annotated]
        self._spool.append(index, labels, bins[is_annotated], regions)
        grown = grown_regions(regions, self.tolerance_px, self.field.input_size).flatten(2)  # [image, part, point]
        is_pointed = grown[..., self._place_points]  # [image, part, place]
        place = cells[is_annotated] @ cells.new_tensor([self.field.map_size[1], 1])  # [image, filter]
        hits = is_pointed.movedim(1, 2).gather(1, place[..., None].expand(-1, -1, self._num_parts))
        hits &= (scores[is_annotated] > 0)[..., None]
        self._pointing.index_add_(0, labels, hits.long())
        self._shown.index_add_(0, labels, regions.flatten(2).any(dim=2).long())
        self._add_baselines(labels, regions, is_pointed, landmarks[is_annotated], index)
        return is_annotated, hits

    def thresholds(self) -> Tensor:
        """[filter]: see `metrics.functional.activation_thresholds`."""
        return lower_edges(self._threshold_bins())

    def hits(self, serves: Tensor, is_recorded: Tensor) -> tuple[ClassHits, Overlaps]:
        """Hits of every filter on the pictures of the classes that it serves, whose thresholds are known now.

        Args:
            serves: [filter, group] bool.
            is_recorded: [picture] bool: those whose overlaps are wanted one by one.

        Returns:
            The hits, overlaps only where a filter serves the group; and the overlaps of the recorded pictures.
        """
        first_above = self._threshold_bins()
        total = torch.zeros_like(self._pointing)
        by_picture: Overlaps = {}
        for index, labels, bins, regions in self._spool.batches(_BATCH_SIZE):
            for label in labels.unique().tolist():
                filters, own = serves[:, label].nonzero()[:, 0], labels == label
                if not len(filters):
                    continue
                is_above = bins[own][:, filters] >= first_above[filters, None, None]
                hits = part_ious(is_above, regions[own], self._discs) > self.protocol.iou_threshold
                total[label, filters] += hits.sum(dim=0)
                numbers = index[own].tolist()
                by_picture |= {(label, n): hit for n, hit in zip(numbers, hits, strict=True) if is_recorded[n]}
        return ClassHits(self._pointing, total, self._shown), by_picture

    def baseline_hits(self, labels: Sequence[int]) -> Hits:
        """Of the baseline filters on the pictures of these classes."""
        pointing, overlap = self._baseline_hits[:, list(labels)].sum(dim=1)
        return Hits(pointing, overlap, self._shown[list(labels)].sum(dim=0))

    def close(self) -> None:
        """Let go of the spool."""
        self._spool.close()

    def _threshold_bins(self) -> Tensor:
        if self._first_above is None:
            self._first_above = threshold_bins(self.histogram, quantile=self.protocol.quantile)
        return self._first_above

    def _add_baselines(
        self, labels: Tensor, regions: Tensor, is_pointed: Tensor, landmarks: Tensor, index: Tensor
    ) -> None:
        flat = regions.flatten(2).float()  # [image, part, point]
        overlap = self._place_discs @ flat.transpose(1, 2)  # [image, place, part]
        union = self._place_discs.sum(dim=1)[:, None] + flat.sum(dim=2)[:, None] - overlap
        is_overlapped = overlap / union > self.protocol.iou_threshold  # an empty region is never overlapped
        places = torch.stack([self._answers(int(number)) for number in index])  # [image, baseline filter]
        wanted = places[..., None].expand(-1, -1, self._num_parts)
        self._baseline_hits[0].index_add_(0, labels, is_pointed.movedim(1, 2).gather(1, wanted).long())
        self._baseline_hits[1].index_add_(0, labels, is_overlapped.gather(1, wanted).long())
        for label in labels.unique().tolist():
            own = labels == label
            fresh = ClassTables(places.shape[1], self._num_parts, self.protocol.top)
            points = self._places[places[own]].float()
            scores = torch.zeros(points.shape[:2])  # all tie: the first pictures are taken
            self.baseline_tables.setdefault(label, fresh).add(points, scores, landmarks[own], index[own])

    def _answers(self, picture: int) -> Tensor:
        """Of the baseline filters on a picture: the middle, then cells; the same in whatever order pictures come."""
        drawn = torch.Generator().manual_seed(picture)
        num_cells = len(self._places) - 1
        cells = torch.randint(num_cells, (self.protocol.num_random_filters,), generator=drawn)
        return torch.cat([torch.tensor([num_cells]), cells])


def _nearest_points(places: Tensor, grid: tuple[int, int], input_size: tuple[int, int]) -> Tensor:
    """[place, 2] → [place]: the number of the grid's cell that holds it, or the nearest where it lies outside."""
    cols, rows = (
        (places[:, axis] / (side / cells)).floor().long().clamp(0, cells - 1)
        for axis, side, cells in ((0, input_size[1], grid[1]), (1, input_size[0], grid[0]))
    )
    return rows * grid[1] + cols
