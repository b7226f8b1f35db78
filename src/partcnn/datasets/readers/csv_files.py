"""Tables in CSV files."""

import csv
from collections.abc import Callable
from pathlib import Path

from partcnn.foundation.errors import DataError


def read_csv(file: Path, check_header: Callable[[list[str]], object]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The header, and every other row with its place; blanks around values and empty lines are left out.

    Args:
        file: in UTF-8.
        check_header: raises where the header is another than is meant, before rows are looked at.

    Raises:
        DataError: the file cannot be read, is not in UTF-8, or a row has another number of fields than the header.
    """
    rows = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            header = [name.strip() for name in next((row for row in reader if row), [])]
            check_header(header)
            for row in reader:
                place = f"{file}, line {reader.line_num}"
                if row and len(row) != len(header):
                    raise DataError(f"{place}: expected {len(header)} fields as in the header, got {len(row)}")
                if row:
                    rows.append((place, [value.strip() for value in row]))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected a CSV file in UTF-8, got {type(error).__name__}: {error}") from error
    return header, rows
