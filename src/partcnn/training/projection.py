"""The projection of a trunk's maps to their principal components."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from partcnn.foundation.disk_cache import network_digest
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.training.fast_trunk import fast_trunk
from partcnn.training.features import device_of, picture_loader, trunk_batches
from partcnn.training.views import PictureViews, ShrunkPicture

PROJECTION_PICTURES = 256
LEAST_VARIANCE_FRAC = 1e-3
_LEAST_TOTAL = 1e-12  # variance of all channels of a layer that is silent
COMPONENT_VARIANCE = 0.07  # of the mean component, as it is in ResNet-18's layer3, on which the recipe was chosen


def prepare(model: nn.Module, views: PictureViews, *, num_workers: int = 0) -> None:
    """Set the projection of a network that has one and is not trained yet; any other stays as it is.

    Args:
        model: made by `partcnn.convert`.
        views, num_workers: as in `set_projection`.
    """
    if isinstance(model, PartNetwork) and not _is_set(model):
        set_projection(model, views, num_workers=num_workers)


def origin_of_projection(model: PartNetwork) -> object:
    """All that the projection follows from beside the trunk and the pictures: its weights, or how they will be set."""
    if _is_set(model):
        return network_digest(model.projection)
    return repr(model.projection), PROJECTION_PICTURES, LEAST_VARIANCE_FRAC, COMPONENT_VARIANCE


def _is_set(model: PartNetwork) -> bool:
    return conversion_of(model).is_trained


def set_projection(model: PartNetwork, views: PictureViews, *, num_workers: int = 0) -> None:
    """Set the projection to the principal components of the trunk's maps on at most 256 of the pictures, centred.

    Components are scaled to half-way between their own variance and one variance for all (a power of −1/4 of the
    variance): the small ones that tell parts apart are heard, the smallest, noise, are not made loud. The one variance
    is the same for every trunk, so that one recipe suits them all: maps of SqueezeNet deviate from their mean some 70
    times as far as those of ResNet-18. A model without a projection stays as it is.

    Args:
        model: its trunk is put in evaluation mode.
        views: of the training pictures, which are used whole; within `views.remembering()` they are kept for the pass
            over the views.
        num_workers: processes that decode pictures.
    """
    layer = model.projection
    if not isinstance(layer, nn.Conv2d):
        return
    with torch.no_grad():
        mean, covariance = _moments(model.trunk.eval(), views, num_workers)
        scale = _scale_of_layers(covariance, model.trunk_channels)
        weight = _scaled_components(covariance * scale.outer(scale), layer.out_channels) * scale
        layer.weight.copy_(weight[..., None, None])
        assert layer.bias is not None
        layer.bias.copy_(-weight @ mean)


def _moments(trunk: nn.Module, views: PictureViews, num_workers: int) -> tuple[Tensor, Tensor]:
    """Mean [channel] and covariance [channel, channel] of the cells of a trunk's maps, in float64."""
    total, products, count = torch.zeros(()), torch.zeros(()), 0
    for maps in _whole_maps(trunk, views, num_workers):
        cells = maps.movedim(1, -1).flatten(0, 2).double().cpu()
        total = total + cells.sum(dim=0)
        products = products + cells.T @ cells
        count += len(cells)
    mean = total / count
    return mean, products / count - mean.outer(mean)


def _whole_maps(trunk: nn.Module, views: PictureViews, num_workers: int) -> Iterator[Tensor]:
    """Maps [image, channel, row, col] of whole pictures, evenly from all, by batches."""
    device, fast = device_of(trunk), fast_trunk(trunk)
    if views.is_random:
        views = PictureViews(views.dataset, views.preprocessing)
    indices = range(0, len(views), -(-len(views) // PROJECTION_PICTURES))
    for batch in picture_loader(views.shrunk, indices, device, num_workers):
        for index, *pixels in zip(*batch, strict=True):
            views.remember(ShrunkPicture(int(index), *pixels))
        for pictures in trunk_batches(views.normalised(batch.whole), device):
            maps: Tensor = fast(pictures)
            yield maps


def _scale_of_layers(covariance: Tensor, num_channels: Sequence[int]) -> Tensor:  # [channel]
    """What brings each layer's channels to a total variance of 1; of one layer alone, 1."""
    if len(num_channels) == 1:
        return covariance.new_ones(len(covariance))
    totals = [variances.sum().clamp(min=_LEAST_TOTAL) for variances in covariance.diagonal().split(list(num_channels))]
    return torch.cat([total.rsqrt().expand(number) for total, number in zip(totals, num_channels, strict=True)])


def _scaled_components(covariance: Tensor, num_components: int) -> Tensor:  # [component, channel]
    variances, components = torch.linalg.eigh(covariance)
    variances = variances.flip(0)[:num_components]
    variances = variances.clamp(min=LEAST_VARIANCE_FRAC * variances.mean().item())  # silent channels stay so
    components = components.flip(1)[:, :num_components]
    scaled = COMPONENT_VARIANCE * (variances / variances.mean()).sqrt()
    weight: Tensor = components * (scaled / variances).sqrt()
    return weight.T
