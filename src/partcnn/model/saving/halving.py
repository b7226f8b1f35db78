"""Weights in half the bytes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from partcnn.foundation.errors import WeightsError

STORED_IN = "stored_in"  # entry of config.json where tensors are kept in fewer bits than the network computes in
_LARGE = 1000  # numbers of a tensor: smaller ones, as means and variances, cost little and stay as they are


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of 1,000 numbers and more in 16 bits, if they are of floating point; the others as they are.

    Raises:
        WeightsError: a weight is too large for 16 bits.
    """
    found = {name: _halved(tensor) for name, tensor in tensors.items()}
    for name, tensor in found.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all() and torch.isfinite(tensors[name]).all():
            raise WeightsError(
                f"half: expected weights of at most 65,504, got larger ones in {name}; save with half=False"
            )
    return found


def _halved(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() and tensor.numel() >= _LARGE else tensor
