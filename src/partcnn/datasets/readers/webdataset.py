"""Shards as the library webdataset writes them: tar archives in which files of one picture share their key.

train-000.tar:   n01440764_10026.jpg     the picture; key n01440764_10026
                 n01440764_10026.cls     its class, a number or a name
                 n01440764_10026.json    instead, or beside: {"class": "tench", "object_box": [x0, y0, x1, y1], "parts":
                                         [{"part": "head", "box": [x0, y0, x1, y1]}, {"part": "eye", "xy": [x, y]}]}

Pictures are read from the archives in place, in any order: nothing is unpacked, and the archives are read through once,
entry by entry, when the data set is opened. What else has a key (captions, masks) is not read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image
from torchvision.datasets.folder import IMG_EXTENSIONS

from partcnn.datasets.annotations import Skips, add_shape, box, point, text
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.paths import expanded
from partcnn.datasets.pictures import (
    CheckedPicture,
    FilePart,
    check_picture,
    file_digest,
    picture_state,
    read_picture,
    read_reduced,
)
from partcnn.datasets.readers.tar_files import TarEntry, archives_of, tar_entries
from partcnn.datasets.samples import Box, Sample, Shape
from partcnn.foundation.errors import DataError

NO_CLASS = "pictures of shards without a class (.cls, or class or label in .json)"
NO_PICTURE = "keys of shards without a picture"
NO_KEY = "files of shards without a key"
_PICTURES = tuple(ending[1:] for ending in IMG_EXTENSIONS)
_MOST_BYTES = 2**24  # of a .cls or .json


@dataclass(frozen=True)
class ShardSample(Sample):
    """A picture within a tar archive. Its `image_path` is a name, the archive's and its own; no such file exists.

    Args:
        place: where it lies.
    """

    place: FilePart = field(kw_only=True)

    def load_image(self) -> Image.Image:
        return read_picture(self.place)

    def load_reduced(
        self, resized_to: tuple[int, int], window: tuple[int, int, int, int] | None = None
    ) -> tuple[Image.Image, tuple[int, int]]:
        return read_reduced(self.place, resized_to, window)

    def picture_digest(self) -> bytes:
        if self.checked is not None and self.checked.state == picture_state(self.place):
            return self.checked.digest
        return file_digest(self.place)

    def check_image(self) -> CheckedPicture | None:
        return check_picture(self.place)


def read_webdataset(location: str, category: str | None) -> Catalogue:
    """Read shards of pictures.

    Args:
        location: a pattern of tar archives, see `tar_files.archives_of`, whose pictures are split by a hash of the
            archive's name and the key; or two, TRAIN,TEST, and the second's pictures are kept out.
        category: the name of a class. With it: its pictures against those of all other classes, as background. None:
            all classes are told apart, in the order of their numbers, or else of their names.

    Raises:
        DataError: an archive is missing or damaged, a key stands twice in one, a picture has two files, a class or an
            annotation is malformed, there are fewer than two classes, or the category is unknown.
    """
    if not location:
        raise DataError("spec: expected webdataset:SHARDS, such as webdataset:train-{000..012}.tar, got no shards")
    skips = Skips()
    found: list[tuple[str, ShardSample]] = []
    for split, pattern in _patterns(location).items():
        for archive in archives_of(pattern):
            found += _read_archive(archive, split or None, skips)
    names = sorted({name for name, _ in found}, key=_class_order)
    if len(names) < 2:
        left_out = "; left out " + "; ".join(skips.sentences()) if skips.places else ""
        only = f"only {names[0]!r}" if names else "none"
        raise DataError(f"{location[:80]}: expected pictures of at least two classes, found {only}{left_out[:400]}")
    labels = {name: label for label, name in enumerate(names)}
    if category is None:
        samples: list[Sample] = [replace(sample, label=labels[name]) for name, sample in found]
        return Catalogue(samples, names, part_names(samples), skips=skips)
    category = find_category(category, {name: name for name in names})
    if category == BACKGROUND:
        raise DataError(f"category: {BACKGROUND!r} is the name of everything else; give another class")
    samples = [
        replace(sample, label=1) if name == category else replace(sample, label=0, parts={}) for name, sample in found
    ]
    return Catalogue(samples, [BACKGROUND, category], part_names(samples), background=0, category=category, skips=skips)


def _patterns(location: str) -> dict[str, str]:
    """Split → pattern; "" where there is one for both. A comma within braces is the pattern's own."""
    if expanded(location).exists():
        return {"": location}
    depth = 0
    for place, sign in enumerate(location):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if sign == "," and depth <= 0:
            return {"train": location[:place], "test": location[place + 1 :]}
    return {"": location}


def _read_archive(archive: Path, split: str | None, skips: Skips) -> list[tuple[str, ShardSample]]:
    """The class and the sample of every key."""
    found = []
    with _Contents(archive) as contents:
        for key, entries in _by_key(archive, skips).items():
            place = f"{archive}/{key}"
            pictures = [entries[ending] for ending in _PICTURES if ending in entries]
            if not pictures:
                skips.add(NO_PICTURE, place)
                continue
            if len(pictures) > 1:
                raise DataError(f"{place}: expected one picture a key, got {', '.join(one.name for one in pictures)}")
            said = contents.json(entries.get("json"))
            name = _class_name(said, contents.text(entries.get("cls")), place)
            if name is None:
                skips.add(NO_CLASS, place)
                continue
            object_box, parts = _annotations(said, place, skips)
            part = FilePart(archive, pictures[0].offset, pictures[0].size, f"{archive}/{pictures[0].name}")
            path, image_id = Path(str(part)), f"{archive.name}/{key}"
            found.append((name, ShardSample(path, 0, object_box, parts, image_id, split, place=part)))
    return found


def _by_key(archive: Path, skips: Skips) -> dict[str, dict[str, TarEntry]]:
    """Key → ending → entry: as in webdataset the key ends at the first dot of the file's name."""
    keys: dict[str, dict[str, TarEntry]] = {}
    for entry in tar_entries(archive, skips):
        folder, slash, name = entry.name.rpartition("/")
        stem, dot, ending = name.partition(".")
        if not stem or not dot or not _is_text(entry.name):
            skips.add(NO_KEY, f"{archive}/{entry.name!r}")
            continue
        entries = keys.setdefault(f"{folder}{slash}{stem}", {})
        if ending.lower() in entries:
            raise DataError(f"{archive}: expected every file once, got {entry.name!r} again")
        entries[ending.lower()] = entry
    return keys


def _class_name(said: Mapping[str, Any], of_cls: str | None, place: str) -> str | None:
    """What the .json calls the class, or else its number there, or what is in the .cls."""
    for key in ("class", "label"):
        value = said.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if value is not None:
            return text(value, key, place).strip() or None
    return of_cls


def _annotations(said: Mapping[str, Any], place: str, skips: Skips) -> tuple[Box | None, Mapping[str, list[Shape]]]:
    corners, entries = said.get("object_box"), said.get("parts")
    object_box = None if corners is None else box(corners, "the object", place, skips)
    parts: dict[str, list[Shape]] = {}
    if entries is not None and not isinstance(entries, list):
        raise DataError(f"{place}: expected a list of parts, got {str(entries)[:60]}")
    for entry in entries or []:
        if not isinstance(entry, dict) or ("box" in entry) == ("xy" in entry):
            raise DataError(f"{place}: expected a part with its name and a box or xy, got {str(entry)[:60]}")
        name = text(entry.get("part"), "part", place)
        shape: Shape | None
        if "box" in entry:
            shape = box(entry["box"], name, place, skips)
        else:
            xy = entry["xy"]
            if not isinstance(xy, list) or len(xy) != 2:
                raise DataError(f"{place}: expected two numbers for {name}, got {str(xy)[:60]}")
            shape = point(xy[0], xy[1], name, place)
        if shape is not None:
            add_shape(parts, name, shape, place, skips)
    return object_box, PackedShapes(parts) if parts else {}


class _Contents:
    """The small files of an archive, which is opened once."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive

    def __enter__(self) -> "_Contents":
        self._file = self._archive.open("rb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def text(self, entry: TarEntry | None) -> str | None:
        """Without blanks around it; None where there is none.

        Raises:
            DataError: it is no UTF-8, or no name.
        """
        if entry is None:
            return None
        content = self._decoded(entry).strip()
        return text(content, "the class", f"{self._archive}/{entry.name}") if content else None

    def json(self, entry: TarEntry | None) -> Mapping[str, Any]:
        """The object; nothing where there is none.

        Raises:
            DataError: it is no JSON object.
        """
        if entry is None:
            return {}
        place = f"{self._archive}/{entry.name}"
        try:
            found = json.loads(self._decoded(entry))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: expected JSON, got {type(error).__name__}: {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{place}: expected a JSON object, got {str(found)[:60]}")
        return found

    def _decoded(self, entry: TarEntry) -> str:
        place = f"{self._archive}/{entry.name}"
        if entry.size > _MOST_BYTES:
            raise DataError(f"{place}: expected at most {_MOST_BYTES} bytes, got {entry.size}")
        try:
            self._file.seek(entry.offset)
            content = self._file.read(entry.size)
            return content.decode(json.detect_encoding(content)).removeprefix("\ufeff")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{place}: expected text in UTF-8, got {type(error).__name__}: {error}") from error


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _class_order(name: str) -> tuple[bool, int, str]:
    """Numbers first, by their size."""
    is_number = name.isdecimal() and len(name) < 19
    return not is_number, int(name) if is_number else 0, name
