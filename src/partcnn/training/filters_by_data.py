"""How many parts there are, by data: of filters that competed, those that are parts stay."""

import torch
from torch import Tensor

from partcnn.metrics.functional.crowding import CROWDED_CELLS
from partcnn.metrics.functional.steadiness import steadiness
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.mask import top_mask
from partcnn.model.network import layer_field
from partcnn.networks.probing.probe import evaluation_mode
from partcnn.networks.probing.receptive_field import cell_centers
from partcnn.objectives.competing import per_unit_mass
from partcnn.objectives.equivariance import in_pictures, mean_positions

LEAST_PRESENCE = 0.7  # of the pictures of objects; chosen on training pictures of dogs and birds that were kept back
LEAST_STEADINESS = 0.8  # a filter of less does not follow its picture
MOST_CROWDED = 0.5  # of the pictures on which both are seen: two that are within a cell on more are one part
_BATCH = 64


@torch.no_grad()
def needed_filters(model: CompetingNetwork, maps: Tensor, frames: Tensor) -> Tensor:
    """Which filters are parts: seen, steady, and each in a place of its own.

    A filter goes where it holds a cell by more than half on under 70 % of the pictures; where its steadiness over those
    that show it in both views (`partcnn.metrics.functional.steadiness`) is below 0.8; and where it lies within one cell
    of a filter of more mass on more than half of the pictures on which both are seen. None of this needs an annotation.
    What accuracy needs is not asked: the cells of a filter that goes fall to its neighbours, and the head sums what all
    hold.

    Args:
        model: trained.
        maps: projected maps of training pictures of objects in two views, [picture, 2, channel, row, col], or in one,
            and steadiness is then not asked.
        frames: of these views, [picture, view, 2, 3].

    Returns:
        Indices of those that stay, ascending; the steadiest, or first, alone where none is a part.
    """
    shares = _shares(model, maps)
    centers = cell_centers(layer_field(model, top_mask(model)[0]))
    inside = [mean_positions(per_unit_mass(view), centers) for view in shares]
    mask = model.layer_of_parts.mask
    is_seen, *is_seen_again = (mask.peak_scores(view) > 0 for view in shares)
    is_part = is_seen.double().mean(dim=0) >= LEAST_PRESENCE
    best = 0
    if len(inside) > 1:
        first, second = (in_pictures(points, frames[:, view]) for view, points in enumerate(inside[:2]))
        steady = steadiness(first, second, is_seen & is_seen_again[0]).nan_to_num(nan=0.0)
        is_part &= steady >= LEAST_STEADINESS
        best = int(steady.argmax())
    size = torch.tensor([shares[0].shape[3], shares[0].shape[2]])  # (columns, rows): places in cells
    is_crowding = _crowding(inside[0] * size, is_seen)
    kept: list[int] = []
    for index in shares[0].sum(dim=(0, 2, 3)).argsort(descending=True, stable=True).tolist():
        if is_part[index] and not is_crowding[index, kept].any():
            kept.append(index)
    return torch.tensor(sorted(kept) or [best])


def _shares(model: CompetingNetwork, maps: Tensor) -> list[Tensor]:
    """[picture, filter, row, col] of each view, on the CPU."""
    weight = model.head.weight
    with evaluation_mode(model):
        found = [
            [model.layer_of_parts(batch, batch).float().cpu() for batch in view.to(weight).split(_BATCH)]
            for view in maps.unbind(dim=1)
        ]
    return [torch.cat(batches) for batches in found]


def _crowding(cells: Tensor, is_seen: Tensor) -> Tensor:  # [picture, filter, 2], [picture, filter] → [filter, filter]
    """Whether two filters are within one cell on most of the pictures on which both are seen."""
    is_near = (cells[:, :, None] - cells[:, None]).abs().amax(dim=-1) <= CROWDED_CELLS
    both = is_seen[:, :, None] & is_seen[:, None]
    return (is_near & both).sum(dim=0) > MOST_CROWDED * both.sum(dim=0).clamp(min=1)
