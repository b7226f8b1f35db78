"""Which process of a training this is, by what launchers say in the environment. Costs no torch."""

import os
from typing import NamedTuple

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


class Started(NamedTuple):
    """The processes that a launcher has started for one training."""

    launcher: str
    num_processes: int
    num_of_host: int | None  # on this host; None: the launcher does not say


def is_first_process() -> bool:
    """Whether this is the one that writes and speaks: the first of all, or the only one."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)


def started_processes() -> Started | None:
    """By torchrun or SLURM; None: by neither."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return Started("torchrun", int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    if "SLURM_PROCID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return Started("srun", int(os.environ.get("SLURM_NTASKS", "1")), None)
    return None
