"""Maps and part regions of pictures, kept until thresholds are known: in memory, then in a temporary file."""

import weakref
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile

import numpy as np
import torch
from torch import Tensor

MOST_BYTES = 2**26  # held in memory


class PictureSpool:
    """Writes pictures one after the other and reads them back in that order, in batches.

    Args:
        map_shape: (filter, row, col) of the bins of `metrics.functional.quantile`, which fit into 16 bits.
        region_shape: (part, grid row, grid col).
        most_bytes: beyond these the spool moves to a temporary file.
    """

    def __init__(
        self, map_shape: tuple[int, int, int], region_shape: tuple[int, int, int], *, most_bytes: int = MOST_BYTES
    ) -> None:
        self._file = SpooledTemporaryFile(max_size=most_bytes)  # noqa: SIM115
        self.close = weakref.finalize(self, self._file.close)  # at the latest when nobody needs it
        self._map_shape, self._region_shape = map_shape, region_shape
        self._num_region_bytes = -(-int(np.prod(region_shape)) // 8)
        self._record = np.dtype(
            [("index", "<i8"), ("label", "<i8"), ("bins", "<u2", map_shape), ("bits", "u1", (self._num_region_bytes,))]
        )

    def append(self, index: Tensor, labels: Tensor, bins: Tensor, regions: Tensor) -> None:
        """[image], [image], [image, filter, row, col] int32, [image, part, grid row, grid col] bool."""
        records = np.zeros(len(index), self._record)
        records["index"], records["label"] = index.numpy(), labels.numpy()
        records["bins"] = bins.numpy()
        records["bits"] = np.packbits(regions.flatten(1).numpy(), axis=1)
        self._file.write(records.tobytes())

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """What was appended, `size` pictures at a time."""
        self._file.seek(0)
        while content := self._file.read(size * self._record.itemsize):
            records = np.frombuffer(content, self._record)
            num_bits = int(np.prod(self._region_shape))
            bits = np.unpackbits(records["bits"], axis=1, count=num_bits).astype(bool)
            yield (
                torch.from_numpy(records["index"].astype(np.int64)),
                torch.from_numpy(records["label"].astype(np.int64)),
                torch.from_numpy(records["bins"].astype(np.int32)),
                torch.from_numpy(bits.reshape(-1, *self._region_shape)),
            )
