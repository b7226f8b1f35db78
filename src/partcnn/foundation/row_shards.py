"""Rows of a tensor that is too large for memory: several mapped files, read where a row is asked for."""

import math
import os
from collections.abc import Iterator, Sequence
from tempfile import NamedTemporaryFile
from typing import Any, TypeAlias

import torch
from torch import Tensor

from partcnn.foundation.system_memory import give_back, mapped_ranges

_MOST_IN_MEMORY = 2**28  # bytes of `large_zeros`
_RELEASE_BYTES = 2**21  # of rows that were read: then their pages are given back, and what the system read around them


class _Pages:
    """The mapped files that rows lie in, of all rows that were taken from these; counts what is read of them."""

    def __init__(self, shards: Sequence[Tensor]) -> None:
        self._ranges, self._num_bytes_read = mapped_ranges(shards), 0

    def note_read(self, num_bytes: int) -> None:
        self._num_bytes_read += num_bytes
        if self._num_bytes_read > _RELEASE_BYTES:
            self._num_bytes_read = 0
            give_back(self._ranges)


class RowShards:
    """Tensors that follow each other along their first axis and are never joined.

    It is read as a tensor is: `rows[images]`, `rows[images, views]`, `rows[3:7, :2]`. What comes is a tensor in memory,
    but for `rows[:, 0]` and the like: all rows, of which something is left out, are again shards that are not read yet.

    Args:
        shards: of equal shapes but for the first axis, at least one.
        is_mapped: they are mapped from files and never written to. Their pages are then given back to the system every
            2 MiB of rows: they would count as memory of this process for as long as nothing else needed it.
        keeps: what must live as long as the rows, such as a temporary directory.
    """

    device = torch.device("cpu")

    def __init__(
        self, shards: Sequence[Tensor], *, is_mapped: bool = False, keeps: object = None, rows: Tensor | None = None
    ) -> None:
        self._shards, self._keeps = list(shards), keeps
        self._pages = _Pages(self._shards) if is_mapped else None
        self._starts = [0]
        for shard in self._shards:
            self._starts.append(self._starts[-1] + len(shard))
        self._rows = rows  # of the shards, those that these are; None: all
        num_rows = self._starts[-1] if rows is None else len(rows)
        self.shape = torch.Size((num_rows, *self._shards[0].shape[1:]))
        self.dtype = self._shards[0].dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def num_bytes(self) -> int:
        """Of all rows."""
        return self.shape.numel() * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def of(self, rows: Tensor) -> "RowShards":
        """These rows alone, [row], in this order; nothing is read."""
        rows = rows if self._rows is None else self._rows[rows]
        return self._taken(self._shards, rows)

    def split(self, size: int) -> Iterator[Tensor]:
        """The rows, so many at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def __getitem__(self, index: Any) -> Any:
        first, *others = index if isinstance(index, tuple) else (index,)
        if isinstance(first, slice) and first == slice(None) and others:
            return self._taken([shard[(first, *others)] for shard in self._shards], self._rows)
        images = torch.arange(len(self))[first] if isinstance(first, slice) else torch.as_tensor(first)
        shape = torch.broadcast_shapes(images.shape, *(one.shape for one in others if isinstance(one, Tensor)))
        others = [one.expand(shape).flatten() if isinstance(one, Tensor) else one for one in others]
        found = self._gathered(images.expand(shape).flatten(), others)
        return found.view(*shape, *found.shape[1:])

    def _gathered(self, images: Tensor, others: list[Any]) -> Tensor:
        """Of each image one entry of the first axis."""
        images = images.where(images >= 0, images + len(self))
        if len(images) and not 0 <= int(images.min()) <= int(images.max()) < len(self):
            raise IndexError(f"row {int(images.max())} of {len(self)}")
        rows = images if self._rows is None else self._rows[images]
        found = self._shards[0][(rows[:0], *(one[:0] if isinstance(one, Tensor) else one for one in others))]
        found = found.new_empty(len(rows), *found.shape[1:])
        numbers = torch.bucketize(rows, torch.tensor(self._starts[1:]), right=True)
        for number in numbers.unique().tolist():
            where = (numbers == number).nonzero()[:, 0]
            inner = rows[where] - self._starts[number]
            own = (one[where] if isinstance(one, Tensor) else one for one in others)
            found[where] = self._shards[number][(inner, *own)]
            if self._pages is not None:
                self._pages.note_read(len(where) * self._shards[number][:1].nbytes)
        return found

    def _taken(self, shards: Sequence[Tensor], rows: Tensor | None) -> "RowShards":
        """Of the same files."""
        found = RowShards(shards, keeps=self._keeps, rows=rows)
        found._pages = self._pages
        return found


Rows: TypeAlias = Tensor | RowShards


def chosen_rows(rows: Rows, chosen: Tensor) -> Rows:
    """These rows alone: of shards nothing is read, of a tensor they are copied."""
    return rows.of(chosen) if isinstance(rows, RowShards) else rows[chosen]


def large_zeros(*shape: int) -> Tensor:
    """Zeros in float32: many of them in a temporary file that has no name, so that they need not stay in memory."""
    num_bytes = 4 * math.prod(shape)
    if num_bytes <= _MOST_IN_MEMORY or not hasattr(os, "posix_fallocate"):
        return torch.zeros(*shape)
    try:
        with NamedTemporaryFile(prefix="partcnn-") as file:
            os.posix_fallocate(file.fileno(), 0, num_bytes)  # a full disk would end the process when a page is written
            return torch.from_file(file.name, shared=True, size=math.prod(shape)).view(*shape)
    except OSError:
        return torch.zeros(*shape)
