"""What others do, on the maps that our filters stand on: each is put in place of the filters of a network of ours,
which is then measured as any other.

Each takes the trunk's projected maps of the training pictures, the same views in the same order, and puts scores of its
own into a network whose filters compete. `RIVALS` says in a sentence what each one is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from nmf import HARD, NonNegativeScores, both_signs, factorised
from pdisconet import EQUIVARIANCE_WEIGHT, FILTER_LOSS_WEIGHT, put_pdisconet_on
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.app.experiments.detector import target_cells
from partcnn.app.experiments.linear_classifier import train_linear_classifier
from partcnn.app.runs import RunSettings, built_network, dataset_of, recipe_of
from partcnn.datasets import PartDataset
from partcnn.evaluation import Evaluation, evaluate
from partcnn.foundation.disk_cache import FeatureCache, default_cache
from partcnn.metrics.measures import MEASURES
from partcnn.model.competing_mask import CompetingMask
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.mask import top_mask
from partcnn.model.network import conversion_of, layer_field
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.objectives.object_cells import eroded
from partcnn.training.batches import EpochBatches
from partcnn.training.cached_features import picture_features, trunk_features
from partcnn.training.competing_start import start_competing
from partcnn.training.features import FeatureViews
from partcnn.training.fitting import fit
from partcnn.training.recipe import Recipe
from partcnn.training.views import PictureViews

DETECTOR, CLASSIFIER = "detector", "linear"
_WITHIN = 0.5  # of the object: cells whose share of it is larger
_MOST_CELLS = 20_000
_DETECTOR_LR, _DETECTOR_WEIGHT_DECAY = 0.1, 1e-2
_BATCH = 64  # pictures whose maps are averaged at a time
_MIRRORED = -100  # views that `cross_entropy` leaves out


@dataclass(frozen=True)
class Task:
    """What a rival learns from."""

    model: CompetingNetwork  # its trunk and projection are set
    dataset: PartDataset  # the training pictures
    features: FeatureViews
    recipe: Recipe
    seed: int
    cache: FeatureCache | None

    def object_share(self) -> Tensor:  # [image, row, col]
        """How far each cell of the training pictures is the object's; sets the clustered start of the model too."""
        background = self.dataset.background
        return start_competing(
            self.model, self.features.maps[:, 0], self.features.labels, background=background, seed=self.seed
        )


@dataclass(frozen=True)
class Rival:
    """One row.

    Args:
        says: what it is, for the page.
        fitted: puts it into the model of a task.
        unmeasured: measures that mean nothing of it.
    """

    says: str
    fitted: Callable[[Task], None]
    unmeasured: tuple[str, ...] = ("accuracy",)


def rival_evaluation(settings: RunSettings, name: str) -> Evaluation:
    """The figures of a rival, on the pictures kept out.

    Args:
        settings: of the run of a network whose filters compete: the data, the trunk, the filters, the recipe.
        name: one of `RIVALS`. "detector" has as many filters as parts are annotated.
    """
    task = task_of(settings, name)
    torch.manual_seed(settings.seed)
    RIVALS[name].fitted(task)
    known = partial(picture_features, task.model, cache=task.cache, num_workers=settings.workers)
    return evaluate(task.model, task.dataset.with_split("test"), features=known)


def task_of(settings: RunSettings, name: str) -> Task:
    """The training pictures, their maps, and a network for the rival."""
    dataset = dataset_of(settings)
    if name == DETECTOR:
        settings = replace(settings, network=replace(settings.network, filters=len(dataset.parts)))
    recipe = recipe_of(settings).resolved(len(dataset))
    model, _ = built_network(settings, dataset, recipe)
    assert isinstance(model, CompetingNetwork)
    views = PictureViews(
        dataset,
        conversion_of(model).preprocessing,
        num_views=recipe.num_views,
        min_crop_frac=recipe.min_crop_frac,
        seed=settings.seed,
    )
    cache = default_cache() if settings.cache else None
    features = trunk_features(model, views, num_workers=settings.workers, cache=cache, keeps_whole=True)
    return Task(model, dataset, features, recipe, settings.seed, cache)


def cluster(task: Task) -> None:
    """The start of our filters, and no more: a cell is its nearest cluster's, or the rest's."""
    task.object_share()
    layer = task.model.layer_of_parts
    layer.scores = prototypes = layer.scores.prototypes
    for values in prototypes.parameters():
        values.data.mul_(HARD)


def factorise(task: Task) -> None:
    """K components of the object's cells, and the mean of all other cells as one more."""
    share = task.object_share()
    whole = task.features.maps[:, 0][:].permute(0, 2, 3, 1)
    generator = torch.Generator().manual_seed(task.seed)
    layer, is_inside = task.model.layer_of_parts, eroded(share) > _WITHIN
    if is_inside.sum() < layer.mask.num_filters:  # objects of a cell or two, as where our filters start
        is_inside = share > 0
    inside, outside = (both_signs(_drawn(whole[is_meant], generator)) for is_meant in (is_inside, share <= _WITHIN))
    components = factorised(inside, layer.mask.num_filters, generator)
    layer.scores = NonNegativeScores(torch.cat([components, outside.mean(dim=0)[None]]))


def _drawn(cells: Tensor, generator: torch.Generator) -> Tensor:  # [cell, channel], at most so many
    return cells[torch.randperm(len(cells), generator=generator)[:_MOST_CELLS]].float()


def train_pdisconet(task: Task) -> None:
    """In our loop: the same views, batches, epochs and optimiser."""
    put_pdisconet_on(task.model)
    recipe = replace(task.recipe, loss_weight=FILTER_LOSS_WEIGHT, equivariance=EQUIVARIANCE_WEIGHT, head_epochs=0)
    conversion_of(task.model).is_trained = True  # its projection is set, and it has no start
    history = fit(task.model, task.dataset, recipe, seed=task.seed, features=task.features, is_progress_shown=False)
    if history.is_interrupted:
        raise KeyboardInterrupt


class DetectorMask(CompetingMask):
    """Each filter's map is where its part is, as a distribution over cells and "absent", whatever the others say."""

    def compete(self, scores: Tensor, features: Tensor) -> Tensor:
        """As the softmax of `with_absent`, by sums over cells, through which receptive fields are traced."""
        self._features = features
        largest = scores.amax(dim=(2, 3), keepdim=True).clamp(min=0)
        weights = (scores - largest).exp()
        recorded: Tensor = self(weights / (weights.sum(dim=(2, 3), keepdim=True) + (-largest).exp()))
        return recorded

    def peak_scores(self, feature_maps: Tensor) -> Tensor:
        """How sure it is that the part is there; 0 where it is rather absent."""
        present = feature_maps.sum(dim=(2, 3))
        return present.where(present > 0.5, 0)

    def rest_of(self, feature_maps: Tensor) -> None:
        """Cells are not shared out."""


def with_absent(scores: Tensor) -> Tensor:  # [image, part, row, col] → [image, part, cell + 1]
    """The last is that the part is not there: 0, for every part's scores have a bias."""
    return F.pad(scores.flatten(2), (0, 1))


def detect(task: Task) -> None:
    """A 1 × 1 layer, trained with the landmarks of the training pictures: cross-entropy over cells and "absent".

    Views that are mirrored are left out: a left wing would be a right one.
    """
    model, layer = task.model, task.model.layer_of_parts
    before, num_channels = layer.mask, layer.scores.hidden.in_channels
    layer.mask = DetectorMask(before.num_filters, before.num_classes, num_channels, background=before.background)
    layer.scores = detector = nn.Conv2d(num_channels, before.num_filters, 1)
    field, landmarks = layer_field(model, top_mask(model)[0]), _landmarks(task)
    batches = EpochBatches(task.features, batch_size=task.recipe.batch_size, seed=task.seed)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=_DETECTOR_LR, weight_decay=_DETECTOR_WEIGHT_DECAY)
    num_steps = task.recipe.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _DETECTOR_LR, total_steps=max(2, num_steps))
    for _ in range(task.recipe.epochs):
        for maps, frames, _, images in batches:
            scores = with_absent(detector(maps.flatten(0, 1)))
            targets = part_targets(frames, landmarks[images], field).flatten(0, 1)
            loss = F.cross_entropy(scores.transpose(1, 2), targets, ignore_index=_MIRRORED)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def part_targets(
    frames: Tensor,  # [image, view, 2, 3]
    landmarks: Tensor,  # [image, part, 2]
    field: ReceptiveField,
) -> Tensor:  # [image, view, part]
    """The row-major number of the cell that holds each part; behind the last one: absent; −100 in mirrored views."""
    num_cells = field.map_size[0] * field.map_size[1]
    cells = torch.stack([target_cells(frames, points, field) for points in landmarks.unbind(dim=1)], dim=2)
    is_mirrored = frames[..., 0, 0, None] < 0
    return torch.where(cells < 0, num_cells, cells).masked_fill(is_mirrored, _MIRRORED)


def _landmarks(task: Task) -> Tensor:  # [image, part, 2]
    """(x, y) of the training pictures' parts in fractions of the picture's sides, nan where absent."""
    sizes = picture_features(task.model, task.dataset, cache=task.cache).sizes
    points = torch.stack([task.dataset.landmarks(index) for index in range(len(task.dataset))])
    return points / sizes.flip(-1)[:, None]


class MeanHead(nn.Module):
    """A linear classifier of the features' means over the map, whatever the shares."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, shares: Tensor, features: Tensor) -> Tensor:  # as of `SumOfParts`
        logits: Tensor = self.linear(features.mean(dim=(2, 3)))
        return logits

    def contributions(self, shares: Tensor, features: Tensor) -> Tensor:  # as of `SumOfParts`
        held = torch.cat([shares, 1 - shares.sum(dim=1, keepdim=True)], dim=1)
        means = torch.einsum("ikhw,idhw->ikd", held, features) / held[0, 0].numel()
        return torch.einsum("ikd,cd->ick", means, self.linear.weight)


def classify(task: Task) -> None:
    """Learned from whole pictures, on the same maps."""
    whole = task.features.maps[:, 0][:]
    means = torch.cat([maps.float().mean(dim=(2, 3)) for maps in whole.split(_BATCH)])
    linear = train_linear_classifier(means, task.features.labels, len(task.dataset.classes))
    task.model.head = MeanHead(linear.to(means))  # type: ignore[assignment]


RIVALS = {
    "k-means": Rival("clusters of the object's cells, where our filters start, without training", cluster),
    "NMF": Rival(
        "deep feature factorisation (Collins et al., 2018): components of the object's cells, each map and its "
        "negative after a ReLU, and the mean of other cells as one more; without training",
        factorise,
    ),
    "PDiscoNet": Rival(
        "its losses with the published weights (van der Klis et al., 2023), on a 1 × 1 layer and prototypes",
        train_pdisconet,
        unmeasured=(),
    ),
    DETECTOR: Rival(
        "a bound and no rival: a 1 × 1 layer trained with the landmarks, one filter for each annotated part",
        detect,
        unmeasured=("accuracy", "nmi", "ari"),
    ),
    CLASSIFIER: Rival(
        "no filters: a new linear classifier on the means of the same maps, for its accuracy",
        classify,
        unmeasured=tuple(name for name in MEASURES if name != "accuracy"),
    ),
}
