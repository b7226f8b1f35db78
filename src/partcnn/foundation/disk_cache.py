"""Tensors that took minutes to compute, kept on the disk under a hash of all that they follow from.

One safetensors file per key, opened as a memory map, so that runs share one copy of it in memory.
"""

import contextlib
import hashlib
import logging
import os
import stat
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from partcnn.foundation.cache_place import default_directory, limit_of_environment
from partcnn.foundation.files import file_state, remove_abandoned, save_tensors

_log = logging.getLogger("partcnn")

_FORMAT = "1"
_FOLDER = "features"  # within the directory of the cache: nothing else there is ever touched
_ENDING = ".safetensors"
_ABANDONED_S = 86_400  # a file being written is no older than a day
_AHEAD_S = 3_600  # by which the clock of another machine may be ahead; what is dated later is of a clock that was wrong
_TRIES = 10  # to open an entry that other processes remove or replace meanwhile


@dataclass(frozen=True)
class CachedTensors:
    """What `FeatureCache.find` found.

    Args:
        tensors: on the CPU, memory-mapped; writing to them changes no file.
        seconds: that computing them took.
    """

    tensors: dict[str, Tensor]
    seconds: float


class FeatureCache:
    """A folder of computed tensors. Trouble with it is told once and costs no more than computing them again.

    Entries are written under another name and renamed, so several processes may use one cache. A damaged entry is
    not found. Where the sum of all passes the limit, those that were not used for longest are removed. Only plain files
    count. A process that cuts an entry short in place, while it is mapped, ends those that read it: entries are to be
    replaced or removed.

    Args:
        directory: made when something is kept.
        max_bytes: of all entries; None takes the environment's `PARTCNN_CACHE_GIB`, else 20 GiB.

    Raises:
        ConfigError: `PARTCNN_CACHE_GIB` is no number of at least 0.
    """

    def __init__(self, directory: Path, max_bytes: int | None = None) -> None:
        self.directory = directory
        self.max_bytes = limit_of_environment() if max_bytes is None else max_bytes
        self._is_usable = True

    def find(self, key: str) -> CachedTensors | None:
        """The tensors kept under a key; None where there are none, or the file is not what was written."""
        file = self._file(key)
        found = _found(file)
        if found is None:
            return None
        with contextlib.suppress(OSError):  # a cache that others filled may be read-only
            os.utime(file)  # what is used is removed last
        return found

    def keep(self, key: str, tensors: Mapping[str, Tensor], seconds: float) -> int:
        """Write tensors under a key, and remove others where there are too many.

        Args:
            key: from `content_key`.
            tensors: on the CPU.
            seconds: that computing them took.

        Returns:
            Bytes of the entry; 0 where it was not kept, which is logged.
        """
        if not self._is_usable:
            return 0
        tensors = {name: value.detach().contiguous() for name, value in tensors.items()}
        size = sum(value.nbytes for value in tensors.values())
        if size > self.max_bytes:
            _log.info("trunk features: %d MiB are not kept, the cache's limit is %d", size >> 20, self.max_bytes >> 20)
            return 0
        file = self._file(key)
        told = {"seconds": f"{seconds:.3f}"}
        told["checksum"] = _checksum(tensors, told["seconds"])
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(size)
            save_tensors(tensors, file, told)
        except (SafetensorError, OSError) as error:
            self._is_usable = False
            _log.warning("trunk features cannot be kept in %s, and training goes on: %s", self.directory, error)
            return 0
        return size

    def _file(self, key: str) -> Path:
        return self.directory / _FOLDER / f"{key}{_ENDING}"

    def _make_room(self, size: int) -> None:
        remove_abandoned(self._file("").parent)
        entries, now = [], time.time()
        for file in self._file("").parent.iterdir():
            with contextlib.suppress(OSError):  # another process may have removed it
                status = file.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                if file.suffix == _ENDING:
                    used = status.st_mtime if status.st_mtime <= now + _AHEAD_S else 0.0
                    entries.append((used, status.st_size, file))
                elif abs(now - status.st_mtime) > _ABANDONED_S:
                    file.unlink()
        total = size + sum(entry_size for _, entry_size, _ in entries)
        for _, entry_size, file in sorted(entries):
            if total <= self.max_bytes:
                return
            file.unlink(missing_ok=True)
            total -= entry_size


def default_cache() -> FeatureCache | None:
    """The cache in `default_directory`, where there is one.

    Raises:
        ConfigError: `PARTCNN_CACHE_GIB` is no number of at least 0.
    """
    directory = default_directory()
    return None if directory is None else FeatureCache(directory)


def content_key(*parts: object) -> str:
    """A file name for what follows from the parts: texts, numbers, bytes, and tuples or lists of them."""
    return hashlib.sha256(repr((_FORMAT, *parts)).encode()).hexdigest()


def network_digest(network: nn.Module) -> bytes:
    """A hash of a network's layers, in their order, and of its weights, buffers and statistics.

    A layer counts by the bare name of its class: where the class is defined may change, and the hash then stays.
    """
    digest = hashlib.sha256()
    for name, module in network.named_modules():
        # `code` is what a traced network runs; of others the layers and their settings are all that can be seen.
        shown = (name, type(module).__name__, module.extra_repr(), getattr(module, "code", ""))
        digest.update(repr(shown).encode())
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(_bytes(tensor.detach().cpu()))
    return digest.digest()


def _found(file: Path) -> CachedTensors | None:
    """What a file holds; None where there is none, or it is no entry, which is logged."""
    for _ in range(_TRIES):
        state = file_state(file)
        if state is None:
            return None
        try:
            if not file.is_file():  # a pipe would never give its end
                raise ValueError("it is no plain file")
            return _opened(file)
        except (
            SafetensorError,
            OSError,
            RuntimeError,
            ValueError,
            KeyError,
        ) as error:  # RuntimeError: torch's, of a file
            if file_state(file) == state:
                _log.warning("%s cannot be used and is computed anew: %s", file, error)
                return None
            # else another process has put a file of its own there, while the header was read and the rest was not
    return None


def _opened(file: Path) -> CachedTensors:
    with safe_open(file, framework="pt", device="cpu") as opened:
        told = opened.metadata() or {}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    if told.get("checksum") != _checksum(tensors, told.get("seconds")):
        raise ValueError("its content is not what was written")
    return CachedTensors(tensors, float(told["seconds"]))


def _checksum(tensors: Mapping[str, Tensor], seconds: str | None) -> str:
    total = zlib.crc32(repr(seconds).encode())
    for name in sorted(tensors):
        total = zlib.crc32(repr((name, tensors[name].dtype, tuple(tensors[name].shape))).encode(), total)
        total = zlib.crc32(_bytes(tensors[name]), total)
    return f"{total:08x}"


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
