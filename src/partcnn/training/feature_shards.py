"""Features of more pictures than memory holds: kept in a cache shard by shard as they are made.

A shard is an entry of the cache like any other, of up to 32 MiB: `KEY-00000`, `KEY-00001`, … Each is written whole and
renamed, so that a computation that was killed goes on behind the last one. What fits into one is a single entry, `KEY`.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import torch
from torch import Tensor

from partcnn.foundation.allocator import give_back_freed
from partcnn.foundation.disk_cache import CachedTensors, FeatureCache
from partcnn.foundation.row_shards import Rows, RowShards
from partcnn.foundation.system_memory import give_back, mapped_ranges
from partcnn.training.features import BATCH_OF_PICTURES

_log = logging.getLogger("partcnn")
SHARD_BYTES = 2**25
_SCRATCH_KEY = "rows"

Batch: TypeAlias = dict[str, Tensor]  # name → rows of some pictures, on the CPU
Batches: TypeAlias = Callable[[Sequence[int]], Iterator[Batch]]  # of these rows, 16 at a time


@dataclass
class KnownRows:
    """What a cache has of the rows of a data set.

    Args:
        shards: number → what is kept, the first always.
        num_rows: of the data set.
        num_per_shard: rows.
    """

    shards: dict[int, CachedTensors]
    num_rows: int
    num_per_shard: int

    @property
    def first(self) -> Batch:
        """The first shard."""
        return self.shards[0].tensors

    @property
    def seconds(self) -> float:
        """That computing them took."""
        return sum(shard.seconds for shard in self.shards.values())

    @property
    def missing(self) -> list[int]:
        """Numbers of the shards that are to be computed."""
        return [number for number in range(-(-self.num_rows // self.num_per_shard)) if number not in self.shards]

    @property
    def missing_rows(self) -> list[int]:
        size = self.num_per_shard
        return [row for number in self.missing for row in range(number * size, min((number + 1) * size, self.num_rows))]

    def rows(self, name: str, keeps: object = None) -> Rows:
        """All of it, once nothing is missing; of one small shard the tensor, mapped."""
        shards = [self.shards[number].tensors[name] for number in sorted(self.shards)]
        if len(shards) == 1 and shards[0].nbytes <= SHARD_BYTES:
            return shards[0]
        return RowShards(shards, is_mapped=True, keeps=keeps)


def known_rows(cache: FeatureCache, key: str, num_rows: int) -> KnownRows | None:
    """What is kept under a key: all rows, or shards of them. None without the first.

    Each entry has one row a picture in `maps`.
    """
    whole = cache.find(key)
    if whole is not None:
        _not_held(whole)
        return KnownRows({0: whole}, num_rows, num_rows)
    first = cache.find(_shard_key(key, 0))
    if first is None:
        return None
    known = KnownRows({0: first}, num_rows, len(first.tensors["maps"]))
    _not_held(first)
    for number in known.missing:
        shard = cache.find(_shard_key(key, number))
        size = min(known.num_per_shard, num_rows - number * known.num_per_shard)
        if shard is not None and len(shard.tensors["maps"]) == size:
            _not_held(shard)
            known.shards[number] = shard
    return known


@dataclass
class StoredRows:
    """What `store_rows` computed.

    Args:
        rows: name → all rows.
        beside: name → all rows of what was computed beside, where that is not in the cache yet.
        seconds: that it took.
        is_small: it is in memory, and nothing was kept.
    """

    rows: dict[str, Rows]
    beside: Batch = field(default_factory=dict)
    seconds: float = 0.0
    is_small: bool = True

    @property
    def tensors(self) -> Batch:
        """The rows where they are small."""
        return {name: rows for name, rows in self.rows.items() if isinstance(rows, Tensor)}


@dataclass
class RowsToStore:
    """Rows that are to be computed.

    Args:
        num_rows: of the data set.
        batches: what computes them.
        what: they are of, in words.
        names: of the tensors of a batch that are wanted.
        beside: of others that a batch holds, and what they are called in an entry of their own; they are kept where
            there is room for both.
        extra: tensors that the first shard holds beside its rows.
        on_progress: called with the number of rows done.
    """

    num_rows: int
    batches: Batches
    what: str
    names: tuple[str, ...]
    beside: Mapping[str, str] = field(default_factory=dict)
    extra: Callable[[], Mapping[str, Tensor]] = dict
    on_progress: Callable[[int], None] | None = None


def store_rows(
    wanted: RowsToStore,
    cache: FeatureCache | None,
    *,
    key: str = _SCRATCH_KEY,
    key_beside: Callable[[], str] | None = None,
    known: KnownRows | None = None,
) -> StoredRows | None:
    """Compute rows: few stay in memory, many go to the cache, shard by shard, or to a temporary directory.

    Args:
        wanted: what to compute.
        cache: None: more rows than a shard holds go to a directory for temporary files, and are gone afterwards.
        key, key_beside: in the cache.
        known: what the cache has already; the rest is computed.

    Returns:
        None where the disk, or the cache's limit, has no room for them. It is logged.
    """
    if cache is not None:
        try:
            return _Run(wanted, cache, key, key_beside).run(known)
        except _NoRoomError:
            return None
        except _NotKeptError:
            pass  # the cache has said why; what was computed is computed again
    scratch = TemporaryDirectory(prefix="partcnn-", ignore_cleanup_errors=True)
    try:
        found = _Run(wanted, FeatureCache(Path(scratch.name)), _SCRATCH_KEY, None, scratch).run(None)
    except (_NoRoomError, _NotKeptError):
        scratch.cleanup()
        return None
    except BaseException:  # such as a picture that cannot be read
        scratch.cleanup()
        raise
    if os.name == "posix":
        scratch.cleanup()  # what is mapped stays as long as it is, and nothing is left by a process that is killed
    return found


class _NoRoomError(Exception):
    """Rows do not fit; it was logged."""


class _NotKeptError(Exception):
    """The cache cannot be written, or was emptied meanwhile; it was logged."""


class _Run:
    """One computation."""

    def __init__(
        self,
        wanted: RowsToStore,
        cache: FeatureCache,
        key: str,
        key_beside: Callable[[], str] | None,
        scratch: object = None,
    ) -> None:
        self._wanted, self._cache, self._scratch = wanted, cache, scratch
        self._key, self._key_beside = key, key_beside
        self._held: list[Batch] = []  # not written yet
        self._began = self._shard_began = time.monotonic()
        self._keeps_beside = False

    def run(self, known: KnownRows | None) -> StoredRows:
        wanted = self._wanted
        rows: Sequence[int] = range(wanted.num_rows) if known is None else known.missing_rows
        per_shard = 0 if known is None else known.num_per_shard  # 0: all rows are in memory
        done = 0
        for batch in wanted.batches(rows):
            self._held.append(batch)
            size = len(batch[wanted.names[0]])
            if not done:
                per_shard = per_shard or self._layout(batch, size)
                self._keeps_beside = bool(per_shard) and self._has_room_beside(batch, size)
            done += size
            last = rows[done - 1]
            if per_shard and ((last + 1) % per_shard == 0 or last + 1 == wanted.num_rows):
                self._write(last // per_shard)
            if wanted.on_progress is not None:
                wanted.on_progress(wanted.num_rows - len(rows) + done)
        if not per_shard:
            joined = _joined(self._held)
            own: dict[str, Rows] = {name: joined[name] for name in wanted.names}
            beside = {own_name: joined[name] for name, own_name in wanted.beside.items()}
            return StoredRows(own, beside, time.monotonic() - self._began)
        give_back_freed()
        found = known_rows(self._cache, self._key, wanted.num_rows)
        if found is None or found.missing:  # another process needed the room
            _log.warning("trunk features: what was kept in %s is gone already", self._cache.directory)
            raise _NotKeptError
        return StoredRows(
            {name: found.rows(name, self._scratch) for name in wanted.names}, {}, found.seconds, is_small=False
        )

    def _layout(self, batch: Batch, size: int) -> int:
        """Rows per shard, once the first batch says how large and slow they are; 0 where all fit into memory."""
        num_bytes = _bytes_of(batch, self._wanted.names) // size
        total, num_rows = num_bytes * self._wanted.num_rows, self._wanted.num_rows
        if num_rows > size:
            minutes = (time.monotonic() - self._began) * num_rows / size / 60
            place = f"in {self._cache.directory}" if total > SHARD_BYTES else "in memory"
            _log.info(
                "trunk features of %s: about %.2f GiB %s, %.1f minutes",
                self._wanted.what,
                total / 2**30,
                place,
                minutes,
            )
        if total <= SHARD_BYTES:
            return 0
        room = min(self._cache.max_bytes, _free_bytes(self._cache.directory))
        if total > room:
            _log.warning(
                "trunk features of %s: %.1f GiB, and there is room for %.1f (PARTCNN_CACHE_GIB, or the disk); pictures "
                "are decoded and passed through the trunk anew in every epoch, which takes longer",
                self._wanted.what,
                total / 2**30,
                room / 2**30,
            )
            raise _NoRoomError
        return max(1, SHARD_BYTES // num_bytes // BATCH_OF_PICTURES) * BATCH_OF_PICTURES

    def _has_room_beside(self, batch: Batch, size: int) -> bool:
        if self._key_beside is None or not self._wanted.beside:
            return False
        total = _bytes_of(batch, (*self._wanted.names, *self._wanted.beside)) // size * self._wanted.num_rows
        return total <= min(self._cache.max_bytes, _free_bytes(self._cache.directory))

    def _write(self, number: int) -> None:
        joined, now = _joined(self._held), time.monotonic()
        self._held = []
        names, seconds, self._shard_began = self._wanted.names, now - self._shard_began, now
        if self._keeps_beside:
            assert self._key_beside is not None
            beside = {own_name: joined[name] for name, own_name in self._wanted.beside.items()}
            self._cache.keep(_shard_key(self._key_beside(), number), beside, seconds)
        extra = self._wanted.extra() if number == 0 else {}
        own = {name: joined[name] for name in names}
        if not self._cache.keep(_shard_key(self._key, number), {**own, **extra}, seconds):
            raise _NotKeptError


def _shard_key(key: str, number: int) -> str:
    return f"{key}-{number:05d}"


def _joined(batches: Sequence[Batch]) -> Batch:
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _bytes_of(batch: Batch, names: Sequence[str]) -> int:
    return sum(batch[name].nbytes for name in names)


def _not_held(shard: CachedTensors) -> None:
    """All of a shard was read to be checked: its pages are given back."""
    give_back(mapped_ranges(list(shard.tensors.values())))


def _free_bytes(directory: Path) -> int:
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return shutil.disk_usage(directory).free
