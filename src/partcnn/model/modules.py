"""The layers of a part network beside the mask: convolution, head, and erasing."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError
from partcnn.model.mask import PartMask


class PartConv2d(nn.Conv2d):
    """A convolution of the same map size, its ReLU and its part mask: one interpretable layer.

    The paper's new layer above the top convolution is one of these: 3 × 3, stride 1.

    Args:
        in_channels, num_filters: of the convolution.
        num_classes: of the task.
        kernel_size: odd.
        mask_settings: keyword arguments of `PartMask`.
    """

    def __init__(
        self,
        in_channels: int,
        num_filters: int,
        num_classes: int,
        *,
        kernel_size: int = 3,
        **mask_settings: Any,
    ) -> None:
        if kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size: expected an odd number, got {kernel_size}")
        super().__init__(in_channels, num_filters, kernel_size, padding=kernel_size // 2)
        self.mask = PartMask(num_filters, num_classes, **mask_settings)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        """[image, channel, row, col] → masked maps [image, filter, row, col], ≥ 0."""
        return self.mask(F.relu(super().forward(input)))  # type: ignore[no-any-return]


class AdditiveHead(nn.Module):
    """Logits as a sum over filters: each map is pooled to a small grid, and all grids are weighed linearly.

    logit_c = bias_c + Σ_f contribution_cf,   contribution_cf = Σ_g weight_cfg · pooled_fg.

    Args:
        num_filters, num_classes: at least 1.
        grid: cells per side after average pooling; 1 gives a filter one number. On a map smaller than the grid
            adaptive pooling repeats cells.
    """

    def __init__(self, num_filters: int, num_classes: int, *, grid: int = 7) -> None:
        super().__init__()
        if grid < 1:
            raise ConfigError(f"grid: expected at least 1, got {grid}")
        self.grid = grid
        self.weight = nn.Parameter(torch.empty(num_classes, num_filters, grid, grid))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        bound = 1 / math.sqrt(num_filters * grid * grid)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, masked_feature_maps: Tensor) -> Tensor:  # [image, filter, row, col] -> [image, class]
        """The logits."""
        pooled = F.adaptive_avg_pool2d(masked_feature_maps, self.grid)
        return F.linear(pooled.flatten(1), self.weight.flatten(1), self.bias)

    def contributions(self, masked_feature_maps: Tensor) -> Tensor:  # -> [image, class, filter]
        """Each filter's share of each logit; their sum over filters plus the bias is the logit."""
        pooled = F.adaptive_avg_pool2d(masked_feature_maps, self.grid)
        return torch.einsum("ifhw,cfhw->icf", pooled, self.weight.to(pooled))

    def contribution_maps(self, masked_feature_maps: Tensor) -> Tensor:  # -> [image, class, filter, row, col]
        """What each cell adds to each logit through each filter; their sum over the cells is `contributions`."""
        rows, cols = masked_feature_maps.shape[2:]
        cells = torch.eye(rows * cols).to(masked_feature_maps).view(-1, 1, rows, cols)
        pooled = F.adaptive_avg_pool2d(cells, self.grid)[:, 0]  # [cell, row, col]: where a cell alone would go
        weights = torch.einsum("nhw,cfhw->cfn", pooled, self.weight.to(pooled))
        return masked_feature_maps[:, None] * weights.view(*weights.shape[:2], rows, cols)


class MapErasing(nn.Module):
    """In training, a rectangle of a random half or so of the maps is set to 0, in all channels alike.

    Random erasing (Zhong et al., 2020) on maps in place of pictures, so that it works on features computed once:
    no single place may decide. Sides are 1/7 to 1/2 of the map's, the middle is anywhere.

    Args:
        share: of the images that lose a rectangle, in [0, 1].
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        if not 0 <= share <= 1:
            raise ConfigError(f"erasing: expected a share in [0, 1], got {share}")
        self.share = share

    def forward(self, maps: Tensor) -> Tensor:  # [image, channel, row, col]
        if not self.training or self.share == 0:
            return maps
        rows, cols = (self._inside(len(maps), size, maps) for size in maps.shape[2:])
        is_chosen = torch.rand(len(maps), 1, 1, device=maps.device) < self.share
        is_erased = rows[:, :, None] & cols[:, None, :] & is_chosen
        return maps.masked_fill(is_erased[:, None], 0)

    @staticmethod
    def _inside(num_images: int, size: int, like: Tensor) -> Tensor:  # [image, cell] bool
        side, middle = torch.rand(2, num_images, 1, device=like.device)
        half = (1 / 7 + side * (1 / 2 - 1 / 7)) / 2
        places = (torch.arange(size, device=like.device) + 0.5) / size
        inside: Tensor = (places - middle).abs() < half
        return inside

    def extra_repr(self) -> str:
        return f"share={self.share:g}"
