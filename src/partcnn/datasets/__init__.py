"""Data sets: pictures with labels and, where they are annotated, object parts."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from partcnn.datasets.animalpart import read_animalpart
from partcnn.datasets.catalogue import BACKGROUND, Catalogue
from partcnn.datasets.demo import read_demo
from partcnn.datasets.folder import read_folder
from partcnn.datasets.joint_transforms import TVShapes, from_tv_tensors, to_tv_tensors
from partcnn.datasets.part_dataset import ClassCount, Example, PartDataset
from partcnn.datasets.pictures import find_errors, read_picture
from partcnn.datasets.samples import Box, PartMask, Point, Sample, Shape
from partcnn.datasets.splits import SPLITS, assign_split, check_split
from partcnn.errors import ConfigError, DataError

__all__ = [
    "BACKGROUND",
    "DATASETS",
    "SPLITS",
    "Box",
    "Catalogue",
    "ClassCount",
    "Example",
    "PartDataset",
    "PartMask",
    "Point",
    "Sample",
    "Shape",
    "TVShapes",
    "assign_split",
    "from_tv_tensors",
    "load_dataset",
    "read_picture",
    "to_tv_tensors",
]

_log = logging.getLogger("partcnn")
_MAX_NAMED = 10


def load_dataset(
    spec: str,
    *,
    category: str | None = None,
    split: str = "train",
    max_bad: int = 10,
    image_size: tuple[int, int] = (224, 224),
    transform: Callable[..., Any] | None = None,
) -> PartDataset:
    """Open a data set and check that its pictures can be read.

    Every picture file is decoded to its end once (see `pictures.check_picture`). Unreadable ones are left
    out, named in a warning of the logger "partcnn", and counted in `num_bad`.

    Args:
        spec: "KIND:PLACE", KIND one of `DATASETS`: "folder:PATH", "animalpart:PATH", "demo:" or "demo:COUNT".
        category: a name or identifier: this object against background. None: all categories, told apart.
        split: "train" (about 70 % of the photographs), "test" (the others) or "all".
        max_bad: how many unreadable pictures may be left out.
        image_size, transform: see `PartDataset`.

    Raises:
        DataError: the kind is unknown, the place is missing or malformed, the category is unknown, the split
            is empty, or more than `max_bad` pictures are unreadable.
        ConfigError: the split is unknown or `max_bad` negative.
    """
    check_split(split)
    if max_bad < 0:
        raise ConfigError(f"max_bad: expected a count of at least 0, got {max_bad}")
    kind, colon, place = spec.partition(":")
    if not colon or kind not in DATASETS:
        raise DataError(
            f"spec: expected KIND:PLACE with KIND one of {', '.join(DATASETS)}; got {spec!r}"
            + ("" if colon else f" (pictures in class folders: 'folder:{spec}')")
        )
    catalogue = DATASETS[kind](place, category)
    readable = _readable(catalogue.samples, spec, max_bad)
    return PartDataset(
        replace(catalogue, samples=readable),
        split=split,
        spec=spec,
        image_size=image_size,
        transform=transform,
        num_bad=len(catalogue.samples) - len(readable),
    )


def _readable(samples: list[Sample], spec: str, max_bad: int) -> list[Sample]:
    errors = find_errors(samples, lambda sample: sample.check_image())
    bad = [str(error) for error in errors if error is not None]
    named = "; ".join(bad[:_MAX_NAMED]) + ("; …" if len(bad) > _MAX_NAMED else "")
    if len(bad) > max_bad:
        raise DataError(
            f"{spec}: expected at most max_bad = {max_bad} unreadable pictures, got {len(bad)} "
            f"of {len(samples)}; repair or remove them: {named}"
        )
    if bad:
        _log.warning("%s: left out %d of %d pictures as unreadable: %s", spec, len(bad), len(samples), "; ".join(bad))
    return [sample for sample, error in zip(samples, errors, strict=True) if error is None]


DATASETS: dict[str, Callable[[str, str | None], Catalogue]] = {
    "animalpart": read_animalpart,
    "demo": read_demo,
    "folder": read_folder,
}
