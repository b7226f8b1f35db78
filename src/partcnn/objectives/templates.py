"""Part templates, their prior, the peak of a map and the mask it selects.

Notation of Zhang, Wu & Zhu (2018), Sec. 3. A map x of H × W cells; n = √(H·W), which is the paper's n on
square maps; cells μ = [row, col], rows and columns counted in cells.
"""

import math

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError

NORMS = ("l1", "l2")


def template_bank(
    size: tuple[int, int],
    *,
    tau: float,
    beta: float = 4.0,
    norm: str = "l1",
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:  # [1 + H·W, H, W]
    """The negative template T⁻ and one positive template T_μ for every cell μ.

    T⁻: t_ij = −τ.   T_μ: t_ij = τ · max(1 − β‖[i,j] − μ‖ / n, −1).

    Args:
        size: (height, width) of the map in cells, each at least 1.
        tau: τ > 0, the height of a template. The paper's value is 0.5/n².
        beta: β > 0; a positive template crosses zero n/β cells from its peak.
        norm: "l1" (the paper's) or "l2" (its round variant).
        dtype, device: of the result; None takes torch's defaults.

    Returns:
        T⁻ first, then T_μ in row-major order of μ; values between −τ and τ.

    Raises:
        ConfigError: τ or β is not positive, or the norm is unknown.
        ShapeError: a side is below 1.
    """
    height, width = _checked_size(size)
    if not tau > 0:
        raise ConfigError(f"tau: expected a number above 0, got {tau}")
    positive = tau * (1 - _slope(size, beta) * cell_distances(size, norm=norm, dtype=dtype, device=device))
    positive = positive.clamp(min=-tau)
    negative = positive.new_full((1, height, width), -tau)
    return torch.cat([negative, positive.unflatten(1, size)])


def cell_distances(
    size: tuple[int, int],
    *,
    norm: str = "l1",
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:  # [H·W, H·W]
    """‖[i,j] − μ‖ in cells between every two cells of a map, both in row-major order."""
    height, width = _checked_size(size)
    if norm not in NORMS:
        raise ConfigError(f"norm: expected one of {', '.join(NORMS)}, got {norm!r}")
    rows = torch.arange(height, dtype=dtype or torch.get_default_dtype(), device=device)
    cols = torch.arange(width, dtype=dtype or torch.get_default_dtype(), device=device)
    row_gaps = (rows[:, None] - rows)[:, None, :, None]
    col_gaps = (cols[:, None] - cols)[None, :, None, :]
    gaps = (
        row_gaps.abs() + col_gaps.abs() if norm == "l1" else torch.hypot(*torch.broadcast_tensors(row_gaps, col_gaps))
    )
    return gaps.reshape(height * width, height * width)


def template_prior(
    size: tuple[int, int],
    *,
    alpha: float | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:  # [1 + H·W]
    """p(T): 1 − α for T⁻, then α/n² for each T_μ.

    Args:
        size: (height, width) of the map in cells.
        alpha: p(T⁺), between 0 and 1; None takes the paper's n²/(1+n²), every template equally likely.

    Raises:
        ConfigError: α is outside [0, 1].
    """
    height, width = _checked_size(size)
    num_cells = height * width
    if alpha is None:
        alpha = num_cells / (1 + num_cells)
    if not 0 <= alpha <= 1:
        raise ConfigError(f"alpha: expected a probability between 0 and 1, got {alpha}")
    prior = torch.full((1 + num_cells,), alpha / num_cells, dtype=dtype, device=device)
    prior[0] = 1 - alpha
    return prior


def map_peaks(feature_maps: Tensor) -> Tensor:  # [image, filter, row, col] -> [image, filter, 2]
    """The cell (row, col) of each map's largest value; on a tie the first in row-major order.

    A map that is zero everywhere has its peak at (0, 0).
    """
    _check_maps(feature_maps)
    index = feature_maps.flatten(2).argmax(dim=2)  # torch: the first of several largest
    width = feature_maps.shape[3]
    return torch.stack([index // width, index % width], dim=2)


def part_mask(feature_maps: Tensor, *, beta: float | Tensor = 4.0) -> Tensor:
    """max(x ∘ T_μ̂, 0) with μ̂ the peak of x: each map keeps what lies around its own peak.

    Zhang, Wu & Zhu (2018), Sec. 3, "masks". The template is taken with τ = 1: the paper's τ would shrink a
    14 × 14 map 392 times. Its support is the cells within n/β of the peak. As in the authors' code the mask
    is a constant in the backward pass: no gradient flows through μ̂.

    Args:
        feature_maps: [image, filter, row, col], after the ReLU, ≥ 0.
        beta: β > 0, the slope of the template; a tensor [filter] gives each filter its own.

    Returns:
        Maps of the same shape and type, between 0 and x; the value at the peak is unchanged.

    Raises:
        ShapeError: the maps do not have four axes, or no cell.
        ShapeError: a tensor β has another number of filters.
        ConfigError: β is a number and not positive. The values of a tensor are not read.
    """
    return feature_maps.clamp(min=0) * peak_templates(feature_maps, beta=beta)


def peak_templates(feature_maps: Tensor, *, beta: float | Tensor = 4.0) -> Tensor:
    """max(T_μ̂, 0) at τ = 1 for each map's own peak μ̂: [image, filter, row, col], without gradient.

    Built from row and column distances to the peak: no bank of n² templates is kept.
    """
    _check_maps(feature_maps)
    height, width = feature_maps.shape[2:]
    dtype, device = feature_maps.dtype, feature_maps.device
    if isinstance(beta, Tensor):
        if beta.shape != feature_maps.shape[1:2]:
            expected = f"a number or [filter] = {tuple(feature_maps.shape[1:2])}"
            raise ShapeError(f"beta: expected {expected}, got {tuple(beta.shape)}")
        slope: float | Tensor = (_slope((height, width), 1.0) * beta).to(dtype)[:, None, None]
    else:
        slope = _slope((height, width), beta)
    peaks = map_peaks(feature_maps.detach())
    row_gaps = (torch.arange(height, device=device)[:, None] - peaks[:, None, :, 0]).abs().to(dtype)
    col_gaps = (torch.arange(width, device=device)[:, None] - peaks[:, None, :, 1]).abs().to(dtype)
    if _has_filters_last(feature_maps):  # in memory, and the templates will too
        distances = (row_gaps[:, :, None] + col_gaps[:, None]).permute(0, 3, 1, 2)
    else:
        distances = row_gaps.mT.contiguous()[..., None] + col_gaps.mT.contiguous()[:, :, None]
    return distances.mul_(-slope).add_(1).relu_()  # not clamp_, for which vmap has no rule


def _has_filters_last(feature_maps: Tensor) -> bool:
    """By the strides; what vmap wraps cannot be asked for a memory format."""
    _, num_filters, height, width = feature_maps.shape
    return num_filters > 1 and feature_maps.stride()[1:] == (1, num_filters * width, num_filters) and height * width > 1


def _slope(size: tuple[int, int], beta: float) -> float:
    if not beta > 0:
        raise ConfigError(f"beta: expected a number above 0, got {beta}")
    return beta / math.sqrt(size[0] * size[1])


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = size
    if height < 1 or width < 1:
        raise ShapeError(f"size: expected (height, width) of at least (1, 1) cells, got {tuple(size)}")
    return height, width


def _check_maps(feature_maps: Tensor) -> None:
    if feature_maps.ndim != 4 or 0 in feature_maps.shape[2:]:
        raise ShapeError(
            "feature_maps: expected [image, filter, row, col] with at least one cell, "
            f"got shape {tuple(feature_maps.shape)}"
        )
