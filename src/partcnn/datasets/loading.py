"""Open a data set and check that its pictures can be read."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from partcnn.datasets.annotations import Skips
from partcnn.datasets.catalogue import Catalogue, alike
from partcnn.datasets.doubles import told_doubles
from partcnn.datasets.drawn.dataset import read_demo
from partcnn.datasets.part_dataset import PartDataset
from partcnn.datasets.pictures import CheckedPicture, results_or_errors
from partcnn.datasets.placement import check_placement, crop_to_object
from partcnn.datasets.readers.animalpart import read_animalpart
from partcnn.datasets.readers.coco import read_coco
from partcnn.datasets.readers.coco_multilabel import read_coco_multilabel
from partcnn.datasets.readers.cub import read_cub
from partcnn.datasets.readers.folder import read_folder
from partcnn.datasets.readers.multilabel import read_multilabel
from partcnn.datasets.readers.pascal_part import read_pascal_part
from partcnn.datasets.readers.webdataset import read_webdataset
from partcnn.datasets.samples import Sample
from partcnn.datasets.splits import check_split
from partcnn.foundation.errors import ConfigError, DataError

_Size: TypeAlias = tuple[int, int] | None  # None: drawn, no file
_log = logging.getLogger("partcnn")
_MAX_NAMED = 10
CROPS = ("object",)


def load_dataset(
    spec: str,
    *,
    category: str | None = None,
    split: str = "train",
    max_bad: int = 10,
    crop: str | None = None,
    margin: float = 0.1,
    image_size: tuple[int, int] = (224, 224),
    transform: Callable[..., Any] | None = None,
) -> PartDataset:
    """Open a data set and check that its pictures can be read.

    Every picture file is decoded to its end once (see `pictures.check_picture`). Unreadable ones, and those that
    are annotated at another size, are left out, named in a warning of the logger "partcnn", and counted in
    `num_bad`. Annotations that are left out (boxes without area, parts outside their picture) are counted in
    `skipped`, and told there, too; and so is a picture that stands on both sides of the split or as two classes, which
    is not left out.

    Args:
        spec: "KIND:PLACE", KIND one of `DATASETS`: "folder:PATH", "animalpart:PATH", "cub:PATH",
            "pascal-part:PATH", "coco:IMAGES,ANNOTATIONS.json", "webdataset:SHARDS.tar", "demo:" or "demo:COUNT"; of
            pictures with any number of classes "multilabel:LABELS.csv" and "coco-multilabel:IMAGES,ANNOTATIONS.json";
            see the readers.
        category: a name or identifier: this object against background. None: all categories, told apart.
        split: "train" (about 70 % of the photographs, or the data set's own), "test" (the others) or "all".
        max_bad: how many pictures may be left out.
        crop: "object": each picture is cut to its object box; one without stays whole. None: as the files are.
        margin: of that cut on each side, as a share of the box's width and height.
        image_size, transform: see `PartDataset`.

    Raises:
        DataError: the kind is unknown, the place is missing or malformed, the category is unknown, the split
            is empty, more than `max_bad` pictures are unreadable, a part is spelt in two ways, or there is no object
            box to crop to.
        ConfigError: the split or the crop is unknown, or `max_bad` or `margin` negative.
    """
    check_split(split)
    if max_bad < 0:
        raise ConfigError(f"max_bad: expected a count of at least 0, got {max_bad}")
    if crop not in (None, *CROPS):
        raise ConfigError(f"crop: expected {', '.join(CROPS)} or nothing, got {crop!r}")
    if not 0 <= margin < math.inf:
        raise ConfigError(f"margin: expected a share of at least 0, got {margin}")
    if not isinstance(spec, str):
        raise DataError(f"spec: expected a text such as 'folder:PATH', got {spec!r:.80} ({type(spec).__name__})")
    kind, colon, place = spec.partition(":")
    if not colon or kind not in DATASETS:
        raise DataError(
            f"spec: expected KIND:PLACE with KIND one of {', '.join(DATASETS)}; got {spec!r}"
            + ("" if colon else f" (pictures in class folders: 'folder:{spec}')")
        )
    catalogue = DATASETS[kind](place, category)
    if spellings := alike(catalogue.parts):
        raise DataError(
            f"{spec}: expected every part in one spelling, got {', '.join(map(repr, spellings))}; rename them"
        )
    if spellings := alike(catalogue.classes):
        _log.warning("%s: classes that differ in spelling only: %s", spec, ", ".join(map(repr, spellings)))
    placed = _readable(catalogue, spec, max_bad)
    for sentence in catalogue.skips.sentences():
        _log.warning("%s: left out %s", spec, sentence)
    samples = [sample for sample, _ in placed]
    if crop == "object":
        if not any(sample.object_box for sample in samples):
            raise DataError(f"{spec}: expected object boxes to crop to, found none; leave out crop='object'")
        samples = [crop_to_object(sample, size, margin) for sample, size in placed]
    for sentence in told_doubles(samples, catalogue.classes):
        _log.warning("%s: %s", spec, sentence)
    return PartDataset(
        replace(catalogue, samples=samples),
        split=split,
        spec=spec,
        image_size=image_size,
        transform=transform,
        num_bad=len(catalogue.samples) - len(samples),
    )


def _readable(catalogue: Catalogue, spec: str, max_bad: int) -> list[tuple[Sample, _Size]]:
    """Samples whose pictures can be read, without what lies outside them, and the pictures' (height, width)."""
    samples = catalogue.samples
    pictures = {sample.image_path: sample for sample in samples}  # several objects may be on one
    found = dict(zip(pictures, results_or_errors(pictures.values(), lambda sample: sample.check_image()), strict=True))
    placed: list[tuple[Sample, _Size]] = []
    bad = []
    for sample in samples:
        checked = found[sample.image_path]
        try:
            placed.append(_placed(sample, checked, catalogue.skips))
        except DataError as error:
            bad.append(str(error))
    named = "; ".join(bad[:_MAX_NAMED]) + ("; …" if len(bad) > _MAX_NAMED else "")
    if len(bad) > max_bad:
        raise DataError(
            f"{spec}: expected at most max_bad = {max_bad} unreadable pictures, got {len(bad)} "
            f"of {len(samples)}; repair or remove them: {named}"
        )
    if bad:
        _log.warning("%s: left out %d of %d pictures as unreadable: %s", spec, len(bad), len(samples), "; ".join(bad))
    return placed


def _placed(sample: Sample, checked: CheckedPicture | DataError | None, skips: Skips) -> tuple[Sample, _Size]:
    if isinstance(checked, DataError):
        raise checked
    if checked is None:
        return sample, None
    return replace(check_placement(sample, checked.size, skips), checked=checked), checked.size


DATASETS: dict[str, Callable[[str, str | None], Catalogue]] = {
    "animalpart": read_animalpart,
    "coco": read_coco,
    "coco-multilabel": read_coco_multilabel,
    "cub": read_cub,
    "demo": read_demo,
    "folder": read_folder,
    "multilabel": read_multilabel,
    "pascal-part": read_pascal_part,
    "webdataset": read_webdataset,
}
