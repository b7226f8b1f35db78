"""Where filters that compete start: at clusters of the object's cells, found without a label of a place."""

import torch
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.foundation.errors import DataError
from partcnn.foundation.labels import shows_object
from partcnn.foundation.row_shards import Rows, chosen_rows, large_zeros
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.network import conversion_of
from partcnn.objectives.k_means import k_means
from partcnn.objectives.object_cells import eroded
from partcnn.objectives.object_map import ObjectMapEnsemble, fit_object_maps
from partcnn.training.cached_features import picture_features
from partcnn.training.features import batches_of_pictures

_WITHIN = 0.5  # of the object: cells whose share of it is larger
_MOST_CELLS = 20_000  # that k-means looks at
_MOST_PICTURES = 4096  # of objects, and as many without one
_CHUNK = 64  # pictures at a time


def start_competing(
    model: CompetingNetwork,
    whole: Rows,  # [image, channel, row, col]
    labels: Tensor,  # [image], or [image, class] marks
    *,
    background: int | None,
    seed: int,
) -> Tensor:  # [image, row, col]
    """Set the prototypes of a network that is not trained yet, and say how far each cell is the object's.

    The object map (`partcnn.objectives.object_map`) is fitted on whole pictures. Clusters are those of cells well
    within objects; the rest is the mean of all cells that are not the object's. Of more than 4096 pictures of objects,
    or without one, so many are looked at for it.

    Args:
        model: its prototypes are set.
        whole: projected maps of whole pictures.
        labels: of these pictures.
        background: the class of pictures without an object, or None.
        seed: of the fits, the clusters, and the choice of pictures.

    Returns:
        Shares in 0–1, those of background pictures 0.

    Raises:
        DataError: no picture of an object.
    """
    chosen = start_pictures(labels, background, seed)
    fits = fit_start(model, chosen_rows(whole, chosen), labels[chosen], background=background, seed=seed)
    share = large_zeros(len(whole), *whole.shape[2:])
    for images in shows_object(labels, background).nonzero()[:, 0].split(_CHUNK):
        share[images] = fits.share(whole[images]).float()
    return share


def start_pictures(labels: Tensor, background: int | None, seed: int) -> Tensor:  # [image] ascending
    """The pictures that the start looks at: all, or of each kind, those with an object and those without, 4096.

    Raises:
        DataError: no picture of an object.
    """
    is_object = shows_object(labels, background)
    if not bool(is_object.any()):
        raise DataError("dataset: expected pictures of an object, got background alone")
    kinds = [is_object.nonzero()[:, 0], (~is_object).nonzero()[:, 0]]
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        images[torch.randperm(len(images), generator=generator)[:_MOST_PICTURES]]
        if len(images) > _MOST_PICTURES
        else images
        for images in kinds
    ]
    return torch.cat(drawn).sort().values


def fit_start(
    model: CompetingNetwork, whole: Rows, labels: Tensor, *, background: int | None, seed: int
) -> ObjectMapEnsemble:
    """The object map of these pictures, all of which are looked at; and the prototypes, as in `start_competing`."""
    is_object = shows_object(labels, background)
    objects = chosen_rows(whole, is_object.nonzero()[:, 0])
    share = torch.zeros(len(whole), *whole.shape[2:])
    fits = fit_object_maps(objects, chosen_rows(whole, (~is_object).nonzero()[:, 0]), seed=seed)
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
    return fits


def start_from_pictures(
    model: CompetingNetwork, dataset: PartDataset, *, seed: int, num_workers: int = 0
) -> Tensor:  # [image, row, col]
    """As `start_competing`, where the maps of whole pictures are not known: the model's trunk runs over them once.

    Of more pictures than are looked at, maps are kept of those alone, and the shares of all are read in a second pass.
    """
    background, labels = conversion_of(model).settings.background, dataset.labels()
    chosen = start_pictures(labels, background, seed).tolist()
    few = dataset.with_samples([dataset.samples[number] for number in chosen])
    found = picture_features(model, few, num_workers=num_workers)
    if found is None:
        raise DataError(
            f"dataset: no room for the trunk's maps of {len(few)} pictures, which filters start from; set "
            "PARTCNN_CACHE_GIB higher, or TMPDIR to a larger disk"
        )
    own = labels[chosen]
    if len(chosen) == len(labels):
        return start_competing(model, found.maps, own, background=background, seed=seed)
    fits = fit_start(model, found.maps, own, background=background, seed=seed)
    trunk = nn.Sequential(model.trunk, model.projection)
    objects = shows_object(labels, background).nonzero()[:, 0].tolist()
    share, done = large_zeros(len(labels), *found.maps.shape[2:]), 0
    preprocessing = conversion_of(model).preprocessing
    for batch in batches_of_pictures(trunk, dataset, preprocessing, objects, num_workers=num_workers):
        maps = batch["maps"]
        share[objects[done : done + len(maps)]] = fits.share(maps).float()
        done += len(maps)
    return share


def _cells(maps: Rows, is_meant: Tensor, generator: torch.Generator) -> Tensor:  # [cell, channel]
    """Those that are meant, at most so many, drawn at random."""
    where = is_meant.flatten().nonzero()[:, 0]
    chosen = where[torch.randperm(len(where), generator=generator)[:_MOST_CELLS]]
    images, rows, cols = torch.unravel_index(chosen, is_meant.shape)
    found: Tensor = maps[images, :, rows, cols]
    return found.float()
