"""PDiscoNet's layer, head and losses (van der Klis et al., ICCV 2023), on maps of a frozen trunk.

Written from the formulas, with the published weights. A cell z is embedded, g = W z, and shared by a softmax among K
parts and a background, which comes last:

    a_k = exp −‖g − p_k‖² / Σ_j exp −‖g − p_j‖²,    v_k = mean over cells of a_k g

A class's logit is b + mean over the K parts of ⟨w, v_k ⊙ m_k⟩, m_k learned; in training each part is left out with
probability .3. Theirs is 2 · cross-entropy + 1000 · concentration + orthogonality + presence + equivariance. Here the
cross-entropy weighs 1, as in our loop, and all others half of that.

What is ours: the trunk stays as it is, the logits have a bias, and pictures without an object have the cross-entropy
alone. Scales are ours, too, since our loop has some hundred steps and theirs many thousand: g starts with a variance of
1, and parts are summed, each (K + 1) v_k, in place of their small mean, by which the classifier learned next to nothing
(dogs against background: an accuracy of 77 %, that of always saying "background").
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.model.competing_mask import CompetingMask
from partcnn.model.competing_network import CompetingNetwork
from partcnn.objectives.competing import per_unit_mass
from partcnn.objectives.equivariance import in_pictures, mean_positions
from partcnn.objectives.object_cells import carried_into_views
from partcnn.objectives.values import ObjectiveValue, value_of
from partcnn.training.projection import COMPONENT_VARIANCE

FILTER_LOSS_WEIGHT = EQUIVARIANCE_WEIGHT = 0.5  # a cross-entropy of 1 to their 2
_CONCENTRATION = 1000.0
_PART_DROPOUT = 0.3
_GAIN = COMPONENT_VARIANCE**-0.5  # embedded cells start with a variance of 1, as a batch norm gives theirs
_POOLED = 3  # cells a side, of presence


def put_pdisconet_on(model: CompetingNetwork) -> None:
    """Put PDiscoNet's layer, losses and head in place of ours; the number of parts stays."""
    layer, num_channels = model.layer_of_parts, model.layer_of_parts.scores.hidden.in_channels
    before = layer.mask
    scores = PrototypeScores(num_channels, before.num_filters)
    layer.scores = scores
    layer.mask = PDiscoMask(scores.embedding, before)
    model.head = ModulatedHead(scores.embedding, before.num_filters, before.num_classes)


class PrototypeScores(nn.Module):
    """−‖g − p_k‖², less −‖g‖², which a softmax over k does not see."""

    def __init__(self, num_channels: int, num_parts: int) -> None:
        super().__init__()
        self.embedding = nn.Conv2d(num_channels, num_channels, 1, bias=False)
        nn.init.orthogonal_(self.embedding.weight, gain=_GAIN)
        self.prototypes = nn.Parameter(torch.empty(num_parts + 1, num_channels))
        nn.init.kaiming_uniform_(self.prototypes, a=5**0.5)  # that of a 1 × 1 convolution, which theirs is

    def forward(self, features: Tensor) -> Tensor:  # [image, channel, row, col] → [image, K + 1, row, col]
        bias = -self.prototypes.square().sum(dim=1)
        return F.conv2d(self.embedding(features), 2 * self.prototypes[..., None, None], bias)


class ModulatedHead(nn.Module):
    """One linear classifier of every part's modulated vector (K + 1) v_k ⊙ m_k, summed over parts.

    Args:
        embedding: z → g, that of the scores.
        num_parts, num_classes: at least 1.
    """

    def __init__(self, embedding: nn.Conv2d, num_parts: int, num_classes: int) -> None:
        super().__init__()
        self.embedding = embedding
        self.modulation = nn.Parameter(torch.ones(num_parts, embedding.out_channels))
        self.classifier = nn.Linear(embedding.out_channels, num_classes)

    def forward(self, shares: Tensor, features: Tensor) -> Tensor:  # → [image, class]
        return self.bias + self._of_parts(shares, features).sum(dim=1)

    def contributions(self, shares: Tensor, features: Tensor) -> Tensor:  # → [image, class, K + 1]
        """What each part adds to each logit; the last, of the surroundings, is 0."""
        return F.pad(self._of_parts(shares, features).transpose(1, 2), (0, 1))

    @property
    def bias(self) -> Tensor:
        return self.classifier.bias

    def _of_parts(self, shares: Tensor, features: Tensor) -> Tensor:  # [image, K, class]
        even = shares.shape[1] + 1  # brings the vector of a part with an even share of the cells to their mean
        vectors = even * part_vectors(shares, self.embedding(features)) * self.modulation
        kept = F.dropout(torch.ones_like(vectors[..., :1]), _PART_DROPOUT, self.training)
        return (vectors * kept) @ self.classifier.weight.T


class PDiscoMask(CompetingMask):
    """Records what ours does, and gives PDiscoNet's losses of the pictures with an object.

    Args:
        embedding: z → g, that of the scores.
        like: a mask with the same filters, classes and background.
    """

    def __init__(self, embedding: nn.Conv2d, like: CompetingMask) -> None:
        super().__init__(like.num_filters, like.num_classes, embedding.in_channels, background=like.background)
        self.embedding = embedding

    def filter_objective(self, labels: Tensor, objective: str | None = None) -> ObjectiveValue:
        """1000 · concentration + orthogonality + presence."""
        maps = self._recorded(labels)
        is_object = self._is_object(labels)
        if not is_object.any():
            return value_of((maps.sum() * 0).expand(self.num_filters))
        assert self._log_shares is not None
        assert self._features is not None
        shares = self._log_shares[is_object].exp()
        vectors = part_vectors(shares, self.embedding(self._features[is_object]))
        terms = {
            "concentration": _CONCENTRATION * concentration_loss(shares[:, :-1]),
            "orthogonality": orthogonality_loss(vectors),
            "presence": presence_loss(shares[:, :-1]),
        }
        return value_of(sum(terms.values(), maps.sum() * 0).expand(self.num_filters), **terms)

    def equivariance(self, labels: Tensor, frames: Tensor, centers: tuple[Tensor, Tensor]) -> Tensor:  # [filter]
        """See `equivariance_loss`."""
        maps, is_object = self._recorded(labels), self._is_object(labels)
        if not is_object.any():
            return (maps.sum() * 0).expand(self.num_filters)
        return equivariance_loss(maps[is_object], frames[is_object], centers)


def part_vectors(shares: Tensor, embedded: Tensor) -> Tensor:  # [image, part, channel]
    """v_k of shares [image, part, row, col] and embedded cells g [image, channel, row, col]."""
    return torch.einsum("iphw,idhw->ipd", shares, embedded) / embedded[0, 0].numel()


def concentration_loss(shares: Tensor) -> Tensor:  # [image, part, row, col] → scalar
    """Mean over images, parts and cells of a_k(c) ‖c − e_k‖², e_k the part's centroid, in sides of the view."""
    rows, cols = ((torch.arange(count).to(shares) + 0.5) / count for count in shares.shape[2:])
    points = mean_positions(per_unit_mass(shares), (rows, cols))
    down = (rows[:, None] - points[..., 1, None, None]).square()
    across = (cols - points[..., 0, None, None]).square()
    return (shares * (down + across)).mean()


def orthogonality_loss(vectors: Tensor) -> Tensor:  # [image, part, channel] → scalar
    """Mean over images and pairs of parts, the background and a part's own pair among them, of (cos(v_k, v_j) − δ)²."""
    units = F.normalize(vectors, dim=2)
    same = torch.eye(vectors.shape[1]).to(units)
    return (units @ units.transpose(1, 2) - same).square().mean()


def presence_loss(shares: Tensor) -> Tensor:  # [image, part, row, col] → scalar
    """1 − mean over parts of the largest mean of 3 × 3 cells in the batch: each part is somewhere in some picture."""
    return 1 - F.avg_pool2d(shares, _POOLED, stride=1).amax(dim=(0, 2, 3)).mean()


def equivariance_loss(
    shares: Tensor,  # [2 · picture, part, row, col]: all first views, then all second views
    frames: Tensor,  # [2 · picture, 2, 3], each view's map into its picture
    centers: tuple[Tensor, Tensor],  # y of each row, x of each column, in fractions of the view's sides
) -> Tensor:  # [part]
    """1 − mean over pictures of the cosine of a part's map in one view and that in the other, read at the same places.

    Cells of the first view that the second does not show are left out.
    """
    first, second = shares.chunk(2)
    across = _between(*frames.to(shares).chunk(2))
    height, width = shares.shape[2:]
    of_parts = across[:, None, None].expand(-1, shares.shape[1], 1, 2, 3)
    read = carried_into_views(second.flatten(0, 1), of_parts.flatten(0, 1), centers).view_as(first)
    y, x = torch.meshgrid(centers[0].to(shares), centers[1].to(shares), indexing="ij")
    points = in_pictures(torch.stack([x, y], dim=-1).flatten(0, 1).expand(len(first), -1, -1), across)
    is_shown = ((points >= 0) & (points <= 1)).all(dim=2).view(-1, 1, height, width)
    return 1 - F.cosine_similarity((first * is_shown).flatten(2), (read * is_shown).flatten(2), dim=2).mean(dim=0)


def _between(first: Tensor, second: Tensor) -> Tensor:  # [picture, 2, 3] each → the same
    """From the first view into the second, of both views' maps into their picture."""
    offset = torch.cat([first[..., :2], (first[..., 2] - second[..., 2])[..., None]], dim=2)
    return torch.linalg.solve(second[..., :2], offset)
