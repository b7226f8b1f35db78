"""Where a data set lies."""

from pathlib import Path

from partcnn.errors import DataError


def check_folder(location: str) -> Path:
    """The folder at `location`, `~` expanded.

    Raises:
        DataError: the location is empty, missing, or not a folder.
    """
    if not location:
        raise DataError("spec: expected the path of a folder after the colon, got none")
    path = Path(location).expanduser()
    if not path.exists():
        raise DataError(f"{path}: expected the folder of a data set, found nothing there")
    if not path.is_dir():
        raise DataError(f"{path}: expected the folder of a data set, got a file")
    return path
