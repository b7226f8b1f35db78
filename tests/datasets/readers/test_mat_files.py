"""MATLAB files of both versions give the same plain values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io.matlab

from partcnn.datasets.readers.mat5_check import check_mat5
from partcnn.datasets.readers.mat_files import read_mat
from partcnn.foundation.errors import DataError
from tests.data_files import write_mat5, write_mat73

BOTH = pytest.mark.parametrize("write_mat", [write_mat73, write_mat5], ids=["v7.3", "v5"])
GRID = np.arange(6.0).reshape(2, 3)


@BOTH
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (GRID, GRID),
        ("frog", "frog"),
        ([{"a": 1.0}], [{"a": [[1.0]]}]),
        ([{"a": GRID, "b": "x"}, {"a": 2.0, "b": "yz"}], [{"a": GRID, "b": "x"}, {"a": [[2.0]], "b": "yz"}]),
        ([{"cells": ["a", "b"]}], [{"cells": ["a", "b"]}]),
        ([{"inner": [{"deep": [{"x": "7"}]}]}], [{"inner": [{"deep": [{"x": "7"}]}]}]),
        (["one", GRID], ["one", GRID]),
    ],
    ids=["numbers", "text", "struct", "struct array", "struct of cells", "nested", "cells"],
)
def test_values_come_back(tmp_path: Path, write_mat: Callable[..., Path], value: Any, expected: Any) -> None:
    found = read_mat(write_mat(tmp_path / "x.mat", "v", value), "v")
    np.testing.assert_equal(plain(found), plain(expected))


@BOTH
def test_an_empty_array_is_empty(tmp_path: Path, write_mat: Callable[..., Path]) -> None:
    (found,) = read_mat(write_mat(tmp_path / "x.mat", "v", [{"a": [], "b": 1.0}]), "v")
    assert found["a"].shape == (0, 0)


def test_references_in_a_circle_end(tmp_path: Path) -> None:
    file = write_mat73(tmp_path / "x.mat", "v", ["a", "b"])
    with h5py.File(file, "r+") as raw:
        raw["v"][0, 0] = raw["v"].ref
    assert read_mat(file, "v") == [None, "b"]


@pytest.mark.parametrize("size", [(2**20, 2**20), (2**32, 1)])
def test_a_size_that_the_file_cannot_hold_is_named_before_memory_is_taken(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    file = write_mat73(tmp_path / "x.mat", "v", [{"a": 1.0}])
    with h5py.File(file, "r+") as raw:
        raw["v"].create_dataset("b", shape=size, dtype="f8", chunks=(2**10, 1))  # 2 kB in the file
    assert file.stat().st_size < 2**16
    with pytest.raises(DataError, match=r"x\.mat: expected at most 2147483648 bytes, /v/b exceeds them"):
        read_mat(file, "v")


def test_an_empty_array_that_is_not_empty_is_named(tmp_path: Path) -> None:
    file = write_mat73(tmp_path / "x.mat", "v", [{"a": []}])
    with h5py.File(file, "r+") as raw:
        raw["v"]["a"][...] = 2**20
    with pytest.raises(DataError, match="expected an empty array of a size of 0"):
        read_mat(file, "v")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.mat: expected a MATLAB file, got FileNotFoundError"):
        read_mat(tmp_path / "absent.mat", "v")


def plain(value: Any) -> Any:
    """Arrays as nested lists."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, np.ndarray)):
        return [plain(one) for one in value]
    return value


SCIPY_FILES = [
    file
    for file in sorted((Path(scipy.io.matlab.__file__).parent / "tests" / "data").glob("test*_[67].*.mat"))
    if "hdf5" not in file.name  # of version 7.3
]


@pytest.mark.skipif(not SCIPY_FILES, reason="scipy is installed without its test data")
def test_files_that_matlab_wrote_pass_the_check() -> None:
    """Of MATLAB 6 and 7 on several systems and of both byte orders; sparse arrays, objects and functions are told."""
    assert len(SCIPY_FILES) > 40
    for file in SCIPY_FILES:
        if any(word in file.name for word in ("sparse", "object", "func")):
            with pytest.raises(DataError, match=r"an array of class (3|5|16)"):
                check_mat5(file.read_bytes())
        else:
            check_mat5(file.read_bytes())


@pytest.mark.parametrize("is_compressed", [True, False])
def test_every_end_in_the_middle_is_found(tmp_path: Path, is_compressed: bool) -> None:
    value = [{"a": GRID, "b": "x"}, {"a": 2.0, "b": ["yz", [{"c": 1.0}]]}]
    content = write_mat5(tmp_path / "x.mat", "v", value, is_compressed=is_compressed).read_bytes()
    check_mat5(content)
    for end in range(129, len(content)):
        with pytest.raises(DataError):
            check_mat5(content[:end])
