"""The same picture twice: on both sides of the split, or as two classes."""

from collections.abc import Iterable, Sequence

from partcnn.datasets.placement import CroppedSample
from partcnn.datasets.samples import Sample
from partcnn.datasets.splits import assign_split


def told_doubles(samples: Sequence[Sample], classes: Sequence[str]) -> list[str]:
    """A sentence for each fault; none where there is none. Pictures are compared by the bytes of their files.

    Args:
        samples: of both splits, checked, as they are taken: whole pictures or cut ones.
        classes: the names that labels index.
    """
    return [*_on_both_sides(samples), *_as_two_classes(samples, classes)]


def _on_both_sides(samples: Iterable[Sample]) -> Iterable[str]:
    trained: dict[bytes, Sample] = {}
    kept_out: dict[bytes, Sample] = {}
    for sample in samples:
        side = sample.split or assign_split(sample.image_id)
        digest = _file_digest(sample)
        if digest is not None:
            (trained if side == "train" else kept_out).setdefault(digest, sample)
    both = [digest for digest in kept_out if digest in trained]
    if both:
        first, copy = kept_out[both[0]].image_path, trained[both[0]].image_path
        yield (
            f"pictures kept out that stand in training too, byte for byte: {len(both)}, the first {first}, which is "
            f"{copy}; figures on them are too good: remove one of each"
        )


def _as_two_classes(samples: Iterable[Sample], classes: Sequence[str]) -> Iterable[str]:
    shown: dict[tuple[bytes, object], dict[tuple[int, ...], Sample]] = {}
    for sample in samples:
        digest = _file_digest(sample)
        if digest is not None:
            window = sample.window if isinstance(sample, CroppedSample) else None
            shown.setdefault((digest, window), {}).setdefault(sample.labels, sample)
    both = [one for one in shown.values() if len(one) > 1]
    if both:
        (labels, one), (other_labels, other), *_ = both[0].items()
        first, second = (_named(numbers, classes) for numbers in (labels, other_labels))
        other_path = "" if other.image_path == one.image_path else f" ({other.image_path})"
        has_boxes = any(sample.object_box and not isinstance(sample, CroppedSample) for sample in both[0].values())
        way_out = "crop='object' (--crop object) cuts out each object" if has_boxes else "leave each in one class"
        yield (
            f"pictures that are given as two classes or more, pixel for pixel the same: {len(both)}, the first "
            f"{one.image_path} as {first} and {second}{other_path}; {way_out}"
        )


def _named(labels: Sequence[int], classes: Sequence[str]) -> str:
    return " + ".join(repr(classes[label]) for label in labels) or "none"


def _file_digest(sample: Sample) -> bytes | None:
    """Of the whole picture's file, from the check; None where there is no file."""
    checked = (sample.whole if isinstance(sample, CroppedSample) else sample).checked
    return None if checked is None else checked.digest
