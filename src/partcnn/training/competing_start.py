"""Where filters that compete start: at clusters of the object's cells, found without a label of a place."""

import torch
from torch import Tensor

from partcnn.foundation.errors import DataError
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.network import conversion_of
from partcnn.objectives.k_means import k_means
from partcnn.objectives.object_cells import eroded
from partcnn.objectives.object_map import fit_object_maps

_WITHIN = 0.5  # of the object: cells whose share of it is larger
_MOST_CELLS = 20_000  # that k-means looks at


def start_competing(
    model: CompetingNetwork,
    whole: Tensor,  # [image, channel, row, col]
    labels: Tensor,  # [image]
    *,
    background: int | None,
    seed: int,
) -> Tensor:  # [image, row, col]
    """Set the prototypes of a network that is not trained yet, and say how far each cell is the object's.

    The object map (`partcnn.objectives.object_map`) is fitted on whole pictures. Clusters are those of cells well
    within objects; the rest is the mean of all cells that are not the object's.

    Args:
        model: its prototypes are set.
        whole: projected maps of whole pictures.
        labels: of these pictures.
        background: the class of pictures without an object, or None.
        seed: of the fits and the clusters.

    Returns:
        Shares in 0–1, those of background pictures 0.

    Raises:
        DataError: no picture of an object.
    """
    is_object = torch.ones_like(labels, dtype=torch.bool) if background is None else labels != background
    if not bool(is_object.any()):
        raise DataError("dataset: expected pictures of an object, got background alone")
    objects = whole[is_object]
    share = torch.zeros(len(whole), *whole.shape[2:])
    fits = fit_object_maps(objects, whole[~is_object], seed=seed)
    share[is_object] = fits.share(objects).float()
    generator = torch.Generator().manual_seed(seed)
    num_filters = model.layer_of_parts.mask.num_filters
    inside = _cells(objects, eroded(share[is_object]) > _WITHIN, generator)
    if len(inside) < num_filters:  # objects of a cell or two: their cells, eroded or not
        inside = _cells(objects, share[is_object] > 0, generator)
    outside = share <= _WITHIN
    rest = _cells(whole, outside if bool(outside.any()) else ~outside, generator).mean(dim=0)
    if not conversion_of(model).is_trained:
        model.layer_of_parts.scores.set_prototypes(k_means(inside, num_filters, generator=generator), rest)
    return share


def _cells(maps: Tensor, is_meant: Tensor, generator: torch.Generator) -> Tensor:  # [cell, channel]
    """Those that are meant, at most so many, drawn at random."""
    where = is_meant.nonzero()
    chosen = where[torch.randperm(len(where), generator=generator)[:_MOST_CELLS]]
    return maps[chosen[:, 0], :, chosen[:, 1], chosen[:, 2]].float()
