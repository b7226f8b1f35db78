"""What the C library does with memory that was freed: keep it for what is asked for next, or hand it back."""

import contextlib
import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_NO_TRIM = 2**31 - 1
_LARGEST_BLOCKS = (2**30, 2**25)  # older versions of glibc take no more than the second
_CHOSEN_BY_USER = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed() -> None:
    """Have glibc keep what is freed, for the rest of this process.

    By itself it hands blocks of a layer's maps back to the system and asks for them anew in the next layer; the system
    then fills them with zeros, page by page, which takes up to a third of a pass. A process that calls this holds about
    its peak until it ends, or until `give_back_freed`.

    Nothing is done where the environment has chosen (`MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_`,
    `GLIBC_TUNABLES`), and where the C library is another.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _CHOSEN_BY_USER):
        return
    with contextlib.suppress(AttributeError):  # musl has none
        mallopt = ctypes.CDLL(None).mallopt
        if any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST_BLOCKS):
            mallopt(_TRIM_THRESHOLD, _NO_TRIM)


def give_back_freed() -> None:
    """Tell the C library to hand back what was freed. It keeps it otherwise, in pieces, for what is asked for next.

    After a stage that allocates much in small pieces, such as decoding thousands of pictures. Costs milliseconds, and
    is nothing where the C library is not glibc.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # musl has none
            ctypes.CDLL(None).malloc_trim(0)
