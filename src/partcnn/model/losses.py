"""The losses that read what the part masks of a network recorded."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.model.mask import PartMask, check_tensor, part_masks


def filter_loss(model: nn.Module, labels: Tensor, objective: str | None = None) -> Tensor:
    """The term to add to the task loss: Σ over part layers of λ · mean over filters of the filter objective.

    In training mode the first request after a forward pass has each mask observe that pass (`PartMask.observe`), and
    the loss reads the statistics with it. Asking again about the same pass gives the same and changes nothing.
    `equivariance_loss` and `diversity_loss` read these statistics as they are: ask for them afterwards.

    Args:
        model: a converted network that has just seen the pictures of these labels. It may be wrapped (DDP,
            torch.compile).
        labels: [image] class indices, or [image, class] marks, see `foundation.labels`.
        objective: a name in `partcnn.objectives.OBJECTIVES` in place of each layer's own.

    Returns:
        A scalar in nats, λ included, computed in float32 also under autocast. 0 with a graph for no images.

    Raises:
        ShapeError: not one label per image.
        LayerError: the network has no part layers.
        ConfigError: no forward pass yet, or one whose maps have no graph although the network is in training mode and
            gradients are on: the loss would teach nothing; or an unknown objective; or within torch.func.
    """
    loss, _ = filter_loss_terms(model, labels, objective)
    return loss


def filter_loss_terms(
    model: nn.Module, labels: Tensor, objective: str | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """`filter_loss`, and its terms as means over filters, summed over layers without λ, for a log."""
    check_tensor(labels, "labels", "[image] of class indices")
    total: Tensor | None = None
    terms: dict[str, Tensor] = {}
    for name, mask in part_masks(model):
        _check_graph(model, name, mask, asks=mask.has_loss or objective is not None)
        with torch.autocast(labels.device.type, enabled=False):
            value = mask.filter_objective(labels, objective)
        loss = mask.loss_weight * value.loss.mean()
        total = loss if total is None else total + loss
        for term_name, term in value.terms.items():
            terms[term_name] = terms.get(term_name, 0) + term.mean()
    assert total is not None  # part_masks yields at least one
    return total, terms


def equivariance_loss(
    model: nn.Module,
    labels: Tensor,  # [2 · picture]
    frames: Tensor,  # [2 · picture, 2, 3]
    centers: Mapping[str, tuple[Tensor, Tensor]],
) -> Tensor:
    """How far parts fail to move with their pictures: Σ over part layers of the mean over filters of `equivariance`.

    Args:
        model: a converted network that has just seen two views of each picture: all first views, then all second
            views in the same order.
        labels: class indices of these views, or [2 · picture, class] marks, see `foundation.labels`.
        frames: of these views: (x, y, 1) in fractions of the view's sides → (x, y) in fractions of the picture's.
        centers: per part layer by dotted name, y of each row of its map and x of each column, in fractions of the
            view's sides; `partcnn.networks.probing.receptive_field.cell_centers` gives them.

    Returns:
        A scalar in nats, without a weight; 0 with a graph where no picture belongs.

    Raises:
        ShapeError, ConfigError, LayerError: as in `filter_loss`, or a layer without centres.
    """
    check_tensor(labels, "labels", "[2 · picture] of class indices")
    check_tensor(frames, "frames", "[2 · picture, 2, 3]")
    total: Tensor | None = None
    for name, mask in part_masks(model):
        if name not in centers:
            raise LayerError(f"centers: expected the part layer {name}, got {', '.join(centers) or 'none'}")
        _check_graph(model, name, mask, asks=mask.has_loss)
        with torch.autocast(labels.device.type, enabled=False):
            loss = mask.equivariance(labels, frames, centers[name]).mean()
        total = loss if total is None else total + loss
    assert total is not None  # part_masks yields at least one
    return total


def diversity_loss(model: nn.Module, labels: Tensor) -> Tensor:
    """How far each category's filters are from being in different places: Σ over part layers of `diversity`.

    Args:
        model: a converted network that has just seen the pictures of these labels.
        labels: [image] class indices, or [image, class] marks, see `foundation.labels`.

    Returns:
        A scalar in nats, ≤ 0, without a weight; 0 with a graph where no picture belongs.

    Raises:
        ShapeError, ConfigError, LayerError: as in `filter_loss`.
    """
    check_tensor(labels, "labels", "[image] of class indices")
    total: Tensor | None = None
    for name, mask in part_masks(model):
        _check_graph(model, name, mask, asks=mask.has_loss)
        with torch.autocast(labels.device.type, enabled=False):
            loss = mask.diversity(labels)
        total = loss if total is None else total + loss
    assert total is not None  # part_masks yields at least one
    return total


def _check_graph(model: nn.Module, name: str, mask: PartMask, *, asks: bool) -> None:
    """In training, maps without a graph mean that the term trains nothing."""
    maps = mask.feature_maps
    is_training = mask.training and torch.is_grad_enabled() and next(model.parameters(), None) is not None
    if maps is None or not (asks and is_training and len(maps)) or maps.requires_grad:
        return
    raise ConfigError(
        f"filter_loss: expected maps with a graph in training, got those of {name or 'the mask'} without one, so that "
        "the loss would teach nothing; run the forward pass with gradients (not under torch.no_grad; a checkpoint with "
        "use_reentrant=False), or, where all below is frozen on purpose, set the mask's loss_weight to 0"
    )
