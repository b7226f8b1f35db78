"""The pictures of an intervention: a drawn animal, and all that is changed in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from PIL import Image

from partcnn.app.experiments.intervention_scores import Parts
from partcnn.datasets.drawn.dataset import DrawnSample
from partcnn.datasets.drawn.redrawing import Change, PosedAnimal, Redrawing

NUM_BACKGROUNDS = 3
_FIRST_BACKGROUND = 500_000  # seeds that no data set of the demonstration's size draws


@dataclass(frozen=True)
class SwappedPart:
    """A picture with a part of another animal in it.

    Args:
        part: that is swapped.
        kind: of the other animal.
        whole, without_part, without_rest: the hybrid; without the swapped part; without all others that are to be seen.
        rest: these others.
    """

    part: str
    kind: str
    whole: Redrawing
    without_part: Image.Image
    without_rest: Image.Image
    rest: Parts


@dataclass(frozen=True)
class RedrawnPicture:
    """A drawn animal, and all that is changed in it, a thing at a time.

    Args:
        kind: of animal.
        whole: as the data set has it.
        drawn: the parts that are drawn → the picture, of all sets of the parts of which something is to be seen.
        elsewhere: before other backgrounds.
        swapped: None where the part is hidden once it is another's, or no other animal is asked for.
    """

    kind: str
    whole: Redrawing
    drawn: dict[Parts, Image.Image]
    elsewhere: list[Image.Image]
    swapped: SwappedPart | None


def redrawn_pictures(
    samples: Sequence[DrawnSample], others: Sequence[DrawnSample], *, seed: int
) -> Iterator[RedrawnPicture]:
    """Each sample with its changes, one at a time.

    Args:
        samples: of animals.
        others: of animals, whose parts may be drawn in; none of them: nothing is swapped.
        seed: chooses, for each picture, the swapped part, the other animal and the other backgrounds.
    """
    for sample in samples:
        rng = np.random.default_rng([seed, sample.index, *sample.kind.encode()])
        animal = PosedAnimal(sample.kind, sample.index)
        whole = animal.drawn()
        parts = frozenset(whole.shown)
        sets = [frozenset(chosen) for size in range(len(parts) + 1) for chosen in combinations(sorted(parts), size)]
        drawn = {kept: animal.drawn(Change(without=parts - kept)).image for kept in sets}
        backgrounds = rng.integers(_FIRST_BACKGROUND, 2 * _FIRST_BACKGROUND, NUM_BACKGROUNDS).tolist()
        elsewhere = [animal.drawn(Change(background=number)).image for number in backgrounds]
        candidates = [other for other in others if other.kind != sample.kind]
        swapped = _swapped(animal, parts, candidates, rng) if candidates and len(parts) > 1 else None
        yield RedrawnPicture(sample.kind, whole, drawn, elsewhere, swapped)


def _swapped(
    animal: PosedAnimal, parts: Parts, others: Sequence[DrawnSample], rng: np.random.Generator
) -> SwappedPart | None:
    part, other = sorted(parts)[int(rng.integers(len(parts)))], others[int(rng.integers(len(others)))]
    foreign = {part: (other.kind, other.index)}
    whole = animal.drawn(Change(swapped=foreign))
    if part not in whole.shown:
        return None
    without_part = animal.drawn(Change(without=frozenset({part}))).image
    without_rest = animal.drawn(Change(without=parts - {part}, swapped=foreign)).image
    return SwappedPart(part, other.kind, whole, without_part, without_rest, parts - {part})
