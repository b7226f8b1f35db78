"""The audit's figures in plain loops, from the equations at the head of `partcnn.evaluation.audit`."""

import math
from collections.abc import Sequence

Picture = Sequence[Sequence[float]]  # [class][term] t


def margin(picture: Picture, label: int, term: int) -> float:
    """d: what a term adds to a class, less the mean of what it adds to the others."""
    others = [row[term] for number, row in enumerate(picture) if number != label]
    return picture[label][term] - sum(others) / len(others)


def evidence(pictures: Sequence[Picture], labels: Sequence[int], label: int) -> list[float]:
    """Shares of the terms in what tells a class from the others that have pictures; nan where nothing does."""
    gaps = []
    for term in range(len(pictures[0][0])):
        means = {}
        for other in sorted(set(labels)):
            values = [margin(one, label, term) for one, own in zip(pictures, labels, strict=True) if own == other]
            means[other] = sum(values) / len(values)
        rest = [mean for other, mean in means.items() if other != label]
        gaps.append(means[label] - sum(rest) / len(rest))
    return [gap / sum(gaps) if sum(gaps) > 0 else math.nan for gap in gaps]


def logits_without_surroundings(
    pictures: Sequence[Picture], labels: Sequence[int], bias: Sequence[float]
) -> list[list[float]]:
    """The last term put to its mean over classes, each class's pictures having one voice."""
    usual = []
    for number in range(len(bias)):
        by_class = []
        for label in sorted(set(labels)):
            values = [one[number][-1] for one, own in zip(pictures, labels, strict=True) if own == label]
            by_class.append(sum(values) / len(values))
        usual.append(sum(by_class) / len(by_class))
    return [[bias[c] + sum(one[c][:-1]) + usual[c] for c in range(len(bias))] for one in pictures]
