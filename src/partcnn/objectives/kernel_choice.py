"""Whether an objective runs by Triton kernels: where one asks for it, Triton is there and the maps are on CUDA."""

import importlib.util
import os
from functools import cache

import torch
from torch import Tensor

from partcnn.errors import ConfigError
from partcnn.objectives.fused import Rule

_VARIABLE = "PARTCNN_TRITON"


def kernel_rule(name: str, maps: Tensor) -> Rule | None:
    """The kernels' rule for the objective of this name on these maps, or None: by torch.

    They are asked for by `PARTCNN_TRITON=1`. CPU maps take them only under Triton's own interpreter
    (`TRITON_INTERPRET=1`, set before anything imports Triton), which is slow and for tests. Within `torch.compile`,
    which makes kernels of the torch code, the answer is None.

    Raises:
        ConfigError: `PARTCNN_TRITON` is neither 0 nor 1, or 1 without Triton.
    """
    if torch.compiler.is_compiling() or not _is_asked_for():
        return None
    if not has_triton():
        raise ConfigError(f"{_VARIABLE}: expected 0 without Triton, got 1; pip install 'partcnn[triton]' (Linux)")
    from partcnn.objectives import kernel_rules  # imports Triton

    return kernel_rules.RULES[name] if kernel_rules.run_on(maps.device) else None


def _is_asked_for() -> bool:
    value = os.environ.get(_VARIABLE) or "0"
    if value not in ("0", "1"):
        raise ConfigError(f"{_VARIABLE}: expected 1 (Triton kernels on CUDA) or 0, got {value!r}")
    return value == "1"


@cache
def has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
