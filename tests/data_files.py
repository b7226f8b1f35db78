"""Small data sets in the layouts of the real ones, written without the readers' code, for the tests of the readers."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from scipy.io import savemat

REFERENCE = h5py.ref_dtype


def write_picture(path: Path, size: tuple[int, int] = (60, 40), **options: Any) -> Path:
    """A picture of (width, height); options go to Image.save."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path, **options)
    return path


# ---------------------------------------------------------------- MATLAB files


def write_mat5(path: Path, variable: str, value: Any, *, is_compressed: bool = True) -> Path:
    """Lists of dicts become struct arrays, other lists cell arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {variable: _v5(value)}, do_compression=is_compressed)
    return path


def _v5(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if not value:
        return np.zeros((0, 0))
    if isinstance(value[0], dict):
        array = np.zeros((1, len(value)), dtype=[(name, object) for name in value[0]])
        for index, one in enumerate(value):
            for name, field in one.items():
                array[0, index][name] = _v5(field)
        return array
    cells = np.empty((1, len(value)), dtype=object)
    cells[0, :] = [_v5(one) for one in value]
    return cells


def write_mat73(path: Path, variable: str, value: Any) -> Path:
    """The same in MATLAB's version 7.3, which is HDF5 behind a header of 512 bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        _v73(file, file, variable, value, [0])
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
    return path


def _v73(file: h5py.File, group: h5py.Group, name: str, value: Any, counter: list[int]) -> None:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        struct = group.create_group(name)
        struct.attrs["MATLAB_class"] = np.bytes_(b"struct")
        for field in value[0]:
            if len(value) == 1:
                _v73(file, struct, field, value[0][field], counter)
            else:
                struct.create_dataset(field, data=_references(file, [one[field] for one in value], counter))
    elif isinstance(value, list) and value:
        cells = group.create_dataset(name, data=_references(file, value, counter))
        cells.attrs["MATLAB_class"] = np.bytes_(b"cell")
    elif isinstance(value, str):
        text = group.create_dataset(name, data=np.array([[ord(letter)] for letter in value], dtype=np.uint16))
        text.attrs["MATLAB_class"] = np.bytes_(b"char")
    else:
        array = np.atleast_2d(np.zeros((0, 0)) if isinstance(value, list) else np.asarray(value))
        data = array.T if array.size else np.array(array.shape, dtype=np.uint64)
        dataset = group.create_dataset(name, data=data)
        dataset.attrs["MATLAB_class"] = np.bytes_(b"uint8" if array.dtype == np.uint8 else b"double")
        if not array.size:
            dataset.attrs["MATLAB_empty"] = np.uint8(1)


def _references(file: h5py.File, values: list[Any], counter: list[int]) -> np.ndarray:
    references = np.empty((len(values), 1), dtype=REFERENCE)
    for index, value in enumerate(values):
        counter[0] += 1
        name = f"r{counter[0]}"
        _v73(file, file["#refs#"], name, value, counter)
        references[index, 0] = file["#refs#"][name].ref
    return references


# ---------------------------------------------------------------- Animal-Part, the authors' layout

TRUTH = "interpretableCNN/code/data_input/data_input_DET-2015-subset-ILSVRC2013train"


def frog_entry(box: tuple[int, int, int, int], centers: Any, scales: Any, photograph: str) -> dict[str, Any]:
    """An entry of truth_partNN.mat: MATLAB's xmin, ymin, xmax, ymax; centres (y; x) and sizes (height; width)."""
    bounds = {name: str(value) for name, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)}
    obj = [{"bndbox": [bounds], "filename": photograph, "ID": 1.0} for _ in range(np.shape(centers)[1])]
    return {"pHW_center": np.asarray(centers, float), "pHW_scale": np.asarray(scales, float), "obj": obj}


NO_ENTRY: dict[str, Any] = {"pHW_center": [], "pHW_scale": [], "obj": []}


def write_animalpart_original(root: Path, write_mat: Any = write_mat73) -> Path:
    """Three frogs of 300×200 pixels and two negatives.

    1: object box 11…234 × 21…132, so that the 224 frame is 223/224 of a pixel wide and 111/224 high; one head.
    2: two legs, no head. 3: no part, 40 × 50 pixels: too small.
    """
    boxes = [(11, 21, 234, 132), (1, 1, 300, 200), (1, 1, 40, 50)]
    data = [
        {"obj": [{"bndbox": [dict(zip(("xmin", "ymin", "xmax", "ymax"), map(float, box), strict=True))]}], "class": 1.0}
        for box in boxes
    ]
    folder = root / "detanimalpart" / "n01639765_obj" / "img"
    write_mat(folder / "data.mat", "samples", data)
    heads = [frog_entry(boxes[0], [[112], [56]], [[112], [28]], "n01639765_7"), NO_ENTRY, NO_ENTRY]
    legs = [
        NO_ENTRY,
        frog_entry(boxes[1], [[56, 112], [112, 168]], [[20, 20], [10, 10]], "n01639765_9"),
        NO_ENTRY,
    ]
    write_mat(root / TRUTH / "n01639765" / "truth_part01.mat", "truth", heads)
    write_mat(root / TRUTH / "n01639765" / "truth_part02.mat", "truth", legs)
    for index in range(3):
        write_picture(folder / "img" / f"{index + 1:05d}.jpg", (300, 200))
    for index in range(2):
        write_picture(root / "interpretableCNN" / "data" / "neg" / f"{index + 1:05d}.JPEG")
    return root


# ---------------------------------------------------------------- CUB

CUB_FILES = {
    "images.txt": "1 001.Red_Bird/a.jpg\n2 001.Red_Bird/b.jpg\n3 002.Blue_Bird/c.jpg\n",
    "classes.txt": "1 001.Red_Bird\n2 002.Blue_Bird\n",
    "image_class_labels.txt": "1 1\n2 1\n3 2\n",
    "train_test_split.txt": "1 1\n2 0\n3 1\n",
    "bounding_boxes.txt": "1 10.0 5.0 30.0 20.0\n2 1.0 2.0 40.0 30.0\n3 0.0 0.0 60.0 40.0\n",
    "parts/parts.txt": "1 back\n2 left wing\n",
    "parts/part_locs.txt": "1 1 20.5 10.0 1\n1 2 0.0 0.0 0\n2 1 3.0 4.0 1\n2 2 5.0 6.0 1\n3 1 0 0 0\n3 2 7.0 8.0 1\n",
}


def write_cub(root: Path) -> Path:
    """Three birds of two species, 60×40 pixels."""
    for name, content in CUB_FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    for line in CUB_FILES["images.txt"].splitlines():
        write_picture(root / "images" / line.split()[1])
    return root


# ---------------------------------------------------------------- PASCAL-Part


def block(size: tuple[int, int], x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    """A uint8 mask [row, col] of a (width, height) picture, 1 within the box."""
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def pascal_object(name: str, mask: np.ndarray, parts: dict[str, np.ndarray]) -> dict[str, Any]:
    listed = [{"part_name": part, "mask": part_mask} for part, part_mask in parts.items()]
    return {"class": name, "class_ind": 1.0, "mask": mask, "parts": listed}


def write_pascal_picture(root: Path, stem: str, objects: list[dict[str, Any]], size: tuple[int, int]) -> Path:
    """A picture of (width, height) and its annotation, which is returned."""
    write_picture(root / "JPEGImages" / f"{stem}.jpg", size)
    anno = [{"imname": stem, "objects": objects}]
    return write_mat5(root / "Annotations_Part" / f"{stem}.mat", "anno", anno)


def write_pascal_part(root: Path) -> Path:
    """A bird with four kinds of parts beside a small one, a cat beside a person, and a chair."""
    size = (120, 90)
    bird = pascal_object(
        "bird",
        block(size, 10, 10, 80, 80),
        {
            "head": block(size, 10, 10, 30, 30),
            "beak": block(size, 8, 15, 12, 20),
            "leye": block(size, 15, 15, 18, 18),
            "torso": block(size, 30, 30, 60, 60),
            "lwing": block(size, 40, 20, 70, 35),
            "rleg": block(size, 40, 60, 45, 75),
            "rfoot": block(size, 38, 75, 48, 80),
            "tail": block(size, 60, 60, 80, 80),
        },
    )
    small = pascal_object("bird", block(size, 100, 0, 110, 10), {})
    cat = pascal_object(
        "cat",
        block(size, 0, 20, 100, 90),
        {"lear": block(size, 0, 20, 10, 30), "lfpa": block(size, 5, 80, 15, 90), "rbleg": block(size, 70, 60, 90, 90)},
    )
    person = pascal_object("person", block(size, 100, 0, 120, 90), {"hair": block(size, 100, 0, 120, 9)})
    chair = pascal_object("chair", block(size, 20, 20, 60, 90), {})
    write_pascal_picture(root, "2008_000001", [bird, small], size)
    write_pascal_picture(root, "2008_000002", [cat, person], size)
    write_pascal_picture(root, "2008_000003", [chair], size)
    write_pascal_picture(root, "2008_000004", [], size)
    return root


# ---------------------------------------------------------------- COCO


def coco_document() -> dict[str, Any]:
    """A cat with key points and part annotations beside a second cat, a dog, and an empty picture."""
    return {
        "images": [
            {"id": 1, "file_name": "a.jpg", "width": 60, "height": 40},
            {"id": 2, "file_name": "sub/b.jpg", "width": 60, "height": 40},
            {"id": 3, "file_name": "c.jpg", "width": 60, "height": 40},
        ],
        "categories": [
            {"id": 1, "name": "cat", "supercategory": "animal", "keypoints": ["nose", "tail tip"]},
            {"id": 2, "name": "dog", "supercategory": "animal"},
            {"id": 3, "name": "head", "supercategory": "cat"},
            {"id": 4, "name": "ear", "supercategory": "cat"},
        ],
        "annotations": [
            {"id": 10, "image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 40], "keypoints": [5, 6, 2, 30, 31, 1]},
            {"id": 11, "image_id": 1, "category_id": 1, "bbox": [30, 10, 20, 20]},
            {"id": 12, "image_id": 1, "category_id": 3, "bbox": [32, 12, 6, 6]},
            {"id": 13, "image_id": 1, "category_id": 3, "bbox": [33, 12, 6, 6], "part_of": 10},
            {"id": 14, "image_id": 1, "category_id": 4, "segmentation": [[2, 2, 8, 2, 8, 5, 2, 5]]},
            {"id": 15, "image_id": 2, "category_id": 2, "bbox": [1.5, 2, 20, 30]},
            {"id": 16, "image_id": 2, "category_id": 1, "bbox": [0, 0, 50, 40], "iscrowd": 1},
        ],
    }


def write_coco(root: Path, document: Any = None) -> str:
    """The place that `coco:` takes."""
    for name in ("a.jpg", "sub/b.jpg", "c.jpg"):
        write_picture(root / "images" / name)
    file = root / "annotations.json"
    file.write_text(json.dumps(coco_document() if document is None else document))
    return f"{root / 'images'},{file}"


# ---------------------------------------------------------------- shards


def shard_entry(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def picture_bytes(ending: str = "png", size: tuple[int, int] = (60, 40), colour: int = 90) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (colour, 120, 60)).save(buffer, format={"jpg": "jpeg"}.get(ending, ending))
    return buffer.getvalue()


def write_shard(path: Path, files: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> Path:
    """A tar archive as the library webdataset writes it: name → content, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items() if isinstance(files, Mapping) else files:
            info, content = shard_entry(name, content)
            tar.addfile(info, io.BytesIO(content))
    return path
