"""The projection of a trunk's maps to their principal components."""

import torch
from torch import nn

from partcnn.model.network import PartNetwork
from partcnn.training.features import in_channels_last, picture_loader, trunk_batches
from partcnn.training.views import PictureViews

_PROJECTION_PICTURES = 256
_LEAST_VARIANCE_FRAC = 1e-3
COMPONENT_VARIANCE = 0.07  # the mean one's, as it is in ResNet-18's layer3, on which the recipe was chosen


def set_projection(model: PartNetwork, views: PictureViews, *, num_workers: int = 0) -> None:
    """Set the projection to the principal components of the trunk's maps on at most 256 of the pictures, centred.

    Components are scaled to half-way between their own variance and one variance for all (a power of −1/4 of the
    variance): the small ones that tell parts apart are heard, the smallest, noise, are not made loud. The one variance
    is the same for every trunk, so that one recipe suits them all: maps of SqueezeNet deviate from their mean some 70
    times as far as those of ResNet-18. A model without a projection stays as it is.

    Args:
        model: its trunk is put in evaluation mode.
        views: of the training pictures, which are used whole.
        num_workers: processes that decode pictures.
    """
    layer = model.projection
    if not isinstance(layer, nn.Conv2d):
        return
    model.trunk.eval()
    device = layer.weight.device
    trunk = in_channels_last(model.trunk)
    whole = PictureViews(views.dataset, views.preprocessing)
    step = max(1, -(-len(whole) // _PROJECTION_PICTURES))
    chosen = torch.utils.data.Subset(whole, range(0, len(whole), step))
    total = torch.zeros(layer.in_channels, dtype=torch.float64)
    products = torch.zeros(layer.in_channels, layer.in_channels, dtype=torch.float64)
    count = 0
    with torch.no_grad():
        for pictures, _, _ in picture_loader(chosen, device, num_workers):
            for batch in trunk_batches(pictures[:, 0], device):
                cells = trunk(batch).movedim(1, -1).flatten(0, 2).double().cpu()
                total += cells.sum(dim=0)
                products += cells.T @ cells
                count += len(cells)
        mean = total / count
        variances, components = torch.linalg.eigh(products / count - mean.outer(mean))
        variances = variances.flip(0)[: layer.out_channels]
        variances = variances.clamp(min=_LEAST_VARIANCE_FRAC * variances.mean().item())  # silent channels stay so
        components = components.flip(1)[:, : layer.out_channels]
        scaled = COMPONENT_VARIANCE * (variances / variances.mean()).sqrt()
        weight = (components * (scaled / variances).sqrt()).T
        layer.weight.copy_(weight[..., None, None])
        assert layer.bias is not None
        layer.bias.copy_(-weight @ mean)
