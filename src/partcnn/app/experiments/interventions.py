"""Explanations put to the test by drawing again what they explain: with a part left out, swapped, or elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from partcnn.app.experiments.intervention_figures import (
    OfPicture,
    Values,
    explanation_row,
    network_row,
    picture_scores,
)
from partcnn.app.experiments.intervention_scores import (
    BACKGROUND,
    Answers,
    Hybrid,
    HybridImportance,
    Importance,
    background_independence,
)
from partcnn.app.experiments.redrawn_pictures import NUM_BACKGROUNDS, RedrawnPicture, redrawn_pictures
from partcnn.app.runs.opening import Run, open_run
from partcnn.datasets.drawn.dataset import DrawnSample
from partcnn.datasets.drawn.figures import PARTS
from partcnn.datasets.drawn.redrawing import Redrawing
from partcnn.explanation.spatial import EXPLAINERS, Spread, check_captum
from partcnn.foundation.errors import ConfigError
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.networks.probing.probe import evaluation_mode

AREA, CHANCE = "size of the part", "chance"
METHODS = (*EXPLAINERS, AREA, CHANCE)
_DILATION = 2 / 256  # of the input's side, that a part's region is widened by, as FunnyBirds' 5 × 5 pixels at 256
_BATCH = 32


@dataclass(frozen=True)
class ExplainedNetwork:
    """A network of a run on drawn animals.

    Args:
        run: of it.
        network: with an additive head.
        name: "part filters" or "plain".
    """

    run: Run
    network: PartNetwork
    name: str

    @property
    def classes(self) -> list[str]:
        return conversion_of(self.network).classes

    def inputs(self, pictures: Iterable[Image.Image]) -> Tensor:  # [image, 3, row, col]
        preprocessing = conversion_of(self.network).preprocessing
        return torch.stack([preprocessing(picture) for picture in pictures])

    def logits(self, pictures: Iterable[Image.Image]) -> Tensor:  # [image, class]
        with evaluation_mode(self.network), torch.inference_mode():
            return torch.cat([self.network(batch).float() for batch in self.inputs(pictures).split(_BATCH)])


def explained_networks(directories: Sequence[Path]) -> list[ExplainedNetwork]:
    """The networks of these runs.

    Raises:
        RunError: a directory is no finished run.
        ConfigError: there is none; or one was not trained on drawn animals as they are, has no additive head, or was
            trained on other pictures than the first.
    """
    if not directories:
        raise ConfigError("runs: expected directories of partcnn train on drawn animals, or --train COUNT; got none")
    tested = [_tested(open_run(directory)) for directory in directories]
    first = tested[0].run.settings
    for one in tested:
        settings = one.run.settings
        if (settings.data, settings.category) != (first.data, first.category):
            raise ConfigError(
                f"runs: expected all of {first.data} and category {first.category}, got {one.run.directory} of "
                f"{settings.data} and {settings.category}; measure it by itself"
            )
    return tested


def _tested(run: Run) -> ExplainedNetwork:
    data = run.settings.data
    if data.partition(":")[0] != "demo":
        raise ConfigError(
            f"runs: expected one trained on drawn animals (--data demo:), which can be drawn again without a part; got "
            f"{run.directory}, trained on {data}"
        )
    if run.settings.crop is not None:
        raise ConfigError(f"runs: expected one of whole pictures, got {run.directory}, with crop={run.settings.crop}")
    if not isinstance(run.model, PartNetwork):
        raise ConfigError(f"runs: expected one with head=additive, whose logits are sums; got {run.directory}")
    return ExplainedNetwork(run, run.model, "plain" if run.settings.plain else "part filters")


def kept_out_pictures(run: Run, per_animal: int) -> list[DrawnSample]:
    """The first so many of each animal among the drawings kept out of the run.

    Raises:
        ConfigError: fewer than one is asked for.
    """
    if per_animal < 1:
        raise ConfigError(f"pictures: expected at least 1 of each animal, got {per_animal}")
    of_kinds: dict[str, list[DrawnSample]] = {}
    dataset = run.dataset("test")
    for sample in dataset.samples:
        if isinstance(sample, DrawnSample) and sample.label != dataset.background:
            of_kinds.setdefault(sample.kind, []).append(sample)
    return [sample for samples in of_kinds.values() for sample in samples[:per_animal]]


def measured(
    tested: Sequence[ExplainedNetwork], samples: Sequence[DrawnSample], *, seed: int = 0, is_progress_shown: bool = True
) -> dict[str, Any]:
    """What the explanations of these networks are worth on these pictures, each of which is drawn once for all of them.

    Args:
        tested: of `explained_networks`.
        samples: kept out of all of them.
        seed: of the changes, of chance's explanation and of the intervals.

    Returns:
        `networks` and `explanations`, a row each, for JSON; runs of one name are taken together, picture by picture.
    """
    has_others = len(tested[0].classes) > 2 or tested[0].run.settings.category is None
    pictures = redrawn_pictures(samples, samples if has_others else (), seed=seed)
    rows: list[list[OfPicture]] = [[] for _ in tested]
    for picture in track(pictures, "pictures", len(samples), transient=True, disable=not is_progress_shown):
        for one, found in zip(tested, rows, strict=True):
            found.append(_of_picture(one, picture, np.random.default_rng([seed, len(found)])))
    names = list(dict.fromkeys(one.name for one in tested))
    of_names = {name: [found for one, found in zip(tested, rows, strict=True) if one.name == name] for name in names}
    return {
        "networks": [network_row(name, runs, seed) for name, runs in of_names.items()],
        "explanations": [
            explanation_row(name, method, runs, seed) for name, runs in of_names.items() for method in METHODS
        ],
    }


def _of_picture(one: ExplainedNetwork, picture: RedrawnPicture, rng: np.random.Generator) -> OfPicture:
    answers = _answers(one, picture)
    parts = answers.parts
    falls = {name: answers.fall(name) for name in (*parts, BACKGROUND)}
    stays = float((answers.elsewhere.argmax(dim=1) == answers.label).double().mean())
    is_right = answers.is_right(parts)
    scores: dict[str, Values] = {}
    if is_right:
        known = dict(zip(METHODS, _importances(one, picture, answers, rng), strict=True))
        scores = {method: picture_scores(answers, *importance) for method, importance in known.items()}
    independence = background_independence(answers)
    return OfPicture(is_right, answers.logit, falls, independence, stays, answers.is_right(frozenset()), scores)


def _answers(one: ExplainedNetwork, picture: RedrawnPicture) -> Answers:
    swapped = picture.swapped
    more = [] if swapped is None else [swapped.whole.image, swapped.without_part, swapped.without_rest]
    logits = one.logits([*picture.drawn.values(), *picture.elsewhere, *more])
    drawn, elsewhere, hybrid = logits.split([len(picture.drawn), len(picture.elsewhere), len(more)])
    label = one.classes.index(picture.kind)
    known = None
    if swapped is not None:
        known = Hybrid(swapped.part, swapped.rest, one.classes.index(swapped.kind), *hybrid.unbind())
    return Answers(label, dict(zip(picture.drawn, drawn.unbind(), strict=True)), elsewhere, known)


def _importances(
    one: ExplainedNetwork, picture: RedrawnPicture, answers: Answers, rng: np.random.Generator
) -> Iterable[tuple[Importance, HybridImportance | None]]:
    """By each of `METHODS`."""
    hybrid = answers.hybrid
    if hybrid is None or picture.swapped is None:
        drawings, asked = [picture.whole], [(0, answers.label)]
    else:
        drawings = [picture.whole, picture.swapped.whole]
        asked = [(0, answers.label), (1, answers.label), (1, hybrid.label), (0, hybrid.label)]
    inputs = one.inputs(drawing.image for drawing in drawings)
    regions = [part_regions(drawing, (inputs.shape[2], inputs.shape[3])) for drawing in drawings]
    images = inputs[[which for which, _ in asked]]
    classes = torch.tensor([label for _, label in asked])

    def read(spread: Spread) -> tuple[Importance, HybridImportance | None]:
        found = [
            importance_of(spread.pixels[row], float(spread.elsewhere[row]), regions[which], answers.parts)
            for row, (which, _) in enumerate(asked)
        ]
        if hybrid is None:
            return found[0], None
        return found[0], HybridImportance(found[1].of, found[2].of, found[3].of[hybrid.part])

    for explainer in EXPLAINERS.values():
        yield read(explainer(one.network, images, classes))
    nothing = images.new_zeros(len(images))
    yield read(Spread(torch.ones_like(images[:, 0]), nothing))

    def chosen() -> dict[str, float]:
        return {name: float(rng.random()) for name in (*sorted(answers.parts), BACKGROUND)}

    first = chosen()
    known = None if hybrid is None else HybridImportance(chosen(), chosen(), chosen()[hybrid.part])
    yield Importance(first, sum(first.values())), known


def part_regions(drawing: Redrawing, size: tuple[int, int]) -> Tensor:  # bool [part, row, col]
    """Where each of `PARTS` is to be seen in a network's input of this size, widened a little as in FunnyBirds."""
    masks = torch.from_numpy(np.stack([drawing.masks[part] for part in PARTS])).float()[:, None]
    radius = max(1, round(_DILATION * min(size)))
    resized = F.interpolate(masks, size=size, mode="nearest-exact")
    return F.max_pool2d(resized, 2 * radius + 1, stride=1, padding=radius)[:, 0] > 0


def importance_of(pixels: Tensor, elsewhere: float, regions: Tensor, parts: Iterable[str]) -> Importance:
    """I(p) = Σ of the map within the region of p; the background's what lies in none, or nowhere; A = the sum of all.

    Args:
        pixels: [row, col].
        elsewhere: what the explanation hands out at no place.
        regions: bool [part, row, col], of `PARTS`.
        parts: that are asked for.
    """
    values = pixels.double()
    sums = dict(zip(PARTS, (regions * values).sum(dim=(1, 2)).tolist(), strict=True))
    total = float(values.sum()) + elsewhere
    outside = float(values[~regions.any(dim=0)].sum()) + elsewhere
    return Importance({part: sums[part] for part in parts} | {BACKGROUND: outside}, total)


def interventions(
    directories: Sequence[Path], *, per_animal: int = 30, seed: int = 0, is_progress_shown: bool = True
) -> dict[str, Any]:
    """Open the runs, draw their pictures again, and measure.

    Args:
        directories: of runs on drawn animals, of the same pictures.
        per_animal: pictures kept out of training.
        seed: of what is changed in them, of chance's explanation, and of the intervals.
        is_progress_shown: a bar on the terminal.

    Returns:
        What the page is made of, for JSON: `about`, `networks` and `explanations`, see `measured`.

    Raises:
        RunError, ConfigError: as of `explained_networks` and `kept_out_pictures`.
    """
    check_captum()
    tested = explained_networks(directories)
    samples = kept_out_pictures(tested[0].run, per_animal)
    first = tested[0].run.settings
    about = {
        "data": first.data,
        "category": first.category,
        "classes": tested[0].classes,
        "backbone": first.backbone,
        "pictures": len(samples),
        "other_backgrounds": NUM_BACKGROUNDS,
        "seed": seed,
        "run_seeds": {
            name: [one.run.settings.seed for one in tested if one.name == name]
            for name in dict.fromkeys(one.name for one in tested)
        },
    }
    return {"about": about} | measured(tested, samples, seed=seed, is_progress_shown=is_progress_shown)
