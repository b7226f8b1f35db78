"""Animal-Part as its authors publish it: two repositories side by side, whole frames, MATLAB files.

detanimalpart/WNID_obj/img/data.mat             samples(i).obj.bndbox: the object box of picture i
detanimalpart/WNID_obj/img/img/00001.jpg        picture 1, …
interpretableCNN/code/data_input/data_input_DET-2015-subset-ILSVRC2013train/WNID/truth_part01.mat
    truth(i): pHW_center [2, box] = (y; x) and pHW_scale [2, box] = (height; width) of the boxes of a part in a
    frame in which the object box is warped to 224 × 224; obj: that object box again, and the photograph's name.
    Part 1 is the head, part 2 the leg. An entry without a box is empty.
interpretableCNN/data/neg/*.JPEG                background

Boxes of MATLAB count pixels from 1, both ends included: xmin … xmax are the edges xmin − 1 … xmax.
"""

from pathlib import Path
from typing import Any

import numpy as np

from partcnn.datasets.annotations import Skips, add_shape, box, number, text
from partcnn.datasets.backgrounds import background_folder
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.samples import Box, Sample, Shape
from partcnn.foundation.errors import DataError

FOLDERS = ("detanimalpart", "interpretableCNN")
_TRUTH = Path("interpretableCNN/code/data_input/data_input_DET-2015-subset-ILSVRC2013train")
_NEGATIVES = Path("interpretableCNN/data/neg")
_PARTS = {"head": "truth_part01.mat", "leg": "truth_part02.mat"}  # goldfish have the first only
_FRAME = 224.0
SMALLEST_AREA = 50.0 * 50.0  # the authors' rule
TOO_SMALL = "objects smaller than 50×50 pixels"

# The files hold identifiers only; ImageNet's names, as the compact layout has them.
_NAMES = {
    "n01443537": "goldfish",
    "n01503061": "bird",
    "n01639765": "frog",
    "n01662784": "turtle",
    "n01674464": "lizard",
    "n01882714": "koala",
    "n01982650": "lobster",
    "n02084071": "dog",
    "n02118333": "fox",
    "n02121808": "domestic cat",
    "n02129165": "lion",
    "n02129604": "tiger",
    "n02131653": "bear",
    "n02324045": "rabbit",
    "n02342885": "hamster",
    "n02355227": "squirrel",
    "n02374451": "horse",
    "n02391049": "zebra",
    "n02395003": "swine",
    "n02398521": "hippopotamus",
    "n02402425": "cattle",
    "n02411705": "sheep",
    "n02419796": "antelope",
    "n02437136": "camel",
    "n02444819": "otter",
    "n02454379": "armadillo",
    "n02484322": "monkey",
    "n02503517": "elephant",
    "n02509815": "red panda",
    "n02510455": "giant panda",
}


def read_original(root: Path, category: str | None) -> Catalogue:
    """Read the categories whose pictures lie under the folder. Samples are whole frames.

    Pictures without a part are kept: they train and count for accuracy. Objects smaller than 50 × 50 pixels are
    left out, and counted.

    Args:
        root: holds both repositories.
        category: as for `read_animalpart`.

    Raises:
        DataError: a file is missing or damaged, an entry is malformed, or the category is unknown.
    """
    found = sorted((root / FOLDERS[0]).glob("[!.]*_obj"))
    names = {path.name.removesuffix("_obj"): _NAMES.get(path.name.removesuffix("_obj"), "") for path in found}
    names = {wnid: name or wnid for wnid, name in names.items()}
    if not names:
        raise DataError(f"{root / FOLDERS[0]}: expected folders such as n01639765_obj, found none")
    skips = Skips()
    if category is None:
        classes = sorted(names.values())
        samples = [s for wnid, name in names.items() for s in _read_category(root, wnid, classes.index(name), skips)]
        return Catalogue(samples, classes, part_names(samples), skips=skips)
    wnid = find_category(category, names, is_word_enough=True)
    objects = _read_category(root, wnid, 1, skips)
    return Catalogue(
        samples=background_folder(root / _NEGATIVES, skips) + objects,
        classes=[BACKGROUND, names[wnid]],
        parts=part_names(objects),
        background=0,
        category=names[wnid],
        skips=skips,
    )


def _read_category(root: Path, wnid: str, label: int, skips: Skips) -> list[Sample]:
    folder = root / FOLDERS[0] / f"{wnid}_obj" / "img"
    truths = {part: root / _TRUTH / wnid / file for part, file in _PARTS.items()}
    entries = {
        part: _entries(file, "truth", "pHW_center", "pHW_scale", "obj")
        for part, file in truths.items()
        if file.is_file()
    }
    if "head" not in entries:
        raise DataError(f"{truths['head']}: expected the boxes of the heads, found no such file")
    data_file = folder / "data.mat"
    # The data.mat of birds is too large for the repository's host; the truth files hold the same boxes.
    objects = _entries(data_file, "samples", "obj") if data_file.is_file() else entries["head"]
    for part, truth in entries.items():
        if len(truth) != len(objects):
            raise DataError(f"{truths[part]}: expected {len(objects)} entries as in {data_file}, got {len(truth)}")
    samples = []
    for index, data in enumerate(objects):
        boxes = {part: (f"{truths[part]}, entry {index + 1}", entries[part][index]) for part in entries}
        sample = _read_sample(folder / "img" / f"{index + 1:05d}.jpg", label, data, boxes, skips)
        if sample is not None:
            samples.append(sample)
    return samples


def _read_sample(
    picture: Path, label: int, data: dict[str, Any], truth: dict[str, tuple[str, dict[str, Any]]], skips: Skips
) -> Sample | None:
    """None where the object is too small, or where no file has a box of it."""
    wnid = picture.parents[2].name.removesuffix("_obj")
    object_box, image_id, parts = None, f"{wnid}/{picture.stem}", dict[str, list[Shape]]()
    if len(data["obj"]):
        object_box = _object_box(data["obj"], f"{picture}, its entry in data.mat", skips)
    for part, (place, entry) in truth.items():
        if not len(entry["obj"]):
            continue
        own_box = _object_box(entry["obj"], place, skips)
        object_box = object_box or own_box
        image_id = text(_first(entry["obj"], place).get("filename"), "filename", place)
        for shape in [] if own_box is None else _part_boxes(entry, own_box, f"{place}, {part}", skips):
            add_shape(parts, part, shape, place, skips)
    if object_box is None:
        skips.add("pictures without an object box", str(picture))
        return None
    if (object_box.x1 - object_box.x0) * (object_box.y1 - object_box.y0) < SMALLEST_AREA:
        skips.add(TOO_SMALL, str(picture))
        return None
    return Sample(picture, label, object_box, parts, image_id)


def _part_boxes(entry: dict[str, Any], around: Box, place: str, skips: Skips) -> list[Shape]:
    centers, scales = _pairs(entry["pHW_center"], "pHW_center", place), _pairs(entry["pHW_scale"], "pHW_scale", place)
    if len(centers) != len(scales):
        raise DataError(f"{place}: expected as many pHW_scale as pHW_center, got {len(scales)} and {len(centers)}")
    width, height = around.x1 - around.x0 - 1, around.y1 - around.y0 - 1  # xmax − xmin, as the authors divide
    shapes: list[Shape] = []
    for (y, x), (part_height, part_width) in zip(centers, scales, strict=True):
        if part_height < 0 or part_width < 0:
            raise DataError(f"{place}: expected a pHW_scale of at least 0, got ({part_height:g}; {part_width:g})")
        found = box(
            (
                around.x0 + (x - part_width / 2) * width / _FRAME,
                around.y0 + (y - part_height / 2) * height / _FRAME,
                around.x0 + 1 + (x + part_width / 2) * width / _FRAME,
                around.y0 + 1 + (y + part_height / 2) * height / _FRAME,
            ),
            "the box",
            place,
            skips,
        )
        if found is not None:
            shapes.append(found)
    return shapes


def _object_box(objects: Any, place: str, skips: Skips) -> Box | None:
    bounds = _first(_first(objects, place).get("bndbox"), f"{place}, bndbox")
    edges = [_scalar(bounds.get(name), name, place) for name in ("xmin", "ymin", "xmax", "ymax")]
    return box((edges[0] - 1, edges[1] - 1, edges[2], edges[3]), "the object box", place, skips)


def _entries(file: Path, variable: str, *fields: str) -> list[dict[str, Any]]:
    from partcnn.datasets.readers.mat_files import read_mat  # with the libraries of both formats

    entries = read_mat(file, variable)
    is_right = isinstance(entries, list) and all(
        isinstance(one, dict) and all(isinstance(one.get(name), (list, np.ndarray)) for name in fields)
        for one in entries
    )
    if not is_right:
        raise DataError(f"{file}: expected {variable!r} as a struct array with {', '.join(fields)}, got something else")
    return list(entries)


def _first(structs: Any, place: str) -> dict[str, Any]:
    if not isinstance(structs, list) or not structs or not isinstance(structs[0], dict):
        raise DataError(f"{place}: expected a struct, got {type(structs).__name__}")
    return structs[0]


def _scalar(value: Any, what: str, place: str) -> float:
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    return number(value, what, place)  # a number in data.mat, text in the truth files


def _pairs(values: Any, what: str, place: str) -> list[tuple[float, float]]:
    if not isinstance(values, np.ndarray) or (values.size and (values.ndim != 2 or values.shape[0] != 2)):
        raise DataError(f"{place}: expected {what} as an array [2, box], got {getattr(values, 'shape', type(values))}")
    return [(number(a, what, place), number(b, what, place)) for a, b in values.reshape(2, -1).T.tolist()]
