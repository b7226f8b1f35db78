"""Where a data set lies."""

from pathlib import Path
from typing import Any

from partcnn.datasets.annotations import text
from partcnn.foundation.errors import DataError


def check_folder(location: str) -> Path:
    """The folder at `location`, `~` expanded.

    Raises:
        DataError: the location is empty, missing, or not a folder.
    """
    if not location:
        raise DataError("spec: expected the path of a folder after the colon, got none")
    path = expanded(location)
    if not path.exists():
        raise DataError(f"{path}: expected the folder of a data set, found nothing there")
    if not path.is_dir():
        raise DataError(f"{path}: expected the folder of a data set, got a file")
    return path


def expanded(location: str) -> Path:
    """The path, with `~` expanded; one that the system can look for.

    Raises:
        DataError: it is too long, has a zero byte, or names a home that does not exist.
    """
    try:
        path = Path(location).expanduser()
        path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"spec: expected a path, got {location[:80]!r} ({type(error).__name__}: {error})"[:300]
        ) from error
    return path


def inner_path(root: Path, name: Any, place: str) -> Path:
    """The file that an annotation names relative to a folder.

    Args:
        root: the folder.
        name: as the annotation has it.
        place: where it stands, for messages.

    Raises:
        DataError: it is no text, or leads out of the folder.
    """
    written = text(name, "the picture's file name", place)
    if "\\" in written and not (root / written).exists():
        written = written.replace("\\", "/")  # as Windows writes it
    inner = Path(written)
    if inner.is_absolute() or ".." in inner.parts:
        raise DataError(f"{place}: expected the name of a picture within {root}, got {name!r}")
    return root / inner


def split_places(location: str) -> tuple[str, str]:
    """`PLACE` or `PLACE,PLACE`: the second is "" where it is left out.

    A place that exists under the whole name is taken as it is: folders may have a comma in their names.
    """
    if "," not in location or expanded(location).exists():
        return location, ""
    first, _, rest = location.rpartition(",")
    return first, rest
