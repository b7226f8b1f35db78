"""Whether the logit rests on what an explanation names: insertion and deletion (RISE, Petsiuk, Das & Saenko 2018).

The cells of a grid over the input are put in the order of an explanation of the predicted class. Deletion hides them in
that order, insertion begins with all hidden and shows them in that order; L(s) is the class's logit with a share s of
the cells hidden, or shown:

    area = ∫₀¹ L(s) ds                                     by trapezoids; a mean logit
    normalised = mean(area − L₀) / mean(L₁ − L₀)           means over pictures; L₀ all hidden, L₁ the whole picture

A good explanation has a large area of insertion and a small one of deletion.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.datasets.choice import chosen_objects
from partcnn.evaluation.faithfulness_result import Area, Curves, Faithfulness, OrderAreas
from partcnn.evaluation.hidden_cells import blurred, cell_means, grid_of, shown_cells, strongest_first, with_hidden
from partcnn.foundation.errors import ConfigError, DataError, ShapeError
from partcnn.metrics.significance import bootstrap_intervals
from partcnn.model.class_names import with_classes_of
from partcnn.model.network import conversion_of
from partcnn.networks.probing.probe import evaluation_mode

RANDOM = "random"
NUM_IMAGES = 32
LEAST_GAP = 0.1  # of the mean L₁ − L₀, a logit's units: below it nothing is normalised
CONFIDENCE = 0.95
_NUM_RANDOM = 4

# A network, images [image, channel, row, col], classes [image] → what each pixel has of the logit [image, row, col].
PixelExplainer = Callable[[nn.Module, Tensor, Tensor], Tensor]


def measure_faithfulness(
    model: nn.Module,
    dataset: PartDataset,
    explainers: Mapping[str, PixelExplainer],
    *,
    num_images: int = NUM_IMAGES,
    batch_size: int = 32,
    num_workers: int = 0,
    left_out: Mapping[str, str] | None = None,
) -> Faithfulness:
    """Insertion and deletion of each explanation, and of random orders, on some pictures of objects.

    A picture takes 2 + 26 passes of the network for each explanation and 52 for the random orders, whose every view
    serves an order's insertion and the reverse order's deletion.

    Args:
        model: made by `partcnn.convert`; left in the mode it was in, and in evaluation mode for explainers.
        dataset: the pictures to choose from, see `partcnn.datasets.choice`: the same at each call.
        explainers: by name; the first is held against the others. Cells are ordered by the mean over their pixels,
            those of equal mean at random.
        num_images: at most so many pictures.
        batch_size: views of a picture that pass the network together.
        num_workers: processes that decode pictures.
        left_out: explanations that are not measured, and why; kept in the result.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        ConfigError: no explainer, one that is called `RANDOM`, or a number below 1.
        DataError: the data set has other classes than the model, or no picture of an object.
        ShapeError: an explainer gives something else than a number for each pixel.
    """
    if not explainers or RANDOM in explainers:
        raise ConfigError(f"explainers: expected at least one, none of them named {RANDOM!r}, got {list(explainers)}")
    for name, number in (("num_images", num_images), ("batch_size", batch_size)):
        if number < 1:
            raise ConfigError(f"{name}: expected at least 1, got {number}")
    preprocessing = conversion_of(model).preprocessing
    check_dataset(dataset)
    dataset = with_classes_of(model, dataset)
    chosen = chosen_objects(dataset, num_images)
    if not chosen:
        raise DataError("dataset: expected pictures of an object to explain, got none; choose another split")
    chosen.sort(key=lambda number: dataset.samples[number].labels)  # stable: within a class by the hash
    pictures = dataset.with_samples([dataset.samples[number] for number in chosen])
    loaded = pictures.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
    passes = _Passes(model, explainers, preprocessing.input_size, batch_size)
    draws = torch.Generator().manual_seed(0)
    loader = DataLoader(loaded, batch_size=1, num_workers=num_workers)
    with evaluation_mode(model):
        seen = [passes.of_picture(batch.image, draws) for batch in loader]
    labels = torch.zeros(len(chosen), dtype=torch.int64) if dataset.is_multilabel else pictures.labels()
    return _result(seen, labels, passes, dict(left_out or {}))


class _Passes:
    """The network over views of pictures.

    Args:
        model, explainers, batch_size: as of `measure_faithfulness`.
        input_size: (height, width) in pixels.
    """

    def __init__(
        self, model: nn.Module, explainers: Mapping[str, PixelExplainer], input_size: tuple[int, int], batch_size: int
    ) -> None:
        self.model, self.explainers, self.batch_size = model, explainers, batch_size
        self.input_size, self.grid = input_size, grid_of(input_size)
        self.steps, self.num_cells = self.grid[0], self.grid[0] * self.grid[1]  # a step hides as many as a row has

    def of_picture(self, image: Tensor, draws: torch.Generator) -> dict[str, Tensor]:
        """Of one picture [1, channel, row, col]: by order the logits [insertion or deletion, 0 … steps]."""
        image = image.to(next(self.model.parameters()))
        hidden = blurred(image)
        with torch.no_grad():  # an inference tensor would be of no use to a gradient
            predicted = self.model(image).argmax(dim=1)
        drawn = torch.rand(1 + _NUM_RANDOM, self.num_cells, generator=draws).argsort(dim=1)
        told = torch.cat([strongest_first(self._cells(name, image, predicted), drawn[:1]) for name in self.explainers])
        first, random = shown_cells(told, self.steps), shown_cells(drawn[1:], self.steps)
        ends = torch.tensor([[False], [True]]).expand(2, self.num_cells)
        views = torch.cat([ends, first.flatten(0, 1), ~first.flatten(0, 1), random.flatten(0, 1)])
        logits = self._logits(image[0], hidden[0], views, int(predicted))
        none, whole = logits[:1], logits[1:2]
        found = logits[2:].view(-1, self.steps - 1)  # insertion of each explanation, deletion of each, random orders
        insertion, deletion, other = found.split([len(told), len(told), _NUM_RANDOM])

        def curves(inserted: Tensor, deleted: Tensor) -> Tensor:
            return torch.stack([torch.cat([none, inserted, whole]), torch.cat([whole, deleted, none])])

        mean = other.mean(dim=0)  # the last k of an order are hidden where its reverse has the first k hidden
        by_order = {name: curves(insertion[k], deletion[k]) for k, name in enumerate(self.explainers)}
        return by_order | {RANDOM: curves(mean, mean.flip(0))}

    def _cells(self, name: str, image: Tensor, predicted: Tensor) -> Tensor:  # [1, cell]
        pixels = self.explainers[name](self.model, image, predicted).detach()
        if pixels.shape != (1, *self.input_size):
            raise ShapeError(f"{name}: expected a number for each pixel {[1, *self.input_size]}, got {[*pixels.shape]}")
        return cell_means(pixels)

    def _logits(self, image: Tensor, hidden: Tensor, views: Tensor, label: int) -> Tensor:  # [view] float64
        with torch.inference_mode():
            found = [self.model(with_hidden(image, hidden, shown))[:, label] for shown in views.split(self.batch_size)]
        return torch.cat(found).double().cpu()


def _result(seen: list[dict[str, Tensor]], labels: Tensor, passes: _Passes, left_out: dict[str, str]) -> Faithfulness:
    names = list(seen[0])
    curves = {name: torch.stack([one[name] for one in seen]) for name in names}  # [picture, 2, 0 … steps]
    shares = torch.linspace(0, 1, passes.steps + 1, dtype=torch.float64)
    areas = {name: torch.trapezoid(found, shares) for name, found in curves.items()}  # [picture, 2]
    first, *others = names
    none, whole = curves[first][:, 0, 0], curves[first][:, 0, -1]
    compared = {f"{first} − {other}": areas[first] - areas[other] for other in others}
    summed = _summed(areas, compared, none, whole - none, labels)
    return Faithfulness(
        areas={name: summed[name] for name in areas},
        differences={name: summed[name] for name in compared},
        curves={name: Curves(*found.mean(dim=0).tolist()) for name, found in curves.items()},
        shares=shares.tolist(),
        hidden_logit=none.mean().item(),
        whole_logit=whole.mean().item(),
        num_images=len(seen),
        num_reversed=int((whole <= none).sum()),
        grid=list(passes.grid),
        sigma_px=[side / cells for side, cells in zip(passes.input_size, passes.grid, strict=True)],
        num_random=_NUM_RANDOM,
        confidence=CONFIDENCE,
        left_out=left_out,
    )


def _summed(
    areas: dict[str, Tensor], differences: dict[str, Tensor], none: Tensor, gaps: Tensor, labels: Tensor
) -> dict[str, OrderAreas]:
    """Means over pictures with intervals; pictures are drawn anew within each class."""
    over_hidden = [area - none[:, None] for area in areas.values()]
    logits = torch.cat([*areas.values(), *differences.values()], dim=1)  # [picture, 2 · row]
    to_scale = torch.cat([*over_hidden, *differences.values()], dim=1)
    every = torch.cat([logits, to_scale], dim=1)

    def means(*counts: Tensor) -> Tensor:  # of each class [resample, picture] → [figure, resample]
        drawn = torch.cat(counts, dim=1)
        drawn = drawn / drawn.sum(dim=1, keepdim=True)
        found, gap = drawn @ every, drawn @ gaps
        gap = gap.masked_fill(gap < LEAST_GAP, torch.nan)
        found[:, logits.shape[1] :] /= gap[:, None]
        return found.T

    sizes = labels.unique_consecutive(return_counts=True)[1].tolist()
    figures = means(*(torch.ones(1, size, dtype=torch.float64) for size in sizes))[:, 0].tolist()
    intervals = [list(one) for one in bootstrap_intervals(means, sizes, confidence=CONFIDENCE)]
    half = logits.shape[1]

    def area(column: int) -> Area:
        return Area(figures[column], intervals[column], figures[half + column], intervals[half + column])

    return {name: OrderAreas(area(2 * k), area(2 * k + 1)) for k, name in enumerate([*areas, *differences])}
