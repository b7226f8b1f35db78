"""Non-negative matrix factorisation of cells: deep feature factorisation (Collins et al., 2018)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HARD = 100.0  # brings scores to where a softmax gives a cell to the best one alone
_NMF_ROUNDS, _CELL_ROUNDS = 200, 50  # of multiplicative updates: of the components, and of one cell's shares
_TINY = 1e-12


class NonNegativeScores(nn.Module):
    """100 log h at every cell, where h ≥ 0 minimises ‖x − h B‖², x = ReLU([z, −z]): a cell is its largest h's alone.

    Args:
        basis: B, [component, 2 · channel], ≥ 0.
    """

    basis: Tensor

    def __init__(self, basis: Tensor) -> None:
        super().__init__()
        self.register_buffer("basis", F.normalize(basis, dim=1))

    def forward(self, features: Tensor) -> Tensor:  # [image, channel, row, col] → [image, component, row, col]
        towards = F.conv2d(both_signs(features), self.basis[..., None, None])
        gram = (self.basis @ self.basis.T)[..., None, None]
        found = towards
        for _ in range(_CELL_ROUNDS):
            found = found * towards / F.conv2d(found, gram).clamp(min=_TINY)
        return HARD * found.clamp(min=_TINY).log()


def both_signs(maps: Tensor) -> Tensor:  # [image or cell, channel, …] → twice the channels, ≥ 0
    """Principal components have either sign: the ReLU of the maps and of their negative, which loses nothing."""
    return torch.cat([maps, -maps], dim=1).relu()


def factorised(cells: Tensor, num_components: int, generator: torch.Generator) -> Tensor:  # [component, channel]
    """B of the non-negative H B that is nearest to cells [cell, channel] ≥ 0, by Lee & Seung's updates (2001)."""
    held = torch.rand(len(cells), num_components, generator=generator)
    basis = torch.rand(num_components, cells.shape[1], generator=generator)
    for _ in range(_NMF_ROUNDS):
        held = held * (cells @ basis.T) / (held @ (basis @ basis.T)).clamp(min=_TINY)
        basis = basis * (held.T @ cells) / (held.T @ held @ basis).clamp(min=_TINY)
    return basis
