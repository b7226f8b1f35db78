"""PASCAL-Part (Chen et al., CVPR 2014) on the pictures of VOC 2010: part masks of six animals, merged as in the paper.

Annotations_Part/2008_000008.mat     one file per picture, with the struct `anno`
    anno.imname                      '2008_000008'
    anno.objects(i)                  .class 'horse', .class_ind, .mask uint8 [row, col], .parts: struct array or []
    anno.objects(i).parts(j)         .part_name 'lfuleg', .mask uint8 [row, col]
JPEGImages/2008_000008.jpg           or below VOC2010/ or VOCdevkit/VOC2010/
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from partcnn.datasets.annotations import DOUBLED, Skips, text
from partcnn.datasets.backgrounds import background_folder, evenly_chosen
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.paths import check_folder, split_places
from partcnn.datasets.samples import Box, MaskShape, Sample, Shape
from partcnn.foundation.errors import DataError

_ANNOTATIONS = "Annotations_Part"
_PICTURES = ("JPEGImages", "VOC2010/JPEGImages", "VOCdevkit/VOC2010/JPEGImages")
SMALLEST_AREA = 50.0 * 50.0  # of the object box: the authors' rule
TOO_SMALL = "objects smaller than 50×50 pixels"

# Section 5.2 of the CVPR paper (its part interpretability): what each merged part is made of. {lr} is l or r.
_HEAD = ("head", "[lr]eye", "[lr]ear", "nose", "muzzle", "[lr]horn")
_MAMMAL = {
    "head": _HEAD,
    "torso": ("torso", "neck"),
    "front legs": ("[lr]f(leg|pa|uleg|lleg|ho)",),
    "back legs": ("[lr]b(leg|pa|uleg|lleg|ho)",),
}
_WITH_TAIL = _MAMMAL | {"tail": ("tail",)}
MERGED_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "bird": {
        "head": ("head", "beak", "[lr]eye"),
        "torso": ("torso", "neck", "[lr]wing"),
        "legs": ("[lr]leg", "[lr]foot"),
        "tail": ("tail",),
    },
    "cat": _WITH_TAIL,
    "cow": _MAMMAL,  # tails of cows, horses and sheep belong to no part in the paper
    "dog": _WITH_TAIL,
    "horse": _MAMMAL,
    "sheep": _MAMMAL,
}


def read_pascal_part(location: str, category: str | None) -> Catalogue:
    """Read the annotations of all pictures. A sample is one object in its whole picture.

    Args:
        location: PATH that holds both folders, or PATH,BACKGROUND with a folder of pictures without animals.
        category: one of the six animals, against the pictures of BACKGROUND; without that folder against as many
            of the annotated pictures as there are objects, none of which shows the category, chosen by hash. Their
            object box is that of their largest object, of whatever class. None: those of the six that occur are the
            classes.

    Raises:
        DataError: a folder is missing, a file is damaged or malformed, the category is none of the six, or
            BACKGROUND is given without a category.
    """
    place, background = split_places(location)
    root = check_folder(place)
    category = category if category is None else find_category(category, {name: name for name in MERGED_PARTS})
    if background and category is None:
        raise DataError("spec: a background folder is for one category; give --category, or leave it out")
    wanted = [category] if category else list(MERGED_PARTS)
    files = sorted((root / _ANNOTATIONS).glob("[!.]*.mat"))
    if not files:
        raise DataError(f"{root / _ANNOTATIONS}: expected one .mat file per picture, found none")
    pictures, skips = _picture_folder(root), Skips()
    objects: list[tuple[str, Sample]] = []
    others: list[Sample] = []
    for file in files:
        picture, annotated = pictures / f"{file.stem}.jpg", _joined(_read_objects(file), file, skips)
        shown = [one for one in annotated if one[0] in wanted]
        if not shown:
            largest = max((_mask_box(mask) for _, mask, _ in annotated), key=_area, default=None)
            others.append(Sample(picture, 0, largest, {}, file.stem))
        for name, mask, parts in shown:
            sample = _object_sample(picture, name, mask, parts, skips)
            if sample is not None:
                objects.append((name, sample))
    if category is None:
        classes = sorted({name for name, _ in objects})
        samples = [replace(sample, label=classes.index(name)) for name, sample in objects]
        return Catalogue(samples, classes, part_names(samples), skips=skips)
    positive = [sample for _, sample in objects]
    negative = background_folder(background, skips) if background else evenly_chosen(others, len(positive))
    return Catalogue(
        samples=negative + positive,
        classes=[BACKGROUND, category],
        parts=part_names(positive),
        background=0,
        category=category,
        skips=skips,
    )


_Parts = list[tuple[str, npt.NDArray[np.bool_]]]
_Object = tuple[str, npt.NDArray[np.bool_], _Parts]


def _read_objects(file: Path) -> Iterator[_Object]:
    """Class, mask and parts of every object of a picture; an object without a pixel is passed over.

    Parts are read of the six animals only: the other classes of the ten thousand files have many.
    """
    from partcnn.datasets.readers.mat_files import read_mat  # with the libraries of both formats

    anno = read_mat(file, "anno")
    first = anno[0] if isinstance(anno, list) and anno and isinstance(anno[0], dict) else {}
    for index, one in enumerate(_structs(first.get("objects"), f"{file}, objects"), start=1):
        place = f"{file}, object {index}"
        name = text(one.get("class"), "class", place)
        mask = _mask(one.get("mask"), place)
        parts = []
        for part in _structs(one.get("parts"), f"{place}, parts") if name in MERGED_PARTS else []:
            piece = text(part.get("part_name"), "part_name", place)
            part_mask = _mask(part.get("mask"), f"{place}, {piece}")
            if part_mask.shape != mask.shape:
                raise DataError(
                    f"{place}: expected masks of one size, got {mask.shape} and for {piece} {part_mask.shape}"
                )
            parts.append((piece, part_mask))
        if mask.any():
            yield name, mask, parts


def _joined(objects: Iterable[_Object], file: Path, skips: Skips) -> list[_Object]:
    """An object that stands twice is one, with the parts of both."""
    found: list[_Object] = []
    for name, mask, parts in objects:
        same = next((one for one in found if one[0] == name and np.array_equal(one[1], mask)), None)
        if same is None:
            found.append((name, mask, parts))
        else:
            same[2].extend(parts)
            skips.add(DOUBLED, f"{file}, {name}")
    return found


def _structs(values: Any, place: str) -> list[dict[str, Any]]:
    is_empty = isinstance(values, np.ndarray) and values.size == 0  # MATLAB's []
    if is_empty or (isinstance(values, list) and all(isinstance(one, dict) for one in values)):
        return [] if is_empty else list(values)
    raise DataError(f"{place}: expected a struct array, got {type(values).__name__}")


def _mask(values: Any, place: str) -> npt.NDArray[np.bool_]:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "buif" or not values.size:
        raise DataError(f"{place}: expected a mask [row, col] of numbers, got {getattr(values, 'shape', type(values))}")
    mask = values.astype(np.bool_)
    if (values != mask).any():  # nan, too
        raise DataError(f"{place}: expected a mask of 0 and 1, got other values")
    return mask


def _object_sample(picture: Path, name: str, mask: npt.NDArray[np.bool_], parts: _Parts, skips: Skips) -> Sample | None:
    """The object as a sample of label 1; None where it is too small."""
    box = _mask_box(mask)
    if _area(box) < SMALLEST_AREA:
        skips.add(TOO_SMALL, str(picture))
        return None
    merged: dict[str, list[Shape]] = {}
    for part, pieces in MERGED_PARTS[name].items():
        pattern = re.compile("|".join(pieces))
        found = [part_mask for piece, part_mask in parts if pattern.fullmatch(piece)]
        union = np.logical_or.reduce(found) if found else np.zeros_like(mask)
        if union.any():
            merged[part] = [MaskShape(union)]
    size = mask.shape[0], mask.shape[1]
    return Sample(picture, 1, box, PackedShapes(merged), picture.stem, size=size)


def _mask_box(mask: npt.NDArray[np.bool_]) -> Box:
    return MaskShape(mask).box


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)


def _picture_folder(root: Path) -> Path:
    for folder in _PICTURES:
        if (root / folder).is_dir():
            return root / folder
    raise DataError(f"{root}: expected the pictures of VOC 2010 in {', '.join(_PICTURES)}, found none of these folders")
