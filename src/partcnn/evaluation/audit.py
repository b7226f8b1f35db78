"""Does a network look at the right thing? What its decisions are made of, part by part, and what the scene adds.

Where a logit is an exact sum, y_c = b_c + Σ_k t_ck over the filters k and the surroundings (what no filter holds), so
is the margin of a class c before the others, and the gap between classes:

    d_ck(i) = t_ck(i) − mean over c' ≠ c of t_c'k(i),
    E_ck = mean of d_ck over pictures of c − mean over the other classes of their pictures' mean,
    share_ck = E_ck / Σ_k E_ck.

The bias cancels, and so does what a term adds to every picture alike: E is what tells the class from the others. Shares
sum to 1; one below 0 speaks against the class. Of two classes a and b, E_k(a, b) is the same with t_ak − t_bk.

A picture is decided by its surroundings where another class wins once they are put to their mean over all classes:
y_c − s_c + mean s_c. Ours; held against the truth on drawn scenes in docs/results/audit.md.
"""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.datasets.doubles import told_doubles
from partcnn.evaluation.audit_result import (
    ALONE,
    MOST_PAIRED,
    SURROUNDINGS,
    Audit,
    ClassEvidence,
    DecidedPicture,
    MisleadingPart,
    Mistake,
    PairByOne,
)
from partcnn.evaluation.figures import mean
from partcnn.evaluation.terms import Terms, observed_terms
from partcnn.foundation.errors import DataError
from partcnn.model.class_names import with_classes_of
from partcnn.model.mask import top_mask
from partcnn.model.network import PictureFeatures, conversion_of

_LEAST_SHARE = 0.1  # of a class's evidence: of parts with less it is not asked on which other objects they speak
_MISLED = 0.25  # of the pictures of other classes, on which a part then speaks for this one
_NORMAL_95 = 1.96  # deviations


def audit(
    model: nn.Module,
    dataset: PartDataset,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    features: Callable[[PartDataset], PictureFeatures | None] | None = None,
) -> Audit:
    """Ask of every decision on some pictures what it is made of.

    Args:
        model: made by `partcnn.convert`, with a head that is a sum over filters; of filters that compete, the default,
            what no filter holds is the surroundings. It is left in the mode it was in.
        dataset: pictures that the model was not trained on; its classes are the model's by their names.
        batch_size, num_workers: of the pass.
        features: gives the trunk's maps of the pictures that are known already; no picture is then decoded.

    Returns:
        The audit. Memory grows by 4 bytes for a picture, class and filter; of many they lie in a temporary file.

    Raises:
        LayerError: the network was not made by `partcnn.convert`, or its head is no sum.
        DataError: the data set has other classes than the model.
    """
    conversion_of(model)
    check_dataset(dataset)
    dataset = with_classes_of(model, dataset)
    if dataset.is_multilabel:
        raise DataError(
            "dataset: expected one class a picture, got any number; an audit asks what tells a class from the others"
        )
    terms = observed_terms(model, dataset, batch_size=batch_size, num_workers=num_workers, features=features)
    return audit_of(terms, dataset, layer=top_mask(model)[0])


def audit_of(terms: Terms, dataset: PartDataset, *, layer: str = "") -> Audit:
    """As `audit`, where the terms are known."""
    present = terms.labels.unique().tolist()
    evidence = {dataset.classes[label]: _evidence(terms, label, present) for label in present}
    objects = [dataset.classes[label] for label in present if label != dataset.background]
    predictions = terms.logits.argmax(dim=1)
    decided, accuracy_without = list[DecidedPicture](), math.nan
    if terms.has_surroundings:
        without = terms.logits_without_surroundings.argmax(dim=1)
        accuracy_without = (without == terms.labels).float().mean().item()
        decided = _decided(dataset, predictions, without, terms.labels)
    return Audit(
        layer=layer,
        classes=list(dataset.classes),
        evidence=evidence,
        surroundings=mean(evidence[name].surroundings for name in objects),
        accuracy=(predictions == terms.labels).float().mean().item(),
        accuracy_without_surroundings=accuracy_without,
        decided=decided,
        misleading=_misleading(terms, present, dataset.classes, evidence),
        mistakes=_mistakes(terms, predictions, dataset.classes),
        pairs=_pairs(terms, present, dataset.classes),
        doubles=told_doubles(dataset.with_split("all").samples, dataset.classes),
        data={
            "spec": dataset.spec,
            "category": dataset.category,
            "split": dataset.split,
            "num_images": len(terms.labels),
        },
    )


def _evidence(terms: Terms, label: int, present: Sequence[int]) -> ClassEvidence:
    num_images = int((terms.labels == label).sum())
    others = [other for other in present if other != label]
    margins = terms.mean_margins(label)
    gap = margins[label] - margins[others].mean(dim=0) if others else torch.full_like(margins[label], math.nan)
    shares = gap / gap.sum() if gap.sum() > 0 else torch.full_like(gap, math.nan)
    if not terms.has_surroundings:
        return ClassEvidence(shares.tolist(), math.nan, [math.nan] * 2, num_images)
    around = shares[-1].item()
    interval = [math.nan] * 2 if math.isnan(around) else _interval(terms, label, around, gap.sum())
    return ClassEvidence(shares[:-1].tolist(), around, interval, num_images)


def _interval(terms: Terms, label: int, share: float, gap: Tensor) -> list[float]:
    """Of a ratio of means: the variance of what each picture adds to it, linear about the share."""
    margins = terms.margins(label).double()
    added = (margins[:, -1] - share * margins.sum(dim=1)) / gap
    counts = torch.bincount(terms.labels)
    means = torch.bincount(terms.labels, added) / counts
    squares = torch.bincount(terms.labels, (added - means[terms.labels]).square())
    of_means = (squares / (counts - 1) / counts)[counts > 0]  # variance of each class's mean
    own = int((counts[:label] > 0).sum())
    weights = torch.full_like(of_means, 1 / (len(of_means) - 1)).square()
    weights[own] = 1
    reach = _NORMAL_95 * (weights * of_means).sum().sqrt().item()  # nan where a class has one picture
    return [share - reach, share + reach]


def _decided(dataset: PartDataset, predictions: Tensor, without: Tensor, labels: Tensor) -> list[DecidedPicture]:
    found = (predictions != without).nonzero()[:, 0].tolist()
    names = dataset.classes
    return [
        DecidedPicture(
            str(dataset.samples[image].image_path),
            names[int(labels[image])],
            names[int(predictions[image])],
            names[int(without[image])],
        )
        for image in found
    ]


def _misleading(
    terms: Terms, present: Sequence[int], classes: Sequence[str], evidence: dict[str, ClassEvidence]
) -> list[MisleadingPart]:
    found = []
    for label in present:
        shares = torch.tensor(evidence[classes[label]].parts)
        filters = (shares >= _LEAST_SHARE).nonzero()[:, 0]
        if not len(filters):
            continue
        others = [other for other in present if other != label]
        middle = terms.mean_margins(label)
        middle = (middle[label] + middle[others].mean(dim=0))[filters] / 2
        speaks = terms.margins(label)[:, filters] > middle  # [image, filter]
        own = terms.labels == label
        for number, on_own, on_others in zip(
            filters.tolist(), speaks[own].float().mean(dim=0), speaks[~own].float().mean(dim=0), strict=True
        ):
            if on_others >= _MISLED:
                share = shares[number].item()
                found.append(MisleadingPart(classes[label], number, share, on_own.item(), on_others.item()))
    return sorted(found, key=lambda one: -one.on_others * one.share)


def _mistakes(terms: Terms, predictions: Tensor, classes: Sequence[str]) -> list[Mistake]:
    is_wrong = predictions != terms.labels
    kinds, counts = torch.stack([terms.labels, predictions], dim=1)[is_wrong].unique(dim=0, return_counts=True)
    found = []
    for (true, predicted), count in zip(kinds.tolist(), counts.tolist(), strict=True):
        own = (terms.labels == true) & (predictions == predicted)
        gaps = (terms.values[own, predicted] - terms.values[own, true]).mean(dim=0)  # [term]
        middle = (terms.means[:, predicted] - terms.means[:, true])[[true, predicted]]
        gaps = gaps - (middle.mean(dim=0) if not middle.isnan().any() else middle[0])
        speaking = gaps.clamp(min=0)
        term = int(speaking.argmax())
        share = (speaking[term] / speaking.sum()).item() if speaking.sum() > 0 else math.nan
        found.append(Mistake(classes[true], classes[predicted], count, _filter_of(terms, term), share))
    return sorted(found, key=lambda one: -one.num_images)


def _pairs(terms: Terms, present: Sequence[int], classes: Sequence[str]) -> list[PairByOne]:
    if len(present) > MOST_PAIRED:
        return []
    found = []
    for first, second in itertools.combinations(present, 2):
        gaps = terms.means[:, first] - terms.means[:, second]  # [class of the pictures, term]
        gap = gaps[first] - gaps[second]
        shares = gap / gap.sum()
        term = int(shares.argmax())
        if gap.sum() > 0 and shares[term] >= ALONE:
            found.append(PairByOne(classes[first], classes[second], _filter_of(terms, term), shares[term].item()))
    return sorted(found, key=lambda one: -one.share)


def _filter_of(terms: Terms, term: int) -> int:
    return SURROUNDINGS if terms.has_surroundings and term == terms.values.shape[2] - 1 else term
