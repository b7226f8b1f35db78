"""Fitness of a map to every part template, s_T(x) = Σ_ij x_ij t_ij, in O(n) operations a cell.

A positive template of Zhang, Wu & Zhu (2018) is a constant and a cone of finite reach, d = ‖[i,j] − μ‖₁:

    t_ij = τ · max(1 − β d/n, −1) = τ · (k(d) − 1),    k(d) = max(2 − β d/n, 0), 0 from d = 2n/β on,

so s_μ(x) = τ · ((k ∗ x)_μ − Σ_ij x_ij): a convolution with the cone, a symmetric linear map of a map's cells. `Cones`
does it, by the bank of all n² cones (n² products a cell) on small maps and by a transform of the rows on large ones.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.objectives.templates import cell_distances

_LARGEST_BANK = 256  # cells: above this the transform is faster (docs/results/speed.md)


def template_fitness(
    feature_maps: Tensor,  # [image, filter, row, col]
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [image, filter, 1 + H·W]
    """s_T(x) = Σ_ij x_ij t_ij for T⁻ (first) and every T_μ (row-major); the paper writes tr(x·T).

    Args:
        feature_maps: activations ≥ 0; half precision is computed in float32.
        tau: height of the templates, used as given; a tensor has no axes.
        beta: slope of the templates; a tensor [filter] gives each filter its own.

    Raises:
        ShapeError: the maps do not have four axes, or no cell; or β has another number of filters.
        ConfigError: τ or β, as a number, is not positive.
    """
    maps = checked_maps(feature_maps)
    check_templates(tau, beta, maps.shape[1])
    flat = at_least_float32(maps).flatten(2)
    with in_full_precision(maps.device):
        negative = -flat.sum(dim=2, keepdim=True)
        positive = cones((maps.shape[2], maps.shape[3]), beta, like=flat).convolved(flat)
        return tau * torch.cat([negative, positive + negative], dim=2)


class BankOfCones(NamedTuple):
    """All cones of a small map."""

    bank: Tensor  # [cell, cell], or [filter, cell, cell]

    def convolved(self, flat: Tensor) -> Tensor:  # [image, filter, cell] -> the same
        """k ∗ x."""
        if self.bank.ndim == 2:
            return flat @ self.bank
        return torch.bmm(flat.transpose(0, 1), self.bank).transpose(0, 1)

    def of_filters(self, chosen: slice) -> "BankOfCones":
        """For some of the filters."""
        return self if self.bank.ndim == 2 else BankOfCones(self.bank[chosen])


class TransformedCones(NamedTuple):
    """The cone of a large map, its rows in the Hartley domain (cas = cos + sin), where a convolution is a product.

    A row of W cells is padded to `frequencies` W + reach, so that nothing wraps around; only columns are summed over
    pairs of cells. All three steps are matrix products, which carry the gradient and add no copy. The transform is
    orthogonal: rounding errors are not amplified.
    """

    transform: Tensor  # [frequency, col]
    spectrum: Tensor  # [frequency, row, row], or [filter, frequency, row, row]

    def convolved(self, flat: Tensor) -> Tensor:  # [image, filter, cell] -> the same
        """k ∗ x."""
        num_frequencies, width = self.transform.shape
        height = self.spectrum.shape[-1]
        if self.spectrum.ndim == 3:
            rows = self.transform @ flat.reshape(-1, width).T  # [frequency, image · filter · row]
            rows = torch.bmm(rows.view(num_frequencies, -1, height), self.spectrum)
            return (rows.view(num_frequencies, -1).T @ self.transform).view(flat.shape)
        rows = torch.einsum("kc,ifrc->fkir", self.transform, flat.unflatten(2, (height, width)))
        return torch.einsum("fkir,kc->ifrc", rows @ self.spectrum, self.transform).flatten(2)

    def of_filters(self, chosen: slice) -> "TransformedCones":
        """For some of the filters."""
        return self if self.spectrum.ndim == 3 else self._replace(spectrum=self.spectrum[chosen])


Cones = BankOfCones | TransformedCones  # with a method by name: torch.compile of torch 2.10 cannot call a tuple


def cones(size: tuple[int, int], beta: float | Tensor, *, like: Tensor) -> Cones:
    """The cones of slope β, or of each filter's, on maps of `size`, in the type and on the device of `like`."""
    return _bank(size, beta, like) if size[0] * size[1] <= _LARGEST_BANK else _transformed(size, beta, like)


def _bank(size: tuple[int, int], beta: float | Tensor, like: Tensor) -> BankOfCones:
    return BankOfCones(_cone(cell_distances(size, dtype=like.dtype, device=like.device), size, beta))


def _transformed(size: tuple[int, int], beta: float | Tensor, like: Tensor) -> TransformedCones:
    height, width = size
    reach = width if isinstance(beta, Tensor) else math.ceil(min(width, 2 * math.sqrt(height * width) / beta))
    length = width + reach - 1
    places = torch.arange(length, dtype=like.dtype, device=like.device)
    rows = torch.arange(height, device=like.device)
    # Whole numbers first, then radians between −π and π: nothing is rounded before the last factor.
    angles = ((torch.outer(places, places) + length // 2).remainder(length) - length // 2) * (2 * math.pi / length)
    transform = (angles[:, :width].cos() + angles[:, :width].sin()) / math.sqrt(length)
    col_gaps = torch.minimum(places, length - places)
    cone = _cone(rows.to(places)[:, None] + col_gaps, size, beta)  # [row gap, col], or [filter, row gap, col]
    by_gap = angles.cos() @ cone.mT  # [.., frequency, row gap]: an even function has no sines
    return TransformedCones(transform, by_gap[..., (rows[:, None] - rows).abs()])


def _cone(distances: Tensor, size: tuple[int, int], beta: float | Tensor) -> Tensor:
    if isinstance(beta, Tensor):
        beta = beta.to(distances)[:, None, None]
    return (2 - beta * distances / math.sqrt(size[0] * size[1])).clamp(min=0)


def check_templates(tau: float | Tensor, beta: float | Tensor, num_filters: int) -> None:
    """Raises where τ or β cannot be; the values of a tensor are not read, that would wait for the device."""
    if isinstance(tau, Tensor):
        if tau.ndim:
            raise ShapeError(f"tau: expected a number or a tensor without axes, got shape {tuple(tau.shape)}")
    elif not tau > 0:
        raise ConfigError(f"tau: expected a number above 0, got {tau}")
    if isinstance(beta, Tensor):
        if beta.shape != (num_filters,):
            raise ShapeError(f"beta: expected a number or [filter] = ({num_filters},), got {tuple(beta.shape)}")
    elif not beta > 0:
        raise ConfigError(f"beta: expected a number above 0, got {beta}")


def checked_maps(feature_maps: Tensor, belongs: Tensor | None = None) -> Tensor:
    """The maps as they are, if they are maps and `belongs` fits them."""
    if feature_maps.ndim != 4 or 0 in feature_maps.shape[2:]:
        raise ShapeError(
            "feature_maps: expected [image, filter, row, col] with at least one cell, "
            f"got shape {tuple(feature_maps.shape)}"
        )
    if belongs is not None and (belongs.shape != feature_maps.shape[:2] or belongs.dtype != torch.bool):
        raise ShapeError(
            f"belongs: expected bool [image, filter] = {tuple(feature_maps.shape[:2])}, "
            f"got {belongs.dtype} {tuple(belongs.shape)}"
        )
    return feature_maps


def in_full_precision(device: torch.device) -> torch.autocast:
    """Without autocast, which would take the products in half precision."""
    return torch.autocast(device.type, enabled=False)


def at_least_float32(maps: Tensor) -> Tensor:
    """Half precision would round the fitness."""
    return maps if maps.dtype == torch.float64 else maps.float()
