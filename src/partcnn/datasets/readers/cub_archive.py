"""The text files of the CUB-200-2011 archive: one record a line, fields parted by blanks."""

from collections.abc import Iterator
from pathlib import Path

from partcnn.datasets.annotations import Skips, check_new, number, point, sized_box, whole_number
from partcnn.datasets.paths import inner_path
from partcnn.datasets.samples import Box, Sample, Shape
from partcnn.foundation.errors import DataError


def read_archive(root: Path, skips: Skips) -> list[tuple[Sample, str]]:
    """Every picture with the identifier of its species, in the order of images.txt; labels are 0.

    Raises:
        DataError: a file is missing, a line is malformed or repeats an identifier or a name, or a picture has no box,
            class or side of the split; the message names file and line.
    """
    classes = _table(root / "classes.txt")
    part_names = _table(root / "parts" / "parts.txt", is_rest_text=True)
    labels = _table(root / "image_class_labels.txt", is_name=False)
    sides = _table(root / "train_test_split.txt", is_name=False)
    boxes = _boxes(root / "bounding_boxes.txt", skips)
    points = _points(root / "parts" / "part_locs.txt", part_names)
    birds = []
    for image_id, (name, place) in _table(root / "images.txt").items():
        for table, file in (
            (labels, "image_class_labels.txt"),
            (sides, "train_test_split.txt"),
            (boxes, "bounding_boxes.txt"),
        ):
            if image_id not in table:
                raise DataError(f"{place}: expected picture {image_id} in {file} too, found no such line")
        label, label_place = labels[image_id]
        species = classes.get(whole_number(label, "class", label_place))
        if species is None:
            raise DataError(f"{label_place}: expected a class of classes.txt, got {label!r}")
        sample = Sample(
            image_path=inner_path(root / "images", name, place),
            label=0,
            object_box=boxes[image_id],
            parts=points.get(image_id, {}),
            image_id=f"cub/{image_id}",
            split=split_of(*sides[image_id]),
        )
        birds.append((sample, species[0]))
    if not birds:
        raise DataError(f"{root / 'images.txt'}: expected one line per picture, got an empty file")
    return birds


def split_of(is_train: object, place: str) -> str:
    """ "train" of 1, "test" of 0.

    Raises:
        DataError: it is neither.
    """
    sides = {"1": "train", "true": "train", "0": "test", "false": "test"}
    written = str(is_train).strip().lower()
    if written not in sides:
        raise DataError(f"{place}: expected 1 (training) or 0 (test), got {is_train!r}")
    return sides[written]


def _table(file: Path, *, is_name: bool = True, is_rest_text: bool = False) -> dict[int, tuple[str, str]]:
    """Identifier → value and place, of lines of both.

    Args:
        file: of the archive.
        is_name: whether the value names something: every one once.
        is_rest_text: whether it may hold blanks.
    """
    table: dict[int, tuple[str, str]] = {}
    known: dict[int, str] = {}
    names: dict[str, str] = {}
    for (written, value), place in _lines(file, 2, is_rest_text):
        identifier = whole_number(written, "identifier", place)
        check_new(identifier, known, "identifier", place)
        if is_name:
            check_new(value, names, "name", place)
        table[identifier] = value, place
    return table


def _boxes(file: Path, skips: Skips) -> dict[int, Box | None]:
    boxes: dict[int, Box | None] = {}
    known: dict[int, str] = {}
    for (written, *values), place in _lines(file, 5):
        image_id = whole_number(written, "picture", place)
        check_new(image_id, known, "picture", place)
        boxes[image_id] = sized_box(values, "the bird's box", place, skips)
    return boxes


def _points(file: Path, part_names: dict[int, tuple[str, str]]) -> dict[int, dict[str, list[Shape]]]:
    points: dict[int, dict[str, list[Shape]]] = {}
    known: dict[tuple[int, int], str] = {}
    for (written, written_part, x, y, is_visible), place in _lines(file, 5):
        image_id, part = whole_number(written, "picture", place), whole_number(written_part, "part", place)
        check_new((image_id, part), known, "part of a picture", place)
        if part not in part_names:
            raise DataError(f"{place}: expected a part of parts.txt, got {written_part!r}")
        if number(is_visible, "visibility", place):
            points.setdefault(image_id, {})[part_names[part][0]] = [point(x, y, "the part", place)]
    return points


def _lines(file: Path, num_fields: int, is_rest_text: bool = False) -> Iterator[tuple[list[str], str]]:
    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{file}: expected a file of the CUB-200-2011 archive, got {type(error).__name__}: {error}"
        ) from error
    for line_number, line in enumerate(content.split("\n"), start=1):
        fields = line.split(maxsplit=num_fields - 1 if is_rest_text else -1)
        place = f"{file}, line {line_number}"
        if fields and len(fields) != num_fields:
            raise DataError(f"{place}: expected {num_fields} fields parted by blanks, got {len(fields)}: {line[:60]!r}")
        if fields:
            yield fields, place
