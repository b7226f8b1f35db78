"""One pass over the pictures: what the page shows of them beyond the evaluation."""

import io
import math
from collections import defaultdict
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.datasets import MaskShape, PartDataset, Point, Sample
from partcnn.evaluation import Evaluation
from partcnn.evaluation.observation.strongest import NUM_TOP_IMAGES
from partcnn.explanation.attribution import Attribution, attribute
from partcnn.model.mask import PartMask, part_masks
from partcnn.model.network import conversion_of, unwrapped
from partcnn.networks.probing.receptive_field import ReceptiveField, receptive_field

MOST_PICTURES = 600  # in one page; of more, the strongest of the filters and an even choice of the others
NUM_TOP = NUM_TOP_IMAGES  # pictures of a filter whose maps are kept: those that an evaluation names
_BATCH = 16
_QUALITY = 78


@dataclass(frozen=True)
class PagePicture:
    """One picture; places are shares of its width and height, from its top left corner."""

    sample: int  # index in the data set's samples
    name: str
    label: int
    prediction: int
    width: int  # of the JPEG
    height: int
    jpeg: bytes
    parts: dict[str, list[tuple[float, ...]]]  # boxes (x0, y0, x1, y1) and points (x, y)
    object_box: tuple[float, ...] | None


@dataclass(frozen=True)
class Attributed:
    """One logit of one picture as a sum."""

    label: int
    logit: float
    bias: float
    remainder: float
    shares: Tensor  # [filter]


@dataclass(frozen=True)
class Gathered:
    """The pictures of the page and what the top part layer did on them, in one order.

    Args:
        pictures: at most `MOST_PICTURES`, in the order of the data set.
        num_images: of the data set.
        cells: [picture, filter] number of the part's cell, row by row.
        scores: [picture, filter] activation at the peak, before the mask.
        logits: [picture, class].
        predicted: the predicted class's logit of every picture, split.
        true: the true class's where the prediction is wrong, by place in `pictures`.
        top: [filter] places in `pictures` of the filter's strongest, at most `NUM_TOP`.
        top_maps: [filter, top, row, col] their maps before the mask, zeros where there are fewer.
        likeness: [filter, filter] Pearson correlation of two filters' maps over all cells of all pictures; nan
            for a filter that is silent on all.
        field: receptive field of the layer.
        slopes: [filter] β of the templates.
        is_masked: whether the layers above see masked maps.
        places: how cells were read, "peak" or "expected" (`partcnn.objectives.part_places`).
        is_exact: whether the shares are exact; else gradient × activation.
    """

    pictures: list[PagePicture]
    num_images: int
    cells: Tensor
    scores: Tensor
    logits: Tensor
    predicted: list[Attributed]
    true: dict[int, Attributed]
    top: list[list[int]]
    top_maps: Tensor
    likeness: Tensor
    field: ReceptiveField
    slopes: Tensor
    is_masked: bool
    places: str
    is_exact: bool


def gather(model: nn.Module, dataset: PartDataset, evaluation: Evaluation) -> Gathered:
    """Pass the page's pictures through the network once; it is left in the mode it was in."""
    indices = _chosen(len(dataset), evaluation)
    place_of = {index: place for place, index in enumerate(indices)}
    top = [[place_of[t.sample] for t in one.top_images[:NUM_TOP] if t.sample in place_of] for one in evaluation.filters]
    wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for filter_index, places in enumerate(top):
        for rank, place in enumerate(places):
            wanted[place].append((filter_index, rank))
    inner = unwrapped(model)
    name, mask = list(part_masks(inner))[-1]
    record = conversion_of(model)
    input_size = record.preprocessing.input_size
    side = _long_side(len(indices))
    kept = _Kept(wanted, mask)
    for start in range(0, len(indices), _BATCH):
        samples = [(index, dataset.samples[index]) for index in indices[start : start + _BATCH]]
        loaded = [sample.load_image() for _, sample in samples]
        kept.add(
            model, torch.stack([record.preprocessing(picture) for picture in loaded]), [s.label for _, s in samples]
        )
        kept.pictures += [
            _page_picture(index, sample, picture, prediction, side)
            for (index, sample), picture, prediction in zip(
                samples, loaded, kept.predictions[-len(loaded) :], strict=True
            )
        ]
    slope = mask.template_slope
    return Gathered(
        pictures=kept.pictures,
        num_images=len(dataset),
        cells=torch.cat(kept.cells),
        scores=torch.cat(kept.scores),
        logits=torch.cat(kept.logits),
        predicted=kept.predicted,
        true=kept.true,
        top=top,
        top_maps=kept.top_maps,
        likeness=kept.likeness(),
        field=receptive_field(inner, name, input_size),
        slopes=slope.detach().float().cpu() if isinstance(slope, Tensor) else torch.full((mask.num_filters,), slope),
        is_masked=mask.enabled,
        places=mask.places,
        is_exact=kept.is_exact,
    )


@dataclass
class _Kept:
    """What is kept of the batches so far."""

    wanted: dict[int, list[tuple[int, int]]]  # place of a picture → (filter, rank) whose map is shown
    mask: PartMask
    pictures: list[PagePicture] = field(default_factory=list)
    predictions: list[int] = field(default_factory=list)
    cells: list[Tensor] = field(default_factory=list)
    scores: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    predicted: list[Attributed] = field(default_factory=list)
    true: dict[int, Attributed] = field(default_factory=dict)
    top_maps: Tensor = field(default_factory=lambda: torch.empty(0))  # made with the first batch, as are the next two
    sums: Tensor = field(default_factory=lambda: torch.empty(0))  # [filter] over all cells
    products: Tensor = field(default_factory=lambda: torch.empty(0))  # [filter, filter] over all cells
    num_cells: int = 0
    is_exact: bool = True

    def add(self, model: nn.Module, images: Tensor, labels: list[int]) -> None:
        first = len(self.predictions)
        found = attribute(model, images)
        maps = found.feature_maps
        predictions = found.logits.argmax(dim=1)
        self.is_exact = found.is_exact
        cells = self.mask.part_cells(maps)
        self.cells.append(cells[..., 0] * maps.shape[3] + cells[..., 1])
        self.scores.append(maps.amax(dim=(2, 3)))
        self.logits.append(found.logits)
        self.predictions += predictions.tolist()
        self.predicted += _split(found, predictions)
        is_wrong = predictions != torch.tensor(labels)
        if is_wrong.any():
            true = torch.tensor(labels)[is_wrong]
            again = attribute(model, images[is_wrong], F.one_hot(true, found.logits.shape[1]))
            places = (first + is_wrong.nonzero()[:, 0]).tolist()
            self.true |= dict(zip(places, _split(again, true), strict=True))
        if not self.top_maps.numel():
            self.top_maps = torch.zeros(self.mask.num_filters, NUM_TOP, *maps.shape[2:])
            self.sums = torch.zeros(self.mask.num_filters, dtype=torch.float64)
            self.products = torch.zeros(self.mask.num_filters, self.mask.num_filters, dtype=torch.float64)
        for offset in range(len(maps)):
            for filter_index, rank in self.wanted.get(first + offset, []):
                self.top_maps[filter_index, rank] = maps[offset, filter_index]
        flat = maps.transpose(0, 1).flatten(1).double()  # [filter, image × cell]
        self.sums += flat.sum(dim=1)
        self.products += flat @ flat.T
        self.num_cells += flat.shape[1]

    def likeness(self) -> Tensor:
        mean = self.sums / self.num_cells
        covariance = self.products / self.num_cells - mean[:, None] * mean
        deviation = covariance.diagonal().clamp(min=0).sqrt()
        scale = deviation[:, None] * deviation
        return torch.where(scale > 0, covariance / scale, math.nan).clamp(-1, 1).float()


def _split(found: Attribution, labels: Tensor) -> list[Attributed]:
    rows = zip(labels.tolist(), found.explained, found.bias, found.remainder, found.shares, strict=True)
    return [Attributed(label, float(e), float(b), float(r), shares) for label, e, b, r, shares in rows]


def _chosen(num_images: int, evaluation: Evaluation) -> list[int]:
    """All, or of too many: first every filter's strongest picture, then the second ones, …, then an even choice."""
    if num_images <= MOST_PICTURES:
        return list(range(num_images))
    chosen: dict[int, None] = {}
    for rank in range(NUM_TOP):
        for one in evaluation.filters:
            if rank < len(one.top_images) and len(chosen) < MOST_PICTURES * 2 // 3:
                chosen.setdefault(one.top_images[rank].sample)
    rest = [index for index in range(num_images) if index not in chosen]
    room = MOST_PICTURES - len(chosen)
    return sorted([*chosen, *(rest[math.floor(i * len(rest) / room)] for i in range(min(room, len(rest))))])


def _long_side(num_pictures: int) -> int:
    """Of the pictures as kept: fewer may be larger."""
    return 288 if num_pictures <= 120 else 224 if num_pictures <= 300 else 160


def _page_picture(index: int, sample: Sample, picture: Image.Image, prediction: int, side: int) -> PagePicture:
    scale = min(1.0, side / max(picture.size))
    width, height = (max(1, round(length * scale)) for length in picture.size)
    buffer = io.BytesIO()
    small = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    small.save(buffer, format="JPEG", quality=_QUALITY, optimize=True)
    size = picture.size
    return PagePicture(
        sample=index,
        name=sample.image_path.name,
        label=sample.label,
        prediction=prediction,
        width=width,
        height=height,
        jpeg=buffer.getvalue(),
        parts={part: [_shares(shape, size) for shape in shapes] for part, shapes in sample.parts.items()},
        object_box=None if sample.object_box is None else _shares(sample.object_box, size),
    )


def _shares(shape: object, size: tuple[int, int]) -> tuple[float, ...]:
    flat = shape if isinstance(shape, Point) else shape.box if isinstance(shape, MaskShape) else shape
    return tuple(value / size[axis % 2] for axis, value in enumerate(flat))  # type: ignore[arg-type,var-annotated]
