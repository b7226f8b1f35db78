"""What an explanation is worth by what happens when parts of the drawn animal are changed.

After FunnyBirds (Hesse, Schaub-Meyer & Roth, ICCV 2023), whose birds are put together from parts as our animals
are. z(S) are the logits of the picture with the parts S alone drawn, z = z(P) those of the whole animal, y its class;
I(p) is the importance of a part for z_y by the explanation, A the sum of all that it hands out, and

    P_t = { p : I(p) > t · A }    the important parts at a threshold t.

As there, all scores lie in 0–1, more is better, and t is the one of 80 from 0.01 to 0.50 with the best completeness.
What is not as there: scores are of pictures that the network gets right, so that one class is explained throughout; P
are the parts of which something is to be seen; and what is said at each function.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import rankdata
from torch import Tensor

THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.01, 0.5, 80).tolist())
BACKGROUND = "background"  # all that is no part, where it is asked for as if it were one
SMALL_FALL = 0.05  # of a logit, as a share of its magnitude: less than that is none
Parts = frozenset[str]


@dataclass(frozen=True)
class Hybrid:
    """The answers to a picture in which one part is another animal's.

    Args:
        part: that is swapped.
        rest: the other parts to be seen.
        label: class of the other animal.
        logits: [class] of the hybrid.
        without_part, without_rest: [class] of the hybrid without the swapped part, and without all others.
    """

    part: str
    rest: Parts
    label: int
    logits: Tensor
    without_part: Tensor
    without_rest: Tensor


@dataclass(frozen=True)
class Answers:
    """What a network answers to one picture and to what was changed in it.

    Args:
        label: y.
        drawn: S → z(S) [class], for every set of the parts P that are to be seen in the picture.
        elsewhere: [background, class] of the whole animal before other backgrounds.
        hybrid: None where no other animal is among the classes.
    """

    label: int
    drawn: Mapping[Parts, Tensor]
    elsewhere: Tensor
    hybrid: Hybrid | None = None

    @cached_property
    def parts(self) -> Parts:
        """P."""
        return max(self.drawn, key=len)

    @cached_property
    def logit(self) -> float:
        """z_y."""
        return float(self.drawn[self.parts][self.label])

    def is_right(self, drawn: Parts) -> bool:
        """Whether argmax z(S) = y."""
        return drawn in self._right

    @cached_property
    def _right(self) -> frozenset[Parts]:
        return frozenset(drawn for drawn, logits in self.drawn.items() if int(logits.argmax()) == self.label)

    def fall(self, part: str) -> float:
        """z_y − z_y(P ∖ p); of the background the mean fall before other ones."""
        if part == BACKGROUND:
            return self.logit - float(self.elsewhere[:, self.label].mean())
        return self.logit - float(self.drawn[self.parts - {part}][self.label])


@dataclass(frozen=True)
class Importance:
    """What an explanation says of a picture's class.

    Args:
        of: part or `BACKGROUND` → I.
        total: A.
    """

    of: Mapping[str, float]
    total: float

    def important(self, threshold: float) -> Parts:
        """P_t, the background among them where it exceeds the threshold."""
        return frozenset(name for name, value in self.of.items() if value > threshold * self.total)


@dataclass(frozen=True)
class HybridImportance:
    """What an explanation says of a hybrid.

    Args:
        own, other: part → I for the class of the picture's animal, and for the other animal's.
        before: I of the swapped part for the other animal's class, in the picture as it was.
    """

    own: Mapping[str, float]
    other: Mapping[str, float]
    before: float


def sufficient_sets(answers: Answers) -> list[Parts]:
    """The smallest sets of parts that the network needs: argmax z(S) = y, and of no proper subset of S.

    [∅] where the network names the animal without any part, from the scenery and the shadow.

    FunnyBirds knows them by how it makes its classes. A drawn animal's part is its kind's alone: each would do by
    itself, and an explanation that names any would pass. So the network is asked.
    """
    right = [drawn for drawn in sorted(answers.drawn, key=len) if answers.is_right(drawn)]
    return [drawn for drawn in right if not any(smaller < drawn for smaller in right)]


def synthetic_data_check(important: Parts, sufficient: Collection[Parts]) -> float:
    """CSDC = max_S |S ∩ P_t| / |S| over the sufficient sets S; nan where the empty one suffices."""
    if not all(sufficient):
        return math.nan
    return max(len(needed & important) / len(needed) for needed in sufficient)


def preservation_check(answers: Answers, important: Parts) -> float:
    """PC = 1 if argmax z(P_t) = y, else 0: with the important parts alone the prediction stays."""
    return float(answers.is_right(answers.parts & important))


def deletion_check(answers: Answers, important: Parts) -> float:
    """DC = 1 if argmax z(P ∖ P_t) ≠ y, else 0: without the important parts the prediction changes."""
    return float(not answers.is_right(answers.parts - important))


def unimportant(answers: Answers) -> Parts:
    """U = { p : z_y − z_y(P ∖ p) < 0.05 |z_y| }, `BACKGROUND` among them by the mean over other backgrounds.

    FunnyBirds takes away each thing in the background; here the whole of it is another.
    """
    names = (*answers.parts, BACKGROUND)
    return frozenset(name for name in names if answers.fall(name) < SMALL_FALL * abs(answers.logit))


def distractibility(important: Parts, unimportant: Parts) -> float:
    """D = 1 − |U ∩ P_t| / |U|: what does not matter is not called important; nan where everything matters."""
    return 1 - len(important & unimportant) / len(unimportant) if unimportant else math.nan


def background_independence(answers: Answers) -> float:
    """BI = the share of other backgrounds b with z_y − z_y(b) < 0.05 |z_y|: of the network, not of an explanation."""
    falls = answers.logit - answers.elsewhere[:, answers.label].double()
    return float((falls < SMALL_FALL * abs(answers.logit)).double().mean())


def single_deletion(answers: Answers, importance: Importance) -> float:
    """SD = ½ + ½ ρ, ρ Spearman's rank correlation over p ∈ P of I(p) and z_y − z_y(P ∖ p).

    nan of fewer than two parts, or where one of both is the same for all.
    """
    parts = sorted(answers.parts)
    if len(parts) < 2:
        return math.nan
    ranks = [rankdata([one(part) for part in parts]) for one in (importance.of.__getitem__, answers.fall)]
    first, second = (rank - rank.mean() for rank in ranks)
    scale = math.sqrt(float(first @ first) * float(second @ second))
    return 0.5 + 0.5 * float(first @ second) / scale if scale else math.nan


def target_sensitivity(hybrid: Hybrid, importance: HybridImportance, own: int) -> float:
    """TS = ½ [ I_b(q) > I_y(q) ] + ½ [ I_y(R) > I_b(R) ], q the swapped part of class b, R the others.

    The explanation of each class lies on the parts of that class. As in FunnyBirds nan where it is not so of the
    network: z_b must fall more without q than without R, z_y more without R than without q. There the two classes
    share two parts each with the bird; here one is the animal's own, and one part another's.
    """
    part, rest = hybrid.without_part, hybrid.without_rest
    if not (part[hybrid.label] < rest[hybrid.label] and rest[own] < part[own]):
        return math.nan
    own_rest, other_rest = (sum(one[part] for part in hybrid.rest) for one in (importance.own, importance.other))
    is_at_part = importance.other[hybrid.part] > importance.own[hybrid.part]
    return (float(is_at_part) + float(own_rest > other_rest)) / 2


def target_rise(answers: Answers, importance: HybridImportance) -> float:
    """1 if I_b(q) is more with the other animal's part than with the animal's own was; ours.

    nan where z_b itself does not rise by the swap, or there is no hybrid.
    """
    hybrid = answers.hybrid
    if hybrid is None or hybrid.logits[hybrid.label] <= answers.drawn[answers.parts][hybrid.label]:
        return math.nan
    return float(importance.other[hybrid.part] > importance.before)
