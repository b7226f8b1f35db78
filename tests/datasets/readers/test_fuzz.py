"""Every parser on damaged and absurd input: a data set or a PartCNNError, nothing else.

A few examples in the ordinary run; PARTCNN_FUZZ_S=120 gives each parser two minutes, from another seed each time.
"""

import contextlib
import copy
import io
import json
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from partcnn.datasets import read_picture
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.pictures import check_picture
from partcnn.foundation.errors import PartCNNError
from tests.data_files import (
    CUB_FILES,
    NO_ENTRY,
    TRUTH,
    coco_document,
    frog_entry,
    pascal_object,
    picture_bytes,
    shard_entry,
    write_animalpart_original,
    write_coco,
    write_cub,
    write_mat5,
    write_mat73,
    write_pascal_part,
    write_picture,
    write_shard,
)

FUZZ_S = float(os.environ.get("PARTCNN_FUZZ_S", "0"))
NUM_EXAMPLES = 200 if FUZZ_S else 15


def fuzz(strategy: st.SearchStrategy[Any], attempt: Callable[[Any], object]) -> None:
    """Draw from the strategy, again and again; the attempt may raise a PartCNNError and nothing else."""
    options = settings(
        max_examples=NUM_EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate] if not FUZZ_S else [Phase.generate, Phase.shrink],
    )

    @options
    @given(strategy)
    def once(drawn: Any) -> None:
        nonlocal num_drawn
        num_drawn += 1
        with contextlib.suppress(PartCNNError):
            attempt(drawn)

    num_drawn = 0
    start, round_number = time.process_time(), int(time.time()) if FUZZ_S else 0
    while True:
        seed(round_number)(once)()
        round_number += 1
        if time.process_time() - start >= FUZZ_S:
            break
    if FUZZ_S:
        print(f"{num_drawn} examples in {time.process_time() - start:.0f} s of the processor")


# ---------------------------------------------------------------- what is drawn

NASTY_TEXT = st.sampled_from(
    [
        "",
        "nan",
        "inf",
        "-1",
        "1e999",
        "0",
        "1",
        "9" * 5000,
        "\0",
        "\ud800",
        "é",
        '"',
        ",",
        "..",
        "/nowhere",
        "object",
        "\r",
    ]
)
NASTY_NUMBERS = st.sampled_from([0, -1, 1, 2, 0.5, -0.0, 1e308, 10**400, float("nan"), float("inf"), 2**63, True])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | NASTY_NUMBERS | NASTY_TEXT | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with a few bytes changed, taken out, put in, or its end cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(["change", "put in", "take out", "cut", "swap"]))
        some = draw(st.binary(min_size=1, max_size=8))
        if kind == "change":
            data[place : place + len(some)] = some
        elif kind == "put in":
            data[place:place] = some
        elif kind == "take out":
            del data[place : place + draw(st.integers(1, 64))]
        elif kind == "cut":
            del data[place:]
        else:
            other = draw(st.integers(0, max(0, len(data) - 1)))
            data[place : place + 8], data[other : other + 8] = data[other : other + 8], data[place : place + 8]
    return bytes(data)


@st.composite
def damaged_table(draw: st.DrawFn, content: str, separator: str) -> bytes:
    """A table with a field replaced, a line repeated or gone, or damaged bytes."""
    if draw(st.booleans()):
        return draw(damaged(content.encode()))
    lines = [line.split(separator) for line in content.splitlines()]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.integers(0, len(lines) - 1))
        if draw(st.booleans()) and lines[row]:
            field = draw(st.integers(0, len(lines[row]) - 1))
            lines[row][field] = draw(NASTY_TEXT | st.text(max_size=5))
        else:
            lines[row] = draw(st.sampled_from(lines))
    return "\n".join(separator.join(line) for line in lines).encode("utf-8", "surrogatepass")


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where a nested value can be replaced."""
    found = [path]
    if isinstance(value, dict):
        found += [one for key in value for one in places(value[key], (*path, key))]
    elif isinstance(value, list):
        found += [one for index in range(len(value)) for one in places(value[index], (*path, index))]
    return found


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = replaced(value[path[0]], path[1:], new)
    return value


@st.composite
def changed(draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any]) -> Any:
    """A nested value with one to three places replaced."""
    for _ in range(draw(st.integers(1, 3))):
        document = replaced(document, draw(st.sampled_from(places(document))), draw(values))
    return document


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# Of MATLAB's values: numbers, arrays, text, cells and structs.
MATLAB = st.recursive(
    st.sampled_from([0.0, 1.0, -3.0, np.nan, np.inf, 1e308, "", "x", "7", "\u20ac"])
    | st.sampled_from([np.zeros((0, 0)), np.ones((2, 3)), np.full((2, 2), np.nan), np.zeros((3, 1), np.uint8)])
    | st.sampled_from([np.array([[np.inf], [2.0]]), np.array([[1e300], [1e300]]), np.ones((2, 2, 2)), np.ones((2, 1))]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2) | st.lists(st.fixed_dictionaries({"a": inner}), min_size=1, max_size=2)
    ),
    max_leaves=4,
)

# ---------------------------------------------------------------- the parsers


def test_the_compact_animal_part_index(tmp_path: Path) -> None:
    record = {
        "image": "images/1.jpg",
        "wnid": "n1",
        "category": "cat",
        "object_box": [1, 2, 30, 30],
        "parts": [{"part": "head", "box": [1, 2, 9, 9]}],
        "imagenet_id": "n1_1",
    }
    write_picture(tmp_path / "images" / "1.jpg")
    write_picture(tmp_path / "background" / "1.jpg")
    lines = changed(record, JSON).map(as_json) | damaged(as_json(record))

    def attempt(line: bytes) -> None:
        (tmp_path / "images.jsonl").write_bytes(as_json({**record, "image": "images/2.jpg"}) + b"\n" + line)
        for category in (None, "cat"):
            load_dataset(f"animalpart:{tmp_path}", category=category, split="all")

    fuzz(lines, attempt)


@pytest.mark.parametrize("write_mat", [write_mat73, write_mat5], ids=["v7.3", "v5"])
def test_the_authors_animal_part_files(tmp_path: Path, write_mat: Callable[..., Path]) -> None:
    root = write_animalpart_original(tmp_path, write_mat)
    box = {"xmin": 1.0, "ymin": 1.0, "xmax": 99.0, "ymax": 99.0}
    data = [{"obj": [{"bndbox": [box]}], "class": 1.0} for _ in range(3)]
    truth = [frog_entry((1, 1, 99, 99), [[112, 9], [56, 9]], [[30, 9], [28, 9]], "n01639765_7"), NO_ENTRY, NO_ENTRY]
    files = {
        root / "detanimalpart" / "n01639765_obj" / "img" / "data.mat": ("samples", data),
        root / TRUTH / "n01639765" / "truth_part02.mat": ("truth", truth),
    }
    whole = {}
    for file, (variable, value) in files.items():
        write_mat(file, variable, value)
        whole[file] = file.read_bytes()

    @st.composite
    def cases(draw: st.DrawFn) -> tuple[Path, Any]:
        file = draw(st.sampled_from(list(files)))
        is_bytes = draw(st.booleans())
        return file, draw(damaged(whole[file]) if is_bytes else changed(files[file][1], MATLAB))

    def attempt(case: tuple[Path, Any]) -> None:
        file, content = case
        try:
            if isinstance(content, bytes):
                file.write_bytes(content)
            else:
                write(write_mat, file, files[file][0], content)
            load_dataset(f"animalpart:{root}", split="all")
        finally:
            file.write_bytes(whole[file])

    fuzz(cases(), attempt)


def test_the_cub_archive(tmp_path: Path) -> None:
    root = write_cub(tmp_path)
    cases = st.sampled_from(list(CUB_FILES)).flatmap(
        lambda name: st.tuples(st.just(name), damaged_table(CUB_FILES[name], " "))
    )

    def attempt(case: tuple[str, bytes]) -> None:
        name, content = case
        try:
            (root / name).write_bytes(content)
            for category in (None, "bird", "Red Bird"):
                load_dataset(f"cub:{root}", category=category, split="all")
        finally:
            (root / name).write_text(CUB_FILES[name])

    fuzz(cases, attempt)


def test_the_compact_cub_index(tmp_path: Path) -> None:
    record = {
        "image": "1.jpg",
        "cub_image_id": 7,
        "class_id": 1,
        "class_name": "001.Bird",
        "is_train": 1,
        "object_box": [1, 2, 30, 30],
        "parts": [{"part": "back", "xy": [3, 4]}],
    }
    write_picture(tmp_path / "1.jpg")

    def attempt(line: bytes) -> None:
        (tmp_path / "images.jsonl").write_bytes(line + b"\n" + as_json({**record, "cub_image_id": 8}))
        load_dataset(f"cub:{tmp_path}", category="bird", split="all")

    fuzz(changed(record, JSON).map(as_json) | damaged(as_json(record)), attempt)


def test_pascal_part_files(tmp_path: Path) -> None:
    root = write_pascal_part(tmp_path)
    file = root / "Annotations_Part" / "2008_000002.mat"
    mask = np.ones((90, 120), np.uint8)
    anno = [{"imname": "x", "objects": [pascal_object("cat", mask, {"head": mask, "tail": mask})]}]
    packed, plain = (
        write_mat5(file, "anno", anno, is_compressed=is_compressed).read_bytes() for is_compressed in (True, False)
    )

    def attempt(content: Any) -> None:
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            write(write_mat5, file, "anno", content)
        for category in (None, "cat"):
            load_dataset(f"pascal-part:{root}", category=category, split="all")

    # Without compression damage reaches the structure; where the masks stand it would only change pixels.
    head = plain[:1200]
    in_structure = damaged(head).map(lambda some: some + plain[1200:])
    fuzz(changed(anno, MATLAB) | damaged(packed) | in_structure, attempt)


def test_coco_files(tmp_path: Path) -> None:
    place = write_coco(tmp_path)
    document = coco_document()
    document["annotations"][4]["segmentation"] = {"size": [40, 60], "counts": "i65Q14L4M2O0O2N2O0O2O000O2O00Lam0"}
    document["annotations"][5]["segmentation"] = {"size": [40, 60], "counts": [100, 50, 2250]}
    text = as_json(document)
    some = JSON | st.text("0123456789OLMNPQ`ao~", max_size=40) | st.lists(st.floats(-1e3, 1e3), min_size=6, max_size=8)

    def attempt(content: bytes) -> None:
        (tmp_path / "annotations.json").write_bytes(content)
        for category in (None, "cat"):
            for kind in ("coco", "coco-multilabel"):
                load_dataset(f"{kind}:{place}", category=category, split="all", crop="object")

    fuzz(changed(document, some).map(as_json) | damaged(text), attempt)


def test_parts_csv(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        write_picture(tmp_path / name)
    table = (
        "image,part,x0,y0,x1,y1\na/1.png,head,1,2,30,40\na/1.png,object,1,2,50,40\n"
        'b/2.png,"tail, end",5,6,,\nb/2.png,head,7,7,9,9\n'
    )

    def attempt(content: bytes) -> None:
        (tmp_path / "parts.csv").write_bytes(content)
        load_dataset(f"folder:{tmp_path}", split="all", crop="object")

    fuzz(damaged_table(table, ","), attempt)


@pytest.mark.parametrize(
    "table", ["image,labels,split\na.jpg,cat;dog,train\nb.jpg,,\n", "image,cat,dog\na.jpg,1,0\nb.jpg,0,1\n"]
)
def test_tables_of_labels(tmp_path: Path, table: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_picture(tmp_path / name)

    def attempt(content: bytes) -> None:
        (tmp_path / "labels.csv").write_bytes(content)
        load_dataset(f"multilabel:{tmp_path}", split="all")

    fuzz(damaged_table(table, ","), attempt)


@pytest.mark.fault(
    "file", "shards of pictures with damaged bytes, headers, names and annotations", "a data set or one error"
)
def test_shards(tmp_path: Path) -> None:
    said = {
        "class": "cat",
        "object_box": [1, 2, 30, 30],
        "parts": [{"part": "head", "box": [1, 2, 9, 9]}, {"part": "eye", "xy": [3, 4]}],
    }
    shard, picture = tmp_path / "s.tar", picture_bytes(size=(8, 6))
    others = {"b.jpg": picture_bytes("jpg", size=(8, 6)), "b.cls": b"dog", "c.png": picture, "c.cls": b"7"}
    whole = write_shard(shard, {"a.png": picture, "a.json": as_json(said), **others}).read_bytes()
    names = st.sampled_from(["a.png", "a.jpg", "../a.png", ".png", "b", "b.CLS", "/b.cls", "x/a.json"]) | st.text(
        max_size=8
    )

    @st.composite
    def archives(draw: st.DrawFn) -> bytes:
        """One whose entries are drawn: names, kinds and sizes that no program writes."""
        buffer = io.BytesIO()
        format_of = draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
        with tarfile.open(fileobj=buffer, mode="w", format=format_of) as tar:
            for _ in range(draw(st.integers(0, 6))):
                content = draw(st.sampled_from([b"", picture, as_json(said), b"7", b"dog"]) | st.binary(max_size=20))
                info, content = shard_entry(draw(names | NASTY_TEXT), content)
                info.type = draw(
                    st.sampled_from([tarfile.REGTYPE] * 6 + [tarfile.SYMTYPE, tarfile.DIRTYPE, b"S", b"x", b"L"])
                )
                info.pax_headers = draw(
                    st.dictionaries(st.sampled_from(["size", "path", "GNU.sparse.map"]), NASTY_TEXT)
                )
                with contextlib.suppress(ValueError, UnicodeError, OverflowError):  # the writer's own
                    tar.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    in_headers = damaged(whole[:1536]).map(lambda some: some + whole[1536:])
    changed_json = changed(said, JSON).map(
        lambda value: write_shard(shard, {"a.png": picture, "a.json": as_json(value), **others}).read_bytes()
    )
    resealed = damaged(whole).map(_resealed)

    def attempt(content: bytes) -> None:
        shard.write_bytes(content)
        for category in (None, "cat"):
            data = load_dataset(f"webdataset:{shard}", category=category, split="all", crop="object")
            for sample in data.samples:
                sample.load_image()

    fuzz(archives() | in_headers | changed_json | damaged(whole) | resealed, attempt)


def _resealed(content: bytes) -> bytes:
    """Headers with the checksums that their bytes ask for: damage then reaches what is behind them."""
    data = bytearray(content)
    for start in range(0, len(data) - 511, 512):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])
    return bytes(data)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.gif", "x.webp", "x.tif", "x.bmp"])
def test_pictures(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / name
    Image.fromarray(pixels).save(path, **({"exif": exif} if name[2:] in ("jpg", "png", "webp", "tif") else {}))
    whole = path.read_bytes()

    def attempt(content: bytes) -> None:
        path.write_bytes(content)
        size = check_picture(path).size
        try:
            image = read_picture(path)
        except PartCNNError as error:
            raise AssertionError("a picture that passed the check can be read") from error
        assert size == (image.height, image.width)

    fuzz(damaged(whole), attempt)


@pytest.mark.filterwarnings("ignore")
def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kinds = st.sampled_from(["folder", "animalpart", "cub", "pascal-part", "coco", "webdataset", "demo", "", "x"])
    texts = (
        st.text(max_size=8)
        | NASTY_TEXT
        | st.sampled_from([str(tmp_path), f"{tmp_path},", f",{tmp_path}", "~nobody", "a,b"])
    )
    attempt = lambda pair: load_dataset(f"{pair[0]}:{pair[1]}", category=pair[2])  # noqa: E731
    fuzz(st.tuples(kinds, texts, st.none() | texts), attempt)


def write(write_mat: Callable[..., Path], file: Path, variable: str, value: Any) -> None:
    """What the writer of MATLAB files itself refuses is no file, and passes."""
    file.unlink(missing_ok=True)
    try:
        write_mat(file, variable, value)
    except (TypeError, ValueError, IndexError, KeyError, AttributeError):
        file.write_bytes(b"")
