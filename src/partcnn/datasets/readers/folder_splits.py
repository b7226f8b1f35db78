"""Which class, and which side of the split, a picture of a folder belongs to.

PATH/cat/a.jpg                                    the split is hashed
PATH/train/cat/a.jpg, PATH/test/cat/b.jpg         the folder's own splits, around the classes
PATH/cat/train/a.jpg, PATH/cat/test/b.jpg         or within each

Of own splits the pictures of "train" are trained on, those of "test" are kept out; without a "test", those of "val".
Where both are there, "val" is left out and counted.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from partcnn.datasets.annotations import Skips
from partcnn.foundation.errors import DataError

NO_CLASS = "pictures in no class folder"
VALIDATION = "pictures for validation, beside a test split"
_WORD = r"(train|training|trainval|val|valid|validation|dev|eval|evaluation|holdout|test|testing)"
_SPLIT_NAME = re.compile(_WORD + r"([-_ ]?(set|data|split|images|\d+|[ab]))?")
_AT_THE_END = re.compile(r".+[-_ ]" + _WORD)
_log = logging.getLogger("partcnn")


class FoundPicture(NamedTuple):
    """A picture of a class; `split` as in `Sample`."""

    path: Path
    class_name: str
    split: str | None = None


def found_pictures(root: Path, files: Sequence[Path], skips: Skips) -> list[FoundPicture]:
    """The pictures that belong to a class; others are counted.

    Args:
        root: the folder.
        files: of pictures below it.
        skips: what is left out is counted here.

    Raises:
        DataError: folders are called as splits are, and hold no classes, or nothing to train on or to keep out.
    """
    folders = [file.relative_to(root).parts[:-1] for file in files]
    level = _split_level([inner for inner in folders if inner])
    if level is None:
        _check_classes(root, [inner for inner in folders if inner])
    found = []
    for file, inner in zip(files, folders, strict=True):
        names = [name for place, name in enumerate(inner) if place != level]
        if not names:
            skips.add(NO_CLASS, str(file))
        else:
            found.append(FoundPicture(file, names[0], None if level is None else _side(inner[level])))
    return found if level is None else _two_sides(root, found, skips)


def _split_level(folders: Sequence[tuple[str, ...]]) -> int | None:
    """0: the first folders are all splits; 1: the second ones; None: neither."""
    for level in (0, 1):
        sides = {_side(inner[level]) if len(inner) > level else None for inner in folders}
        if None not in sides and "train" in sides and len(sides) > 1:
            return level
    return None


def _side(name: str) -> str | None:
    """ "train", "val" or "test" where a folder's name says a split."""
    if not _SPLIT_NAME.fullmatch(name.lower()):
        return None
    return {"tr": "train", "te": "test"}.get(name.lower()[:2], "val")


def _check_classes(root: Path, folders: Sequence[tuple[str, ...]]) -> None:
    """Raises where some of the first folders are splits all the same: they hold the same folders, or all are.

    And where all say a split at the end of their names, such as cat_train and cat_test.
    """
    names = {inner[0] for inner in folders}
    if len(names) > 1 and all(_AT_THE_END.fullmatch(name.lower()) for name in names):
        raise DataError(
            f"{root}: expected one folder per class, or the splits train and test with class folders in each; got "
            f"{_listed(names)}, which name both; move them into {root / 'train'} and {root / 'test'}"
        )
    splits = sorted({inner[0] for inner in folders if _side(inner[0])})
    inner_names = [{inner[1] for inner in folders if inner[0] == name and len(inner) > 1} for name in splits]
    is_alike = len(splits) > 1 and bool(set.intersection(*inner_names))
    if is_alike or (splits and all(_side(inner[0]) for inner in folders)):
        raise DataError(
            f"{root}: expected one folder per class, or the splits train and test with class folders in each; got "
            f"{_listed({inner[0] for inner in folders})}, of which {', '.join(splits)} are splits; "
            + _way_out(root, splits)
        )


def _two_sides(root: Path, found: list[FoundPicture], skips: Skips) -> list[FoundPicture]:
    kept_out = "test" if any(one.split == "test" for one in found) else "val"
    if not {"train", kept_out} <= {one.split for one in found}:
        splits = sorted({one.path.relative_to(root).parts[0] for one in found})
        raise DataError(
            f"{root}: expected class folders with pictures in the splits train and test, found them in "
            f"{', '.join(splits) or 'none'}; " + _way_out(root, splits)
        )
    for one in found:
        if one.split not in ("train", kept_out):
            skips.add(VALIDATION, str(one.path))
    _log.info("%s: its own splits are taken: train to train on, %s is kept out", root, kept_out)
    names = {"train": "train", kept_out: "test"}
    return [one._replace(split=names[one.split]) for one in found if one.split in names]


def _way_out(root: Path, splits: Sequence[str]) -> str:
    split = splits[0] if splits else "train"
    return f"give the folder that holds one folder per class, such as 'folder:{root / split}', or rename them"


def _listed(names: set[str], most: int = 6) -> str:
    return ", ".join(sorted(names)[:most]) + (", …" if len(names) > most else "")
