"""What filters of the top layer do together, on every picture of an object: their places, whose cells and parts are."""

import torch
from torch import Tensor

from partcnn.metrics.functional.agreement import part_clusters
from partcnn.metrics.functional.map_statistics import MapMoments
from partcnn.model.mask import PartMask
from partcnn.networks.probing.receptive_field import ReceptiveField


class TogetherObservation:
    """Memory grows by 14 bytes a picture and filter.

    Args:
        mask: of the layer.
        field: of its cells.
        background: the group of pictures that show no object: they count for `moments` alone.

    Attributes:
        moments: of the maps that the layers above see, over all cells of all pictures.
        has_rest: whether a cell can be nobody's.
    """

    def __init__(self, mask: PartMask, field: ReceptiveField, *, background: int | None) -> None:
        self.moments: MapMoments | None = None
        self.has_rest, self._num_parts = False, 0
        self._mask, self._field, self._background = mask, field, background
        self._rows: list[tuple[Tensor, ...]] = []

    def add_maps(self, masked: Tensor) -> None:
        """Maps after the mask of one batch of pictures, each once: [image, filter, row, col]."""
        moments = MapMoments.of(masked)
        self.moments = moments if self.moments is None else self.moments + moments

    def add(
        self,
        maps: Tensor,  # [image, filter, row, col] before the mask, on any device
        cells: Tensor,  # [image, filter, 2] (row, col), in fractions of cells
        scores: Tensor,  # [image, filter], 0 where a filter is silent
        labels: Tensor,  # [image], a group of each
        landmarks: Tensor,  # [image, part, 2] (x, y) in pixels of the input
        boxes: Tensor,  # [image, 4] of the object, xyxy in pixels of the input; nan where there is none
    ) -> None:
        """One batch, each picture with one of its groups."""
        self._num_parts = landmarks.shape[1]
        is_object = labels != (-1 if self._background is None else self._background)
        if not is_object.any():
            return
        maps, landmarks, scores = maps[is_object.to(maps.device)], landmarks[is_object], scores[is_object]
        height, width = self._field.input_size
        rest = self._mask.rest_of(maps)
        self.has_rest = rest is not None
        clusters = part_clusters(
            maps,
            (landmarks / landmarks.new_tensor([width, height])).to(maps.device),
            background=rest,
            input_size=(height, width),
        )
        whole = boxes.new_tensor([0, 0, width, height])
        boxes = torch.where(boxes[is_object].isnan().any(dim=1, keepdim=True), whole, boxes[is_object])
        peaks = maps.amax(dim=(2, 3)).float().cpu()
        held = self._held(maps, rest, boxes)
        self._rows.append(
            (labels[is_object], cells[is_object], scores > 0, clusters.cpu(), landmarks, boxes, peaks, held)
        )

    def _held(self, maps: Tensor, rest: Tensor | None, boxes: Tensor) -> Tensor:  # [picture, 2]
        """How many cells some filter holds, and how many of these have their middle outside the object's box; 0 where
        no rest says what is nobody's."""
        if rest is None:
            return torch.zeros(len(maps), 2, dtype=torch.int64)
        is_held = (maps.amax(dim=1) > rest).cpu()
        rows, cols = torch.meshgrid(*(torch.arange(cells) for cells in self._field.map_size), indexing="ij")
        x, y = self._field.centers_px(torch.stack([rows, cols], dim=-1).double()).unbind(dim=-1)
        left, top, right, bottom = boxes[:, :, None, None].unbind(dim=1)
        is_outside = (x < left) | (x > right) | (y < top) | (y > bottom)
        return torch.stack([is_held, is_held & is_outside], dim=1).sum(dim=(2, 3))

    @property
    def labels(self) -> Tensor:
        """[picture] of an object."""
        return self._column(0, torch.zeros(0, dtype=torch.int64))

    @property
    def cells(self) -> Tensor:
        """[picture, filter, 2] (row, col)."""
        return self._column(1, torch.zeros(0, self._mask.num_filters, 2))

    @property
    def fires(self) -> Tensor:
        """[picture, filter] bool."""
        return self._column(2, torch.zeros(0, self._mask.num_filters, dtype=torch.bool))

    @property
    def clusters(self) -> Tensor:
        """[picture, part, 2], see `part_clusters`: the rest, where there is one, is behind the filters."""
        return self._column(3, torch.zeros(0, self._num_parts, 2, dtype=torch.int16))

    @property
    def peaks(self) -> Tensor:
        """[picture, filter] of the maps as they are, where `fires` knows nothing of weak ones."""
        return self._column(6, torch.zeros(0, self._mask.num_filters))

    @property
    def scores(self) -> Tensor:
        """[picture, filter] of the maps' peaks, 0 where a filter is silent."""
        return self.peaks.where(self.fires, 0)

    @property
    def peaks_px(self) -> Tensor:
        """[picture, filter, 2] (x, y) in pixels of the input."""
        return self._field.centers_px(self.cells.float())

    @property
    def landmarks_px(self) -> Tensor:
        """[picture, part, 2] (x, y) in pixels of the input; nan where a part is not visible."""
        return self._column(4, torch.zeros(0, self._num_parts, 2))

    @property
    def input_size(self) -> tuple[int, int]:
        return self._field.input_size

    @property
    def held(self) -> Tensor:
        """[picture, 2]: cells that some filter holds, and those of them outside the object's box."""
        return self._column(7, torch.zeros(0, 2, dtype=torch.int64))

    @property
    def places(self) -> Tensor:
        """[picture, filter, 2] (x, y) in shares of the object's box; nan where the filter is absent."""
        if not self._rows:
            return torch.zeros(0, self._mask.num_filters, 2)
        centers = self._in_boxes(self._field.centers_px(self.cells))
        return centers.masked_fill(~self.fires[..., None], torch.nan)

    @property
    def middles(self) -> Tensor:
        """[picture, 1, 2] (x, y) of the middle of the picture, in shares of the object's box."""
        height, width = self._field.input_size
        return self._in_boxes(torch.tensor([[[width / 2, height / 2]]]))

    @property
    def landmarks(self) -> Tensor:
        """[picture, part, 2] (x, y) in shares of the object's box; nan where a part is not visible."""
        return self._in_boxes(self.landmarks_px)

    def _in_boxes(self, points: Tensor) -> Tensor:
        boxes = self._column(5, torch.zeros(0, 4))[:, None]
        return (points - boxes[..., :2]) / (boxes[..., 2:] - boxes[..., :2])

    def _column(self, number: int, nothing: Tensor) -> Tensor:
        return torch.cat([row[number] for row in self._rows]) if self._rows else nothing
