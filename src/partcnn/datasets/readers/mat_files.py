"""MATLAB files of either kind, v5 and v7.3, as the same plain values.

A struct array, also one of a single element, is a list of dicts; a cell array is a list; text is a str; numbers
are arrays in MATLAB's orientation. Struct and cell arrays of several axes are listed in MATLAB's order, by column.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import loadmat

from partcnn.datasets.readers.mat5_check import check_mat5
from partcnn.foundation.errors import DataError

_HDF5_MAGIC = b"\x89HDF"
_MOST_BYTES = 2**31  # of a variable of version 7.3; its file may say any size, and hold little
_REFERENCE_BYTES = 128  # of one as Python holds it
_LONGEST_HEADER = 4096  # MATLAB puts 512 bytes of its own before HDF5's


def read_mat(path: Path, variable: str) -> Any:
    """One variable of a MATLAB file.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file, or lacks the variable.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_LONGEST_HEADER)
        return _read_hdf5(path, variable) if _HDF5_MAGIC in head else _read_v5(path, variable)
    except DataError:
        raise
    except Exception as error:  # damaged files raise what each reader happens to; a length gone wild, MemoryError
        raise DataError(f"{path}: expected a MATLAB file, got {type(error).__name__}: {error}") from error


def _read_v5(path: Path, variable: str) -> Any:
    try:
        check_mat5(path.read_bytes())
    except DataError as error:
        raise DataError(f"{path}: expected a MATLAB file, got {error}") from error
    contents = loadmat(path, variable_names=[variable])
    if variable not in contents:
        raise DataError(f"{path}: expected the variable {variable!r}, found none of that name")
    return _plain(contents[variable])


def _plain(value: Any) -> Any:
    if isinstance(value, np.void):
        return {name: _plain(value[name]) for name in value.dtype.names or ()}
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.names or value.dtype == object:
        return [_plain(one) for one in value.ravel(order="F")]
    if value.dtype.kind in "US":
        return "".join(str(one) for one in value.ravel())
    return value


def _read_hdf5(path: Path, variable: str) -> Any:
    with h5py.File(path, "r") as file:
        if variable not in file:
            raise DataError(f"{path}: expected the variable {variable!r}, found none of that name")
        return _Hdf5Values(file).read(file[variable])


class _Hdf5Values:
    """Values of one open file. Each object is read once: a damaged file may refer in circles."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self.known: dict[int, Any] = {}
        self.bytes_left = _MOST_BYTES

    def read(self, node: Any) -> Any:
        address = h5py.h5o.get_info(node.id).addr
        if address not in self.known:
            self.known[address] = None
            self.known[address] = self._struct(node) if isinstance(node, h5py.Group) else self._array(node)
        return self.known[address]

    def _struct(self, group: h5py.Group) -> list[dict[str, Any]]:
        fields = dict(group.items())
        # Of a struct array each field is an array of references; of a single struct it is the value itself.
        is_array = bool(fields) and all(_is_bare_references(field) for field in fields.values())
        if not is_array:
            return [{name: self.read(field) for name, field in fields.items()}]
        columns = {name: self._referred(field) for name, field in fields.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _array(self, data: h5py.Dataset) -> Any:
        matlab_class = data.attrs.get("MATLAB_class", b"")
        if data.attrs.get("MATLAB_empty"):  # the values are the sizes of the empty array
            sizes = [int(size) for size in np.atleast_1d(self._values(data))]
            if 0 not in sizes:
                raise DataError(f"{self.file.filename}: expected an empty array of a size of 0, got {sizes[:4]}")
            return {b"char": "", b"cell": [], b"struct": []}.get(matlab_class, np.zeros(sizes))
        if data.dtype == h5py.ref_dtype:
            return self._referred(data)
        values = self._values(data).T  # HDF5 holds MATLAB's arrays by row
        return "".join(chr(code) for code in values.ravel()) if matlab_class == b"char" else values

    def _referred(self, data: h5py.Dataset) -> list[Any]:
        return [self.read(self.file[reference]) for reference in self._values(data).ravel()]

    def _values(self, data: h5py.Dataset) -> Any:
        item_bytes = _REFERENCE_BYTES if data.dtype == h5py.ref_dtype else data.dtype.itemsize
        self.bytes_left -= (data.size or 0) * item_bytes
        if self.bytes_left < 0:
            raise DataError(f"{self.file.filename}: expected at most {_MOST_BYTES} bytes, {data.name} exceeds them")
        return data[()]


def _is_bare_references(node: Any) -> bool:
    """Whether a field is one of a struct array; a cell array holds references, too, but says that it is one."""
    return isinstance(node, h5py.Dataset) and node.dtype == h5py.ref_dtype and "MATLAB_class" not in node.attrs
