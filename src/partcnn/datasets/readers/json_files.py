"""JSON files: a whole one, or one object a line."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from partcnn.foundation.errors import DataError


def read_json(path: Path) -> Any:
    """The value in a file.

    Raises:
        DataError: the file is missing, or no JSON in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.
    """
    return _parsed(_read_text(path), str(path))


def read_json_lines(path: Path, keys: Collection[str]) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a file, each with its place, "FILE, line 7", for messages. Blank lines are passed over.

    Raises:
        DataError: the file is missing or empty, or a line is no object with all of the keys.
    """
    found = []
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        record = _parsed(line, place)
        missing = [key for key in keys if key not in record] if isinstance(record, dict) else list(keys)
        if missing:
            raise DataError(f"{place}: expected an object with {', '.join(keys)}; it lacks {', '.join(missing)}")
        found.append((place, record))
    if not found:
        raise DataError(f"{path}: expected one line per picture, got an empty file")
    return found


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise DataError(f"{path}: expected a file, got a folder")
    try:
        content = path.read_bytes()
        return content.decode(json.detect_encoding(content))  # UTF-8, or what a byte order mark says
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a file in UTF-8, got {type(error).__name__}: {error}") from error


def _parsed(content: str, place: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: expected JSON, got {type(error).__name__}: {error}") from error
