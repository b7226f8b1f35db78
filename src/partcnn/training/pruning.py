"""Cut filters out of a converted network, so that a smaller one says the same and its logits stay sums of parts.

Layer by layer from below (the ordinary layer, then each part layer) filters are chosen and the rest is merged:

1. The contribution of each filter to the logits, on training pictures: Σ_ij x_ij ∂logit/∂x_ij of its map, which for
   the layer below the head is exactly the share of `AdditiveHead`. Logits less their mean over classes: a softmax
   sees no more; those of a multi-label task as they are. Importance is its standard deviation over pictures; a constant
   contribution can move to the bias.
2. `partcnn.metrics.functional.map_statistics.chosen_filters` keeps the important ones that tell different things.
3. Each filter that goes is written as a linear combination of those that stay (least squares of their maps), and its
   weights in the layer above are given to them. What no combination gives is dropped.

The cut is made here and not by torch-pruning. Tried with its version 1.6.1: it takes a filter of the part layer for a
column of the head's grid, [class, filter, row, col] → [2, 8, 7, 4], leaves the mask's buffers as they were, and the
network does not run any more. A chain of layers needs fewer lines than teaching it both.

Filters that compete are cut in one step: importance is the spread of what a filter adds to the logits, and nothing is
merged, for the cells of one that goes fall to those that stay, and to the rest, by the softmax.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.metrics.functional.map_statistics import MapMoments, chosen_filters, dropped_filters, merging_weights
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.copying import copied
from partcnn.model.mask import PartMask
from partcnn.model.modules import AdditiveHead, PartConv2d
from partcnn.model.naming import names_of_kept
from partcnn.model.network import PartNetwork, conversion_of, unwrapped
from partcnn.training.features import FeatureViews, compute_features
from partcnn.training.views import PictureViews

_MOST_PICTURES = 1024  # evenly from the training pictures; more say little more
_BATCH = 64


@dataclass(frozen=True)
class LayerStatistics:
    """Of one layer's masked maps on training pictures."""

    moments: MapMoments
    importance: Tensor  # [filter] standard deviation of the contribution to the logits, in their unit


def prune(
    model: nn.Module,
    dataset: PartDataset,
    *,
    keep: float = 0.25,
    features: FeatureViews | None = None,
    num_workers: int = 0,
) -> PartNetwork:
    """A smaller copy of a converted network: a share of the filters of its ordinary and part layers.

    Args:
        model: made by `partcnn.convert` with the additive head, trained. It stays as it is.
        dataset: the training pictures. At most 1024 of them, evenly, are looked at.
        keep: share of the filters of each layer that stays, in (0, 1], rounded; at least one of each class that owns
            filters, and at least one in all where they compete.
        features: of these pictures through this model's trunk and projection, to spare computing them; the first view
            of each is used.
        num_workers: processes that decode pictures.

    Returns:
        A network that `partcnn.save`, `explain` and `evaluate` take as any other. The filters that stay are in their
        old order, keep their names, and their maps are theirs, but for what the layer below lost. Where filters
        compete each cell is shared anew, among those that stay and the rest.

    Raises:
        LayerError: the network was not made by `partcnn.convert`, or has no additive head.
        ConfigError: `keep` is outside its range.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"keep: expected a share above 0 and at most 1, got {keep}")
    record, inner = conversion_of(model), unwrapped(model)
    if not isinstance(inner, PartNetwork):
        raise LayerError(
            "model: expected head='additive': with head='original' filters belong to the network above them, "
            "which no general rule can cut"
        )
    pruned: PartNetwork = copied(inner, "model", "prune it as it is before its first forward pass").eval()
    if features is None:
        check_dataset(dataset)
        features = training_features(pruned, dataset, num_workers=num_workers)
    step = -(-len(features.maps) // _MOST_PICTURES)
    maps = features.maps[::step, 0]
    if isinstance(pruned, CompetingNetwork):
        keep_filters(pruned, _chosen_of_competing(pruned, maps, keep))
        return pruned
    layers: list[nn.Module] = [pruned.hidden] if isinstance(pruned.hidden, nn.Sequential) else []
    layers += pruned.part_layers
    for layer, above in zip(layers, [*layers[1:], pruned.head], strict=True):
        assert isinstance(above, (PartConv2d, AdditiveHead))
        found = layer_statistics(pruned, layer, maps)
        categories = layer.mask.filter_category if isinstance(layer, PartConv2d) else None
        num_filters = len(found.importance)
        least = 1 if categories is None else len(categories.unique())
        count = min(max(round(keep * num_filters), least), num_filters)
        kept = chosen_filters(
            found.moments.correlation, found.importance, count, None if categories is None else categories.cpu()
        )
        _merge(above, found.moments, kept)
        _keep_filters(layer, kept)
    pruned_record = conversion_of(pruned)
    pruned_record.filter_names = names_of_kept(record.filter_names, kept.tolist())  # of the top layer, the last
    sizes: dict[str, Any] = {"filters": pruned.part_layers[-1].out_channels}
    if isinstance(pruned.hidden, nn.Sequential):
        sizes["hidden"] = pruned.hidden[0].out_channels
    pruned_record.settings = replace(record.settings, **sizes)
    return pruned


def training_features(model: PartNetwork, dataset: PartDataset, *, num_workers: int = 0) -> FeatureViews:
    """The projected maps of at most 1024 whole pictures, evenly from the data set."""
    preprocessing = conversion_of(model).preprocessing
    chosen = dataset.with_samples(dataset.samples[:: -(-len(dataset) // _MOST_PICTURES)])
    trunk = nn.Sequential(model.trunk, model.projection)
    return compute_features(trunk, PictureViews(chosen, preprocessing), num_workers=num_workers)


def layer_statistics(model: PartNetwork, layer: nn.Module, features: Tensor) -> LayerStatistics:
    """Moments of a layer's masked maps, and the importance of its filters.

    Args:
        model: in evaluation mode.
        layer: its ordinary layer or one of its part layers.
        features: [image, channel, row, col], projected maps of training pictures.
    """
    device, dtype = model.head.weight.device, model.head.weight.dtype
    moments: MapMoments | None = None
    shares: list[Tensor] = []  # [image, class, filter]
    leaves: list[Tensor] = []

    def cut(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        leaves[:] = [output.detach().requires_grad_()]
        return leaves[0]

    handle = layer.register_forward_hook(cut)
    try:
        for batch in features.split(_BATCH):
            with torch.enable_grad():
                logits = model.forward_from_features(batch.to(device, dtype))
                logits = logits - _common(logits, model)
                gradients = [
                    torch.autograd.grad(logit.sum(), leaves[0], retain_graph=True)[0] for logit in logits.unbind(dim=1)
                ]
            maps = leaves[0].detach()
            contributions = [(maps * gradient).sum(dim=(2, 3)) for gradient in gradients]
            shares.append(torch.stack(contributions, dim=1).double().cpu())
            own = MapMoments.of(maps)
            moments = own if moments is None else moments + own
    finally:
        handle.remove()
    assert moments is not None  # there is at least one picture
    variance = torch.cat(shares).var(dim=0, correction=0)  # [class, filter]
    return LayerStatistics(moments, variance.mean(dim=0).sqrt())


def num_parameters(model: nn.Module) -> int:
    """Weights of all that stands on the trunk and its projection: ordinary layer, part layers, head.

    Raises:
        LayerError: the network has no additive head.
    """
    inner = unwrapped(model)
    if not isinstance(inner, PartNetwork):
        raise LayerError("model: expected a network with head='additive', got another one")
    parts = (inner.hidden, inner.part_layers, inner.head)
    return sum(weight.numel() for part in parts for weight in part.parameters())


def _common(values: Tensor, model: PartNetwork) -> Tensor | float:
    """What all classes [image, class, …] have in common, which a softmax does not see; sigmoids see all."""
    return 0.0 if conversion_of(model).settings.multilabel else values.mean(dim=1, keepdim=True)


@torch.no_grad()
def _chosen_of_competing(model: CompetingNetwork, features: Tensor, keep: float) -> Tensor:  # [kept]
    layer, head = model.layer_of_parts, model.head
    moments: MapMoments | None = None
    contributions: list[Tensor] = []  # [image, class, filter]
    for batch in features.split(_BATCH):
        inputs = batch.to(head.weight)
        shares = layer(inputs, inputs)
        found = head.contributions(shares, inputs)[..., :-1]
        contributions.append((found - _common(found, model)).double().cpu())
        own = MapMoments.of(shares)
        moments = own if moments is None else moments + own
    assert moments is not None  # there is at least one picture
    importance = torch.cat(contributions).var(dim=0, correction=0).mean(dim=0).sqrt()
    return chosen_filters(moments.correlation, importance, max(1, round(keep * len(importance))))


@torch.no_grad()
def keep_filters(model: CompetingNetwork, kept: Tensor) -> None:
    """Cut all other filters out of the layer in which they compete, and out of the head, in place.

    Each cell is shared anew among those that stay and the rest. The record says how many they are.

    Args:
        model: its weights are replaced by new, shorter ones.
        kept: indices of filters, ascending.
    """
    layer, head, record = model.layer_of_parts, model.head, conversion_of(model)
    num_filters = layer.mask.num_filters
    with_rest = torch.cat([kept, kept.new_tensor([num_filters])]).to(head.weight.device)
    _keep_outputs(layer.scores.context, with_rest)
    _keep_outputs(layer.scores.prototypes, with_rest)
    _keep_of_mask(layer.mask, kept)
    head.weight = nn.Parameter(head.weight[:, with_rest])
    record.settings, record.drops_filters = replace(record.settings, filters=len(kept)), False
    record.filter_names = names_of_kept(record.filter_names, kept.tolist())


@torch.no_grad()
def _merge(above: nn.Module, moments: MapMoments, kept: Tensor) -> None:
    """Give the weights that go to those that stay, and cut the inputs of the layer above."""
    dropped = dropped_filters(len(moments.total), kept)
    weight = above.weight
    assert isinstance(weight, Tensor)
    if isinstance(above, AdditiveHead):
        # Pooling a constant gives the constant: what a combination misses on average goes to the bias.
        shares = merging_weights(moments.covariance, kept)
        missed = moments.mean[dropped] - shares @ moments.mean[kept]
        above.bias.add_(torch.einsum("d,cdgh->c", missed.to(weight), weight[:, dropped]))
    else:
        # No intercept: beyond the border a convolution sees zeros, and an intercept would be there too.
        shares = merging_weights(moments.products / moments.count, kept)
    merged = weight[:, kept] + torch.einsum("dk,odhw->okhw", shares.to(weight), weight[:, dropped])
    above.weight = nn.Parameter(merged)
    if isinstance(above, PartConv2d):
        above.in_channels = len(kept)


@torch.no_grad()
def _keep_filters(layer: nn.Module, kept: Tensor) -> None:
    """Cut the outputs of an ordinary or a part layer, with what its mask holds for each filter."""
    conv = layer[0] if isinstance(layer, nn.Sequential) else layer
    assert isinstance(conv, nn.Conv2d)
    _keep_outputs(conv, kept)
    if isinstance(layer, PartConv2d):
        _keep_of_mask(layer.mask, kept)


def _keep_outputs(conv: nn.Conv2d, kept: Tensor) -> None:
    conv.weight = nn.Parameter(conv.weight[kept])
    assert conv.bias is not None
    conv.bias = nn.Parameter(conv.bias[kept])
    conv.out_channels = len(kept)


def _keep_of_mask(mask: PartMask, kept: Tensor) -> None:
    mask.num_filters = len(kept)
    for name, value in list(mask.named_buffers()):
        if value.ndim:  # the running mean of the peaks is one number for all
            setattr(mask, name, value[kept])
