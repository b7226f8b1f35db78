"""One pass over the pictures: what the page shows of them beyond the evaluation."""

import math
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.datasets import PartDataset, Sample
from partcnn.evaluation import Evaluation
from partcnn.evaluation.observation.strongest import NUM_TOP_IMAGES
from partcnn.evaluation.redundancy import SAME_PLACE
from partcnn.explanation.attribution import Attribution, attribute
from partcnn.foundation.labels import answered
from partcnn.metrics.functional.map_statistics import MapMoments, PeakPairs, agreement_groups
from partcnn.model.competing_mask import CompetingMask
from partcnn.model.mask import PartMask, top_mask
from partcnn.model.network import conversion_of, layer_field, unwrapped
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.reporting.page_pictures import PagePicture, chosen_pictures, long_side, page_picture
from partcnn.reporting.tiles import Tile, first_pictures, picture_tiles, usual_holders

_BATCH = 16


@dataclass(frozen=True)
class Attributed:
    """One logit of one picture as a sum."""

    label: int
    logit: float
    bias: float
    remainder: float
    shares: Tensor  # [filter]
    surroundings: float | None = None  # of filters that compete


@dataclass(frozen=True)
class Gathered:
    """The pictures of the page and what the top part layer did on them, in one order.

    Args:
        pictures: at most `MOST_PICTURES`, in the order of the data set.
        num_images: of the data set.
        cells: [picture, filter] number of the part's cell, row by row.
        scores: [picture, filter] activation at the peak, before the mask; 0 where a filter is silent.
        logits: [picture, class].
        predicted: the largest logit of every picture, split.
        others: of some pictures the logits of other classes, by index in `pictures`: of the true one where another is
            predicted; in a multi-label task of all that are found or missed.
        top: [filter] indices in `pictures` of the filter's strongest, at most `NUM_TOP_IMAGES`.
        top_maps: [filter, top, row, col] their maps before the mask, zeros where there are fewer.
        likeness: [filter, filter] Pearson correlation of two filters' maps over all cells of all pictures; nan
            for a filter that is silent on all.
        field: receptive field of the layer.
        slopes: [filter] β of the templates.
        is_masked: whether the layers above see masked maps.
        places: how cells were read, "peak" or "expected" (`partcnn.objectives.part_places`).
        is_exact: whether the shares are exact; else gradient × activation.
        groups: filters whose places are within a cell on most pictures of objects (`evaluation.redundancy`), the
            largest group first; empty where it was not asked.
        tiles: [picture] what each filter holds of it; None where the filters do not compete.
        holders: the filters that hold some of at least half of the pictures of objects; None as of `tiles`.
        first: indices in `pictures` of those that stand at the head of the page.
        is_multilabel: whether a picture may show several classes or none.
        num_filters: of the layer, where those here are some of them (`reporting.folding`); None: they are all.
    """

    pictures: list[PagePicture]
    num_images: int
    cells: Tensor
    scores: Tensor
    logits: Tensor
    predicted: list[Attributed]
    others: dict[int, list[Attributed]]
    top: list[list[int]]
    top_maps: Tensor
    likeness: Tensor
    field: ReceptiveField
    slopes: Tensor
    is_masked: bool
    places: str
    is_exact: bool
    groups: list[list[int]] = dataclass_field(default_factory=list)
    tiles: list[list[Tile]] | None = None
    holders: list[int] | None = None
    first: list[int] = dataclass_field(default_factory=list)
    is_multilabel: bool = False
    num_filters: int | None = None


def gather(model: nn.Module, dataset: PartDataset, evaluation: Evaluation) -> Gathered:
    """Pass the page's pictures through the network once; it is left in the mode it was in.

    Each is decoded once, to the same pixels as for the evaluation: large JPEGs at a fraction of their size.
    """
    network = unwrapped(model)
    layer, mask = top_mask(network)
    indices = chosen_pictures(len(dataset), evaluation)
    top = _strongest(evaluation, indices)
    field = layer_field(network, layer)
    tiling = field if isinstance(mask, CompetingMask) else None
    found = _passed(model, mask, dataset, indices, _wanted_maps(top, len(indices)), tiling)
    others = enumerate(of_picture for batch in found.batches for of_picture in batch.others)
    cells = torch.cat([batch.cells for batch in found.batches])
    scores = torch.cat([batch.scores for batch in found.batches])
    is_object = [dataset.shows_object(dataset.samples[number]) for number in indices]
    return Gathered(
        pictures=found.pictures,
        num_images=len(dataset),
        cells=cells,
        scores=scores,
        logits=torch.cat([batch.logits for batch in found.batches]),
        predicted=[split for batch in found.batches for split in batch.predicted],
        others={index: of_picture for index, of_picture in others if of_picture},
        top=top,
        top_maps=_stacked(found.maps, mask.num_filters, field.map_size),
        likeness=_likeness(found.moments),
        field=field,
        slopes=_slopes(mask),
        is_masked=mask.enabled,
        places=mask.places,
        is_exact=found.batches[0].is_exact,
        groups=_groups(cells, scores, torch.tensor(is_object), field.map_size[1]),
        tiles=None if tiling is None else found.tiles,
        holders=None if tiling is None else usual_holders(found.tiles, is_object),
        first=first_pictures(found.pictures, is_object),
        is_multilabel=dataset.is_multilabel,
    )


def _groups(cells: Tensor, scores: Tensor, is_object: Tensor, num_cols: int) -> list[list[int]]:
    places = torch.stack([cells // num_cols, cells % num_cols], dim=-1)[is_object]
    return agreement_groups(PeakPairs.of(places, scores[is_object] > 0).agreement, least=SAME_PLACE)


@dataclass(frozen=True)
class _Passed:
    """What is kept of the pass: something small of every picture, and the maps that are shown."""

    pictures: list[PagePicture]
    batches: "list[_Kept]"
    maps: dict[tuple[int, int], Tensor]  # (filter, rank) → [row, col]
    moments: MapMoments
    tiles: list[list[Tile]]


def _passed(
    model: nn.Module,
    mask: PartMask,
    dataset: PartDataset,
    indices: list[int],
    wanted: list[list[tuple[int, int]]],
    tiling: ReceptiveField | None,
) -> _Passed:
    """`tiling`: the cells' field, where the filters compete and their tiles are wanted."""
    record, side = conversion_of(model), long_side(len(indices))
    preprocessing = record.preprocessing
    pictures, kept, maps = list[PagePicture](), list[_Kept](), dict[tuple[int, int], Tensor]()
    moments: MapMoments | None = None
    tiles = list[list[Tile]]()
    for start in range(0, len(indices), _BATCH):
        batch = [_decoded(dataset, number, preprocessing.input_size) for number in indices[start : start + _BATCH]]
        images = torch.stack([preprocessing(decoded.picture) for decoded in batch])
        found = attribute(model, images)
        predictions = answered(found.logits, is_multilabel=record.settings.multilabel)
        pictures += _page_pictures(batch, predictions, side)
        kept.append(_kept(model, mask, found, images, pictures[-len(batch) :]))
        maps |= _maps_to_show(found.feature_maps, wanted[start : start + _BATCH])
        if tiling is not None:
            seen = found.feature_maps * (kept[-1].scores > 0)[..., None, None]
            tiles += [picture_tiles(shares, tiling) for shares in seen]
        own = MapMoments.of(found.feature_maps)
        moments = own if moments is None else moments + own
    assert moments is not None  # a data set has at least one picture
    return _Passed(pictures, kept, maps, moments, tiles)


def _strongest(evaluation: Evaluation, indices: list[int]) -> list[list[int]]:
    """Of each filter its strongest pictures, by where they stand in `indices`."""
    position = {index: number for number, index in enumerate(indices)}
    tops = [[image.sample for image in measured.top_images[:NUM_TOP_IMAGES]] for measured in evaluation.filters]
    return [[position[sample] for sample in samples if sample in position] for samples in tops]


def _wanted_maps(top: list[list[int]], num_pictures: int) -> list[list[tuple[int, int]]]:
    """Of each picture the (filter, rank) whose map is shown on it."""
    wanted: list[list[tuple[int, int]]] = [[] for _ in range(num_pictures)]
    for filter_index, pictures in enumerate(top):
        for rank, number in enumerate(pictures):
            wanted[number].append((filter_index, rank))
    return wanted


class _Decoded(NamedTuple):
    """A sample's picture as `PartDataset` decodes it for a network that takes this size."""

    number: int  # in the data set
    sample: Sample
    picture: Image.Image
    annotated: tuple[int, int]  # (height, width) of the picture in whose pixels the annotations are


def _decoded(dataset: PartDataset, number: int, input_size: tuple[int, int]) -> _Decoded:
    sample = dataset.samples[number]
    return _Decoded(number, sample, *sample.load_reduced(input_size))


def _page_pictures(batch: list[_Decoded], predictions: list[tuple[int, ...]], side: int) -> list[PagePicture]:
    return [
        page_picture(decoded.number, decoded.sample, decoded.picture, decoded.annotated, answers, side)
        for decoded, answers in zip(batch, predictions, strict=True)
    ]


@dataclass(frozen=True)
class _Kept:
    """What is kept of every picture of a batch."""

    cells: Tensor  # [picture, filter]
    scores: Tensor  # [picture, filter]
    logits: Tensor  # [picture, class]
    predicted: list[Attributed]
    others: list[list[Attributed]]
    is_exact: bool


def _kept(model: nn.Module, mask: PartMask, found: Attribution, images: Tensor, pictures: list[PagePicture]) -> _Kept:
    cells, largest = mask.part_cells(found.feature_maps), found.logits.argmax(dim=1)
    return _Kept(
        cells=cells[..., 0] * found.feature_maps.shape[3] + cells[..., 1],
        scores=mask.peak_scores(found.feature_maps),
        logits=found.logits,
        predicted=_split(found, largest),
        others=_others(model, images, pictures, largest.tolist(), found.logits.shape[1]),
        is_exact=found.is_exact,
    )


def _others(
    model: nn.Module, images: Tensor, pictures: list[PagePicture], largest: list[int], num_classes: int
) -> list[list[Attributed]]:
    """The logits of the classes that a picture shows or is said to show, beside the largest; they pass the network
    again, a class of each picture at a time."""
    wanted = [
        sorted({*one.labels, *one.predictions} - {explained}) for one, explained in zip(pictures, largest, strict=True)
    ]
    found: list[list[Attributed]] = [[] for _ in pictures]
    for rank in range(max(map(len, wanted))):
        places = [place for place, classes in enumerate(wanted) if len(classes) > rank]
        labels = torch.tensor([wanted[place][rank] for place in places])
        again = attribute(model, images[places], F.one_hot(labels, num_classes))
        for place, split in zip(places, _split(again, labels), strict=True):
            found[place].append(split)
    return found


def _split(found: Attribution, labels: Tensor) -> list[Attributed]:
    around = [None] * len(labels) if found.surroundings is None else found.surroundings.tolist()
    rows = zip(labels.tolist(), found.explained, found.bias, around, found.remainder, found.shares, strict=True)
    return [Attributed(label, float(e), float(b), float(r), shares, s) for label, e, b, s, r, shares in rows]


def _maps_to_show(maps: Tensor, wanted: list[list[tuple[int, int]]]) -> dict[tuple[int, int], Tensor]:
    """(filter, rank) → map; copies, which do not hold the batch's maps in memory."""
    return {
        (filter_index, rank): maps[number, filter_index].clone()
        for number, of_picture in enumerate(wanted)
        for filter_index, rank in of_picture
    }


def _stacked(maps: dict[tuple[int, int], Tensor], num_filters: int, map_size: tuple[int, int]) -> Tensor:
    stacked = torch.zeros(num_filters, NUM_TOP_IMAGES, *map_size)
    for (filter_index, rank), feature_map in maps.items():
        stacked[filter_index, rank] = feature_map
    return stacked


def _likeness(moments: MapMoments) -> Tensor:  # [filter, filter]
    correlation = moments.correlation
    is_silent = correlation.diagonal() == 0
    return correlation.masked_fill(is_silent[:, None] | is_silent, math.nan).float()


def _slopes(mask: PartMask) -> Tensor:  # [filter]
    slope = mask.template_slope
    return slope.detach().float().cpu() if isinstance(slope, Tensor) else torch.full((mask.num_filters,), slope)
