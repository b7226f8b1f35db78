"""Pages of mapped files that are not needed now go back to the system, so that a process does not grow."""

import contextlib
import ctypes
import mmap
import sys
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

_DONTNEED = 4  # MADV_DONTNEED of Linux


def mapped_ranges(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(address, bytes) of the whole mapped files that tensors lie in; none where the system does not say it."""
    mapped: list[tuple[int, int]] = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            span, _, _, _, inode, *name = line.split(maxsplit=5)
            if inode != "0" and name and name[0].startswith("/"):
                start, end = (int(edge, 16) for edge in span.split("-"))
                mapped.append((start, end))
    mapped.sort()
    found = set()
    for tensor in tensors:
        address = tensor.data_ptr()
        place = bisect_right(mapped, (address, sys.maxsize)) - 1
        if place >= 0 and mapped[place][0] <= address < mapped[place][1]:
            found.add((mapped[place][0], mapped[place][1] - mapped[place][0]))
    return sorted(found)


def give_back(ranges: Sequence[tuple[int, int]]) -> None:
    """Tell the system that pages of mapped files are not needed now; they are read anew when they are.

    Args:
        ranges: of `mapped_ranges`, of files that were not written to: what was would be lost.
    """
    if not ranges or not hasattr(mmap, "MADV_DONTNEED"):
        return
    madvise = ctypes.CDLL(None).madvise
    for start, length in ranges:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _DONTNEED)
