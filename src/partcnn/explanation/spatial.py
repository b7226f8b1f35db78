"""Explanations of a network as maps over the picture: what each pixel has of the logit, by several methods.

Contributions are ours, exact for an additive head. Input × gradient is torch's autograd, grad-CAM captum's. Gradient ×
activation takes the place of ours where the head is no sum.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.explanation.attribution import gradient_activation
from partcnn.foundation.errors import ConfigError
from partcnn.model.competing_network import CompetingNetwork
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, conversion_of, layer_field, recorded_feature_maps
from partcnn.networks.probing.probe import evaluation_mode
from partcnn.networks.probing.receptive_field import ReceptiveField, upsample_map

CELLS, PLACES, INPUT_GRADIENT, GRAD_CAM = "sum of parts", "sum of parts, at places", "input × gradient", "grad-CAM"
GRADIENT_ACTIVATION = "gradient × activation"
SUMS = (CELLS, PLACES)


@dataclass(frozen=True)
class Spread:
    """An explanation of a class of each picture, laid out over it.

    Args:
        pixels: [image, row, col] of the network's input.
        elsewhere: [image], what it hands out at no place.
    """

    pixels: Tensor
    elsewhere: Tensor


Explainer = Callable[[PartNetwork, Tensor, Tensor], Spread]  # network, images [image, 3, row, col], classes [image]


def sum_of_parts(network: PartNetwork, images: Tensor, classes: Tensor) -> Spread:
    """Each cell's contribution (`PartNetwork.logit_maps`), of all filters and the surroundings, around its place.

    A cell's is spread bilinearly about the middle of what it sees, see `upsample_map`.
    """
    name, mask = top_mask(network)
    with evaluation_mode(network), torch.no_grad(), recorded_feature_maps(network):
        network(images)
        assert mask.feature_maps is not None
        filters, around = network.logit_maps(mask.masked(mask.feature_maps))
    maps = filters.sum(dim=2) if around is None else filters.sum(dim=2) + around
    return _spread(_of_classes(maps, classes), layer_field(network, name, _size(images)))


def parts_at_places(network: PartNetwork, images: Tensor, classes: Tensor) -> Spread:
    """Each filter's whole contribution at the place where it says that its part is, as `partcnn.explain` shows it.

    What the surroundings add, and filters that found nothing, lies nowhere.
    """
    name, mask = top_mask(network)
    with evaluation_mode(network), torch.no_grad(), recorded_feature_maps(network) as recorded:
        network(images)
        maps = recorded[name]
        contributions, around = network.logit_terms(mask.masked(maps))
        cells, is_found = mask.part_cells(maps), mask.peak_scores(maps) > 0
    shares = _of_classes(contributions, classes)
    placed = shares * is_found
    height, width = _size(images)
    x, y = layer_field(network, name, (height, width)).centers_px(cells).floor().long().unbind(dim=-1)
    pixel = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    pixels = placed.new_zeros(len(images), height * width).scatter_add_(1, pixel, placed)
    elsewhere = (shares - placed).sum(dim=1)
    if around is not None:
        elsewhere = elsewhere + _of_classes(around, classes)
    return Spread(pixels.view(-1, height, width), elsewhere)


def gradient_by_activation(network: nn.Module, images: Tensor, classes: Tensor) -> Spread:
    """Σ_filter x · ∂z_y / ∂x in each cell, x the top layer's masked map, of a network with any head."""
    name, mask = top_mask(network)
    with evaluation_mode(network):
        directions = F.one_hot(classes, len(conversion_of(network).classes))
        _, _, products, _ = gradient_activation(network, mask, images, directions)
    return _spread(products.sum(dim=1), layer_field(network, name, _size(images)))


def input_gradient(network: nn.Module, images: Tensor, classes: Tensor) -> Spread:
    """Σ_channel x · ∂z_y / ∂x, x the normalised input."""
    with evaluation_mode(network), torch.enable_grad():
        inputs = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(_of_classes(network(inputs), classes).sum(), inputs)
    return Spread((images * gradient).sum(dim=1), images.new_zeros(len(images)))


def grad_cam(network: nn.Module, images: Tensor, classes: Tensor) -> Spread:
    """Grad-CAM (Selvaraju et al., 2017), ReLU( Σ_channel mean(∂z_y / ∂a) · a ), by captum, upsampled as `sum_of_parts`.

    Of the last convolution that all of the logit passes: the top part layer, or, where filters compete, the trunk's
    last one, since what they hold is read beside their maps.

    Raises:
        ConfigError: captum is not installed.
    """
    check_captum()
    from captum.attr import LayerGradCam

    name = "trunk" if isinstance(network, CompetingNetwork) else top_mask(network)[0]
    layer: nn.Module = network.get_submodule(name)
    with evaluation_mode(network), torch.enable_grad():
        inputs = images.clone().requires_grad_()  # the trunk's weights may be frozen
        found = LayerGradCam(network, layer).attribute(inputs, target=classes, relu_attributions=True)
    return _spread(found[:, 0].detach(), layer_field(network, name, _size(images)))


def check_captum() -> None:
    """Raises ConfigError where grad-CAM cannot be had: before anything is trained for it."""
    if not has_captum():
        raise ConfigError("grad-CAM: expected captum, which is not installed; pip install 'partcnn[compare]'")


def has_captum() -> bool:
    """Whether grad-CAM can be had; nothing is imported."""
    return importlib.util.find_spec("captum") is not None


EXPLAINERS: dict[str, Explainer] = {
    CELLS: sum_of_parts,
    PLACES: parts_at_places,
    INPUT_GRADIENT: input_gradient,
    GRAD_CAM: grad_cam,
}


def _of_classes(values: Tensor, classes: Tensor) -> Tensor:  # [image, class, …] → [image, …]
    return values[torch.arange(len(classes)), classes]


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[2], images.shape[3]


def _spread(maps: Tensor, field: ReceptiveField) -> Spread:
    """Cells [image, row, col] → pixels, each cell's number divided by the pixels between it and the next."""
    area = field.stride_px[0] * field.stride_px[1]
    pixels = torch.stack([upsample_map(one, field.input_size, field) for one in maps.float()]) / area
    return Spread(pixels, pixels.new_zeros(len(maps)))
