"""A part layer whose filters compete for every cell, and a head that sums what each of them holds.

Both are ours; docs/results has what was measured. The losses are in `partcnn.objectives.competing`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError, ShapeError

_SHARPNESS = 6.0  # of the first shares: nats between a prototype and one at the mean squared distance of two
_SCORE_STD = 0.5  # of the first scores beside the prototypes'


class CompetingScores(nn.Module):
    """Scores of K filters and a rest at every cell; the softmax over them says whose the cell is.

        s = W₂ ∗ ReLU(W₁ z) + P z,    W₁ 1 × 1, W₂ 3 × 3, P 1 × 1

    Args:
        in_channels: of the features z.
        num_filters: K, at least 1.
        width: channels of ReLU(W₁ z).
    """

    def __init__(self, in_channels: int, num_filters: int, *, width: int = 64) -> None:
        super().__init__()
        if num_filters < 1:
            raise ConfigError(f"filters: expected at least 1, got {num_filters}")
        self.hidden = nn.Conv2d(in_channels, width, 1)
        self.context = nn.Conv2d(width, num_filters + 1, 3, padding=1)
        self.prototypes = nn.Conv2d(in_channels, num_filters + 1, 1)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu")
        nn.init.normal_(self.context.weight, std=_SCORE_STD / math.sqrt(9 * width))
        nn.init.orthogonal_(self.prototypes.weight)  # until `set_prototypes`: equal scores would have no gradient
        for layer in (self.hidden, self.context, self.prototypes):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:  # [image, channel, row, col] → [image, K + 1, row, col]
        """The scores, the rest's last."""
        return self.context(F.relu(self.hidden(features))) + self.prototypes(features)  # type: ignore[no-any-return]

    @torch.no_grad()
    def set_prototypes(self, clusters: Tensor, rest: Tensor) -> None:
        """Start P at clusters of cells: P z = −6 ‖z − p‖² / (mean squared distance of two prototypes), less ‖z‖².

        Args:
            clusters: [K, channel], one for each filter.
            rest: [channel], of what is no object.

        Raises:
            ShapeError: another number of clusters or channels.
        """
        num_scores, num_channels = self.prototypes.weight.shape[:2]
        if clusters.shape != (num_scores - 1, num_channels) or rest.shape != (num_channels,):
            raise ShapeError(
                f"clusters, rest: expected {[num_scores - 1, num_channels]} and {[num_channels]}, "
                f"got {list(clusters.shape)} and {list(rest.shape)}"
            )
        points = torch.cat([clusters, rest[None]]).to(self.prototypes.weight)
        squared = (points[:, None] - points).square().sum(dim=2)
        scale = _SHARPNESS / (squared.sum() / (len(points) * (len(points) - 1)))
        self.prototypes.weight.copy_((2 * scale * points)[..., None, None])
        assert self.prototypes.bias is not None
        self.prototypes.bias.copy_(-scale * points.square().sum(dim=1))


class SumOfParts(nn.Module):
    """Logits as an exact sum over parts and the surroundings: what each filter, and none, holds of the features.

        logit = b + Σ_k ⟨W + W_k, v_k⟩,    v_k = [ Σ_c a_k(c) g(c) / (5 √(m_k + 1)),  m_k / (m_k + 1) ],
        g = ReLU(V ∗ z),    m_k = Σ_c a_k(c)

    k runs over the filters and the rest, a_rest = 1 − Σ_k a_k, which comes last. W is shared by all. V is 3 × 3, at
    half the maps' resolution, to which z is averaged and a summed.

    Args:
        in_channels: of the features z.
        num_filters, num_classes: at least 1.
        values: channels of g.
        dropout: share of the channels of z, and of the components of v, dropped in training.
    """

    def __init__(
        self, in_channels: int, num_filters: int, num_classes: int, *, values: int = 48, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.channel_dropout, self.dropout = nn.Dropout2d(dropout), nn.Dropout(dropout)
        self.value = nn.Conv2d(in_channels, values, 3, padding=1)
        self.weight = nn.Parameter(torch.zeros(num_classes, num_filters + 1, values + 1))
        self.shared_weight = nn.Parameter(torch.zeros(num_classes, 1, values + 1))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """New weights of V; all others 0."""
        nn.init.kaiming_normal_(self.value.weight, nonlinearity="relu")
        for zero in (self.value.bias, self.weight, self.shared_weight, self.bias):
            assert zero is not None
            nn.init.zeros_(zero)

    def forward(self, shares: Tensor, features: Tensor) -> Tensor:  # → [image, class]
        """Logits in the features' type, of shares [image, filter, row, col] and features [image, channel, row, col]."""
        held = self.dropout(self.held(shares, features))
        logits = torch.einsum("ikd,ckd->ic", held, self._weights(held)) + self.bias.to(held)
        return logits.to(features.dtype)

    def contributions(self, shares: Tensor, features: Tensor) -> Tensor:  # → [image, class, filter + 1]
        """What each filter adds to each logit, and last the surroundings; with the bias they sum to it."""
        held = self.held(shares, features)
        return torch.einsum("ikd,ckd->ick", held, self._weights(held))

    def contribution_maps(self, shares: Tensor, features: Tensor) -> Tensor:  # → [image, class, filter + 1, row, col]
        """What each cell adds to each logit through each filter, and last through the surroundings.

        Σ_c over the cells gives `contributions`, exactly, the masses m_k being given:

            a_k(c) · ( ⟨W + W_k, g(c)⟩ / (5 √(m_k + 1)) + (W + W_k)_mass / (m_k + 1) )
        """
        shares, summed, values = self._read(shares, features)
        mass = summed.sum(dim=(2, 3))[:, None, :, None, None]
        weights = self._weights(values)
        of_values = torch.einsum("ckd,idhw->ickhw", weights[..., :-1], values) / (5 * (mass + 1).sqrt())
        of_cells = of_values + weights[None, :, :, -1, None, None] / (mass + 1)
        fine = of_cells.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4)
        return fine[..., : shares.shape[2], : shares.shape[3]] * shares[:, None]

    def held(self, shares: Tensor, features: Tensor) -> Tensor:  # → [image, filter + 1, values + 1]
        """v_k: what each filter holds, and how much; last what none does."""
        _, summed, values = self._read(shares, features)
        mass = summed.sum(dim=(2, 3))[..., None]
        pooled = torch.einsum("ikhw,idhw->ikd", summed, values) / (5 * (mass + 1).sqrt())
        return torch.cat([pooled, mass / (mass + 1)], dim=2)

    def _read(self, shares: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a with the rest [image, filter + 1, row, col]; its sums over 2 × 2 cells, and g, at half the resolution."""
        rest = (1 - shares.sum(dim=1, keepdim=True)).clamp(min=0)
        shares = torch.cat([shares, rest], dim=1)
        coarse = _halved(features) / _halved(torch.ones_like(features[:1, :1]))
        values = F.relu(self.value(self.channel_dropout(coarse)))
        summed = 4 * _halved(shares)
        return shares, summed, values.to(summed)

    def _weights(self, like: Tensor) -> Tensor:
        return (self.weight + self.shared_weight).to(like)


def _halved(maps: Tensor) -> Tensor:
    """Means over 2 × 2 cells; beyond the edge of an odd side there are zeros. ONNX has no pooling by sums."""
    height, width = maps.shape[2:]
    return F.avg_pool2d(F.pad(maps, (0, width % 2, 0, height % 2)), 2)
