"""One training on several devices: Lightning starts the processes and means the gradients; this is what goes around it.

Every process has all pictures' maps, takes its share of each batch, and takes the same steps. Where filters start
follows from all pictures and the seed, so it is the same everywhere; besides, the first process' weights are sent to
all.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import lightning as L
import torch
from torch import distributed

from partcnn.foundation.errors import ConfigError, DeviceError
from partcnn.foundation.processes import started_processes

_T = TypeVar("_T")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
_LONGEST_WAIT = timedelta(days=7)  # for the first process, which makes features of all pictures
_APART = 1_000_003  # seeds of the ranks' dropout
_LOST = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset|refused)|Broken pipe|ProcessGroup|c10d|timed out")


class Devices(NamedTuple):
    """What a Lightning Trainer is told, see `chosen_devices`."""

    num: int = 1
    num_nodes: int = 1
    strategy: str = "auto"

    @property
    def several(self) -> bool:
        return self.num * self.num_nodes > 1

    @property
    def with_unused_weights(self) -> "Devices":
        """For a training that leaves some weights alone that might learn."""
        return self._replace(strategy=STRATEGIES[-1]) if self.several else self

    @property
    def of_trainer(self) -> dict[str, Any]:
        """Arguments of the Trainer."""
        return {
            "devices": self.num,
            "num_nodes": self.num_nodes,
            "strategy": self.strategy,
            "sync_batchnorm": self.several and torch.cuda.is_available(),  # of a trunk that learns; torch has it there
            "use_distributed_sampler": False,  # batches are shared out here, so that every picture counts once
        }


def chosen_devices(devices: int, num_nodes: int, strategy: str) -> Devices:
    """What is asked for; left at one device, what torchrun has started.

    Raises:
        ConfigError: below 1, an unknown strategy, or another number of processes than torchrun or SLURM has started.
    """
    for name, value in (("devices", devices), ("num_nodes", num_nodes)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name}: expected a whole number of at least 1, got {value!r}")
    if strategy not in STRATEGIES:
        raise ConfigError(
            f"strategy: expected one of {', '.join(STRATEGIES)}, which keep a whole network on each device, "
            f"got {strategy!r}"
        )
    chosen, started = Devices(devices, num_nodes, strategy), started_processes()
    if started is None:
        if _has_group() and distributed.get_world_size() != devices * num_nodes:
            raise ConfigError(
                f"devices, num_nodes: expected {distributed.get_world_size()} processes in all, as torch.distributed's "
                f"group has, got {devices} × {num_nodes}; fit forms the group itself where there is none"
            )
        return chosen
    if not chosen.several and started.num_of_host is not None:
        return chosen._replace(num=started.num_of_host, num_nodes=started.num_processes // started.num_of_host)
    if devices * num_nodes != started.num_processes:
        raise ConfigError(
            f"devices, num_nodes: expected {started.num_processes} processes in all, as {started.launcher} has "
            f"started, got {devices} × {num_nodes}"
        )
    return chosen


def join_devices(trainer: L.Trainer, seed: int) -> None:
    """Have the processes of a training there, and in one group; what is random in a step is each one's own.

    The group stays: a second one could not be formed under torchrun, and a second training finds it.
    """
    if trainer.world_size == 1:
        return
    launcher = trainer.strategy.launcher
    if launcher is not None:
        launcher.launch(lambda: None)  # starts the others, unless torchrun or SLURM has
    trainer.strategy.setup_environment()
    os.environ.pop("PL_GLOBAL_SEED", None)  # with which Lightning would seed all ranks alike when a training starts
    torch.manual_seed(seed + _APART * trainer.global_rank)


def leave_devices() -> None:
    """Leave the group that `join_devices` formed, before the process ends.

    Threads of the group that are still there abort a process that ends now and then, after all its work; torchrun then
    ends the others, which may not have saved theirs.
    """
    if _has_group():
        distributed.destroy_process_group()


def share_of(trainer: L.Trainer) -> tuple[int, int]:
    """(rank, number of ranks)."""
    return trainer.global_rank, trainer.world_size


@contextmanager
def first_of_host_first(trainer: L.Trainer, *, is_kept: bool) -> Iterator[None]:
    """Within it the first process of each host makes what it keeps, and then the others find it there.

    Args:
        is_kept: False: nothing is kept, and each makes its own.
    """
    if trainer.world_size == 1 or not is_kept:
        yield
        return
    waiting = waiting_group()
    if trainer.local_rank > 0:
        distributed.barrier(waiting)
    yield
    if trainer.local_rank == 0:
        distributed.barrier(waiting)
    distributed.barrier(waiting)


def waiting_group() -> Any:
    """All processes, of whom some may wait long for others; None where this is the only one. All of them form it."""
    if not _has_group() or distributed.get_world_size() == 1:
        return None
    return distributed.new_group(backend="gloo", timeout=_LONGEST_WAIT)


@contextmanager
def telling_of_lost_devices() -> Iterator[None]:
    """What torch says of a connection that another process no longer holds is told in a sentence.

    Raises:
        DeviceError: in its place.
    """
    try:
        yield
    except RuntimeError as error:
        if not (_has_group() and _LOST.search(str(error))):
            raise
        raise DeviceError(
            "devices: another process of this training has ended, or cannot be reached, and the others end with it; "
            "its own words say why. What was saved last stays: start the training again, on all hosts"
        ) from error


def agreed(values: _T) -> _T:
    """The first process' values, on all."""
    if not _has_group():
        return values
    told: list[_T] = [values]
    distributed.broadcast_object_list(told, src=0)
    return told[0]


def _has_group() -> bool:
    return distributed.is_available() and distributed.is_initialized()
