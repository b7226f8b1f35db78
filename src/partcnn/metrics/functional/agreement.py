"""How well the partition of pictures into filters agrees with the parts: the field's NMI and ARI at landmarks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.metrics.functional.arguments import check_maps, check_num_images, check_points


@dataclass(frozen=True)
class PartAgreement:
    """Agreement of filters with parts over all visible landmarks; 1 is perfect, nan where no landmark is visible."""

    nmi: float  # normalised mutual information, in 0–1
    ari: float  # adjusted Rand index, at most 1; 0 by chance
    fg_nmi: float  # the same with every landmark given to a filter, the background left aside
    fg_ari: float
    num_points: int


def part_agreement(
    feature_maps: Tensor,  # [picture, filter, row, col]
    landmarks: Tensor,  # [picture, part, 2]
    *,
    background: int | Tensor | None = None,
    input_size: tuple[int, int] | None = None,
) -> PartAgreement:
    """NMI and ARI between the filter that holds a landmark's point and the landmark's name (Choudhury et al., 2021).

    Every map is resized bilinearly (corners not aligned) to the picture; at each visible landmark the filter of the
    largest value is its cluster and its name is its class, pooled over all pictures.

    Args:
        feature_maps: of the filters, the background's among them where `background` is its index.
        landmarks: (x, y) in shares of the picture; nan where a landmark is not visible.
        background: index of the background's map, or the maps themselves [picture, row, col]; None: there is none,
            and the figures with and without it are the same.
        input_size: (height, width) in pixels at whose nearest pixel a map is read; None reads at the very point.

    Raises:
        ShapeError: tensors without the axes above.
        ConfigError: a landmark is infinite, a map has nan, or there is no map of this index.
    """
    clusters = part_clusters(feature_maps, landmarks, background=background, input_size=input_size)
    return agreement_of_clusters(clusters)


def part_clusters(
    feature_maps: Tensor,  # [picture, filter, row, col]
    landmarks: Tensor,  # [picture, part, 2]
    *,
    background: int | Tensor | None = None,
    input_size: tuple[int, int] | None = None,
) -> Tensor:  # [picture, part, 2] int16
    """Which map is largest at each landmark: of all, and of all but the background's; −1 where it is not visible.

    The maps are counted as given, the background's behind them where it is a tensor.

    Args, Raises: as of `part_agreement`.
    """
    check_maps(feature_maps)
    check_points("landmarks", landmarks, "part")
    check_num_images("landmarks", landmarks, len(feature_maps), "feature_maps")
    maps, of_background = _with_background(feature_maps, background)
    values = _values_at(maps, landmarks, input_size)  # [picture, part, map]
    in_all = in_front = values.argmax(dim=2)
    if of_background is not None:
        hidden = torch.tensor([of_background], device=values.device)
        in_front = values.index_fill(2, hidden, -math.inf).argmax(dim=2)
    found = torch.stack([in_all, in_front], dim=2)
    return found.masked_fill(landmarks.isnan().any(dim=2)[..., None], -1).short()


def agreement_of_clusters(clusters: Tensor) -> PartAgreement:
    """`part_agreement` of what `part_clusters` [picture, part, 2] found, of any number of pictures."""
    is_shown = clusters[..., 0] >= 0
    num_points = int(is_shown.sum())
    if num_points == 0:
        return PartAgreement(math.nan, math.nan, math.nan, math.nan, 0)
    parts = torch.arange(clusters.shape[1], device=clusters.device).expand(is_shown.shape)[is_shown]
    in_all, in_front = (contingency_table(one.long(), parts) for one in clusters[is_shown].unbind(dim=1))
    return agreement_of_tables(in_all, in_front)


def agreement_of_tables(in_all: Tensor, in_front: Tensor) -> PartAgreement:
    """`part_agreement` of two tables [cluster, class] of counts: with and without the background."""
    if not in_all.any():
        return PartAgreement(math.nan, math.nan, math.nan, math.nan, 0)
    return PartAgreement(
        float(normalized_mutual_information(in_all)),
        float(adjusted_rand_index(in_all)),
        float(normalized_mutual_information(in_front)),
        float(adjusted_rand_index(in_front)),
        int(in_all.sum()),
    )


def contingency_table(clusters: Tensor, classes: Tensor) -> Tensor:  # [point], [point] → [cluster, class] float64
    """How many points are of each cluster and class."""
    num_clusters, num_classes = int(clusters.max()) + 1, int(classes.max()) + 1
    counts = torch.bincount(clusters * num_classes + classes, minlength=num_clusters * num_classes)
    return counts.view(num_clusters, num_classes).double()


def normalized_mutual_information(table: Tensor) -> Tensor:  # [..., cluster, class] → [...]
    """2 I(U; V) / (H(U) + H(V)) of a contingency table; 1 where neither has more than one value."""
    shares = table / table.sum(dim=(-2, -1), keepdim=True)
    entropies = _entropy(shares.sum(dim=-1)) + _entropy(shares.sum(dim=-2))
    information = entropies - _entropy(shares.flatten(-2))
    return torch.where(entropies > 0, (2 * information / entropies).clamp(min=0), 1.0)


def adjusted_rand_index(table: Tensor) -> Tensor:  # [..., cluster, class] → [...]
    """Pairs of points on which both agree, less those by chance, over the most there can be (Hubert & Arabie, 1985)."""
    both, rows, cols = _pairs(table.flatten(-2)), _pairs(table.sum(dim=-1)), _pairs(table.sum(dim=-2))
    all_pairs = _pairs(table.sum(dim=(-2, -1))[..., None])
    by_chance = torch.where(all_pairs > 0, rows * cols / all_pairs, 0.0)
    most = (rows + cols) / 2
    return torch.where(most != by_chance, (both - by_chance) / (most - by_chance), 1.0)


def _entropy(shares: Tensor) -> Tensor:  # [..., value] → [...]
    found: Tensor = torch.special.entr(shares).sum(dim=-1)
    return found


def _pairs(counts: Tensor) -> Tensor:  # [..., value] → [...]
    return (counts * (counts - 1) / 2).sum(dim=-1)


def _with_background(maps: Tensor, background: int | Tensor | None) -> tuple[Tensor, int | None]:
    """All maps, and the index of the background's among them."""
    if isinstance(background, Tensor):
        if background.shape != (len(maps), *maps.shape[2:]):
            raise ShapeError(
                f"background: expected maps [picture, row, col] = {[len(maps), *maps.shape[2:]]}, "
                f"got {list(background.shape)}"
            )
        return torch.cat([maps, background[:, None].to(maps)], dim=1), maps.shape[1]
    if background is not None and not -maps.shape[1] <= background < maps.shape[1]:
        raise ConfigError(f"background: expected the index of one of {maps.shape[1]} maps, got {background}")
    return maps, None if background is None else background % maps.shape[1]


def _values_at(maps: Tensor, points: Tensor, input_size: tuple[int, int] | None) -> Tensor:  # [picture, part, map]
    """Each map at each point, bilinearly; nan points read anything."""
    maps = maps if maps.dtype == torch.float64 else maps.float()
    points = points.nan_to_num(nan=0.0).to(maps)
    if input_size is not None:
        sides = points.new_tensor(input_size).flip(0)
        points = (((points * sides).floor().clamp(min=0).minimum(sides - 1)) + 0.5) / sides
    found = F.grid_sample(maps, (2 * points - 1)[:, None], mode="bilinear", padding_mode="border", align_corners=False)
    return found[:, :, 0].transpose(1, 2)
