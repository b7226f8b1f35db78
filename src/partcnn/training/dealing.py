"""The pass over pictures that an evaluation needs, dealt out among the devices that trained.

The first process asks for the trunk's maps of some pictures. Rank r of W makes batches r, r + W, r + 2 W, … of 16, and
the first takes them in the order of one process, so that every picture counts once, whatever their number, and figures
are the same bit by bit. What is sent is a batch's maps and whole pictures' names, never the pictures.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import distributed, nn

from partcnn.datasets import PartDataset, Sample
from partcnn.foundation.errors import PartCNNError
from partcnn.model.network import PartNetwork, conversion_of, unwrapped
from partcnn.training.devices import telling_of_lost_devices, waiting_group
from partcnn.training.feature_shards import Batch, Batches
from partcnn.training.features import BATCH_OF_PICTURES, batches_of_pictures


class Dealer:
    """The first process' side; of one process alone it deals nothing out."""

    def __init__(self, group: Any = None) -> None:
        self._group, self._is_passing = group, False

    @property
    def has_others(self) -> bool:
        """Whether there is somebody to deal to."""
        return self._group is not None

    def dealt(self, batches: Batches, samples: Sequence[Sample]) -> Batches:
        """The same batches, of which this process makes its share.

        Args:
            batches: of rows of the samples, as `batches_of_pictures` makes them.
            samples: the pictures.
        """
        return self._passes(batches, samples) if self.has_others else batches

    def _passes(self, batches: Batches, samples: Sequence[Sample]) -> Batches:
        def made(rows: Sequence[int]) -> Iterator[Batch]:
            shares = dealt_rows(rows, distributed.get_world_size())
            rounds = -(-len(shares[0]) // BATCH_OF_PICTURES)
            told = [(rounds, [samples[row] for row in share]) for share in shares]
            distributed.scatter_object_list([None], told, src=0, group=self._group)
            self._is_passing = True
            own = _in_rounds(batches(shares[0]), rounds)
            try:
                for _ in range(rounds):
                    _said(True, self._group)
                    for batch in _gathered(next(own), self._group):
                        if isinstance(batch, Exception):
                            raise batch
                        if batch is not None:
                            yield batch
                self._is_passing = False
            finally:
                self._stop_passing()

        return made

    def close(self) -> None:
        """The others are not needed any more."""
        if self.has_others:
            self._stop_passing()
            distributed.scatter_object_list([None], [None] * distributed.get_world_size(), src=0, group=self._group)

    def _stop_passing(self) -> None:
        """What is left of a pass is not wanted."""
        if self._is_passing:
            self._is_passing = False
            _said(False, self._group)


@contextmanager
def dealing(model: nn.Module) -> Iterator[Dealer]:
    """What the first process does in it is helped by the others, which are in `help_measuring` meanwhile.

    Args:
        model: what was trained; its weights are told to the others, whose running statistics may differ.
    """
    group = waiting_group()
    dealer = Dealer(group)
    if group is not None:
        weights = {name: value.cpu() for name, value in unwrapped(model).state_dict().items()}
        distributed.broadcast_object_list([weights], src=0, group=group)
    with telling_of_lost_devices():
        try:
            yield dealer
        finally:
            dealer.close()


@telling_of_lost_devices()
def help_measuring(model: nn.Module, dataset: PartDataset, *, num_workers: int = 0) -> None:
    """Make what the first process deals to this one, until it closes.

    Args:
        model: as it was trained here.
        dataset: of the training; which pictures are wanted the first process says.
        num_workers: processes that decode pictures.
    """
    group, weights, network = waiting_group(), [None], unwrapped(model)
    distributed.broadcast_object_list(weights, src=0, group=group)
    network.load_state_dict(weights[0])  # type: ignore[arg-type]
    network.eval()
    while True:
        told: list[Any] = [None]
        distributed.scatter_object_list(told, None, src=0, group=group)
        if told[0] is None:
            return
        rounds, samples = told[0]
        assert isinstance(network, PartNetwork)
        trunk, preprocessing = nn.Sequential(network.trunk, network.projection), conversion_of(model).preprocessing
        pictures = dataset.with_samples(samples)
        made = batches_of_pictures(trunk, pictures, preprocessing, range(len(samples)), num_workers=num_workers)
        own = _in_rounds(made, rounds)
        for _ in range(rounds):
            if not _said(None, group):
                break
            _gathered(next(own), group)


def dealt_rows(rows: Sequence[int], num_ranks: int) -> list[list[int]]:
    """The rows of each rank: batches of 16 by turns, in order."""
    batches = [rows[start : start + BATCH_OF_PICTURES] for start in range(0, len(rows), BATCH_OF_PICTURES)]
    return [[row for batch in batches[rank::num_ranks] for row in batch] for rank in range(num_ranks)]


def _in_rounds(batches: Iterator[Batch], rounds: int) -> Iterator[Batch | Exception | None]:
    """One a round; None where there are no more, and after a failure, which is told in place of the batch."""
    try:
        for batch in batches:
            rounds -= 1
            yield batch
    except PartCNNError as error:
        rounds -= 1
        yield error
    except Exception as error:  # of a library: it may not be one that can be sent
        rounds -= 1
        yield RuntimeError(f"{type(error).__name__}: {error}")
    for _ in range(rounds):
        yield None


def _gathered(batch: Any, group: Any) -> list[Any]:
    """What all ranks have, on the first; the others get nothing."""
    is_first = distributed.get_rank() == 0
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.gather_object(batch, found if is_first else None, dst=0, group=group)
    return found if is_first else []


def _said(word: bool | None, group: Any) -> bool:
    """What the first process says to all."""
    told = [word]
    distributed.broadcast_object_list(told, src=0, group=group)
    return bool(told[0])
