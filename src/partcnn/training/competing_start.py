"""Where filters that compete start: at clusters of the object's cells, found without a label of a place."""

from collections.abc import Callable

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from partcnn.foundation.errors import DataError
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.network import conversion_of
from partcnn.objectives.k_means import k_means
from partcnn.objectives.object_cells import eroded
from partcnn.objectives.object_map import fit_object_maps
from partcnn.training.module import PartTraining
from partcnn.training.recipe import Recipe

_WITHIN = 0.5  # of the object: cells whose share of it is larger
_MOST_CELLS = 20_000  # that k-means looks at
_FAST = (
    0.5  # a trunk's share of the learning rate: `partcnn train` gives one of random weights 1, a pretrained one 0.03
)
_TASK_ALONE_FRAC = 0.25  # of the epochs, of a trunk that learns fast


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
    share = torch.zeros(len(whole), *whole.shape[2:])
    fits = fit_object_maps(whole[is_object], whole[~is_object], seed=seed)
    share[is_object] = fits.share(whole[is_object]).float()
    generator = torch.Generator().manual_seed(seed)
    num_filters = model.layer_of_parts.mask.num_filters
    inside = _cells(whole[is_object], eroded(share[is_object]) > _WITHIN, generator)
    if len(inside) < num_filters:  # objects of a cell or two: their cells, eroded or not
        inside = _cells(whole[is_object], share[is_object] > 0, generator)
    rest = _cells(whole, share <= _WITHIN, generator).mean(dim=0)
    if not conversion_of(model).is_trained:
        model.layer_of_parts.scores.set_prototypes(k_means(inside, num_filters, generator=generator), rest)
    return share


class CompetingStart(Callback):
    """Starts filters that compete when an epoch begins, with the trunk as it is then.

    Args:
        epoch: counted from 0; the epochs before learn the task alone.
        maps: gives the projected maps [image, channel, row, col] of the training pictures, whole, in evaluation mode.
        labels: of these pictures, [image].
        seed: as of `start_competing`.
    """

    def __init__(self, epoch: int, maps: Callable[[], Tensor], labels: Tensor, *, seed: int) -> None:
        self._epoch, self._maps, self._labels, self._seed = epoch, maps, labels, seed

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        assert isinstance(module, PartTraining)
        assert isinstance(module.model, CompetingNetwork)
        if trainer.current_epoch != self._epoch:
            return
        background = conversion_of(module.model).settings.background
        module.object_share = start_competing(
            module.model, self._maps(), self._labels, background=background, seed=self._seed
        )
        module.waits_for_start = False
        module.train()


def starting_epoch(model: nn.Module, recipe: Recipe, *, is_trunk_frozen: bool) -> int:
    """When filters that compete start: at once, or where a trunk learns as fast as it must from random weights, after
    a quarter of the epochs, since clusters of maps that will not last mean nothing."""
    is_steady = is_trunk_frozen or (recipe.trunk_lr_frac or 0.0) < _FAST
    return 0 if is_steady or conversion_of(model).is_trained else int(_TASK_ALONE_FRAC * recipe.epochs)


def _cells(maps: Tensor, is_meant: Tensor, generator: torch.Generator) -> Tensor:  # [cell, channel]
    """Those that are meant, at most so many, drawn at random."""
    where = is_meant.nonzero()
    chosen = where[torch.randperm(len(where), generator=generator)[:_MOST_CELLS]]
    return maps[chosen[:, 0], :, chosen[:, 1], chosen[:, 2]].float()
