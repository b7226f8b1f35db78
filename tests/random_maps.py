"""Maps and labels drawn at random, the same for the same seed."""

import torch
from torch import Tensor


def random_maps(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).relu().to(dtype)


def random_belongs(num_images: int, num_filters: int, seed: int = 0) -> Tensor:
    return torch.rand(num_images, num_filters, generator=torch.Generator().manual_seed(seed)) < 0.5
