"""Weights in half the bytes."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from partcnn.foundation.errors import WeightsError

STORED_IN = "stored_in"  # entry of config.json where tensors are kept in fewer bits than the network computes in
_LARGE = 1000  # numbers of a tensor: smaller ones cost little and stay as they are
_LEAST = 2.0**-24  # in 16 bits; below half of it a number becomes 0


def halved(tensors: Mapping[str, Tensor], weights: Collection[str]) -> dict[str, Tensor]:
    """Weights of 1,000 numbers and more in 16 bits; all else of floating point, as running statistics, in 32.

    Args:
        tensors: the state of a network.
        weights: names of its parameters.

    Raises:
        WeightsError: a weight is too large for 16 bits, or the largest of a tensor too small.
    """
    found = {}
    for name, tensor in tensors.items():
        found[name] = tensor.float() if tensor.is_floating_point() else tensor
        if name in weights and tensor.is_floating_point() and tensor.numel() >= _LARGE:
            found[name] = _halved(name, tensor)
    return found


def _halved(name: str, tensor: Tensor) -> Tensor:
    half, largest = tensor.half(), float(tensor.abs().max())
    if not torch.isfinite(half).all() and torch.isfinite(tensor).all():
        raise WeightsError(f"half: expected weights of at most 65,504, got larger ones in {name}; save with half=False")
    if 0 < largest < 1000 * _LEAST:
        raise WeightsError(
            f"half: expected weights that 16 bits can tell apart, got at most {largest:.1g} in {name}; save with "
            "half=False"
        )
    return half
