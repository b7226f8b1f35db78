"""What each filter of the top part layer adds to a logit: exactly for the additive head, else gradient × activation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.foundation.errors import LayerError, ShapeError
from partcnn.model.mask import PartMask, top_mask
from partcnn.model.network import PartNetwork, recorded_feature_maps, unwrapped
from partcnn.networks.probing.probe import evaluation_mode

_TOLERANCE = 1e-4  # of logit = bias + Σ shares, relative to the larger of the logit and 1


@dataclass(frozen=True)
class Attribution:
    """Of each picture one number, a logit or a difference of logits, split into a share per filter.

    explained = bias + surroundings + Σ shares + remainder.

    Args:
        layer: dotted name of the top part layer.
        logits: [image, class].
        explained: [image], the number that is split.
        shares: [image, filter].
        bias: [image]; 0 for the original head, whose biases are part of the remainder.
        surroundings: [image], what the cells add that no filter holds, where filters compete; None for others.
        remainder: [image], the completeness error: rounding for the additive head; for the original head what
            gradient × activation does not see, since the layers above are not linear.
        feature_maps, masked_feature_maps: [image, filter, row, col] before and after the mask.
        is_exact: whether the head is additive.
    """

    layer: str
    logits: Tensor
    explained: Tensor
    shares: Tensor
    bias: Tensor
    remainder: Tensor
    feature_maps: Tensor
    masked_feature_maps: Tensor
    is_exact: bool
    surroundings: Tensor | None = None


def attribute(model: nn.Module, images: Tensor, directions: Tensor | None = None) -> Attribution:
    """Split Σ_c direction_c · logit_c of every picture into what each filter of the top part layer adds.

    Additive head: share_f = Σ_c direction_c · contribution_cf, see `PartNetwork.logit_terms`; that they add up
    is checked on every call. Original head: share_f = Σ_ij x_ij ∂explained/∂x_ij, x the masked map (gradient ×
    activation; Shrikumar et al. 2016), with the remainder told.

    Args:
        model: made by `partcnn.convert`; left in the mode it was in.
        images: [image, 3, H, W], preprocessed; moved to the model's device and type.
        directions: [image, class]; one-hot explains a class, e_a − e_b why a and not b. None: the predicted class.

    Returns:
        Everything in float32 on the CPU.

    Raises:
        LayerError: the network has no part layers, or its shares miss the logit.
        ShapeError: directions of another shape than the logits.
    """
    inner = unwrapped(model)
    name, mask = top_mask(inner)
    images = images.to(next(inner.parameters()))
    with evaluation_mode(inner), recorded_feature_maps(inner) as maps:
        if isinstance(inner, PartNetwork):
            logits, masked, shares, bias, surroundings, directions = _exact(inner, mask, images, directions)
        else:
            logits, masked, shares, bias, directions = _by_gradient(inner, mask, images, directions)
            surroundings = None
        raw = maps[name].detach().float().cpu()
    explained = (logits.double() * directions.double()).sum(dim=1)
    remainder = explained - bias.double() - shares.double().sum(dim=1)
    if surroundings is not None:
        remainder = remainder - surroundings.double()
    is_exact = isinstance(inner, PartNetwork)
    if is_exact:
        _check_sum(explained, remainder)
    explained, remainder = explained.float(), remainder.float()
    return Attribution(name, logits, explained, shares, bias, remainder, raw, masked, is_exact, surroundings)


def _exact(
    network: PartNetwork, mask: PartMask, images: Tensor, directions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor]:
    with torch.inference_mode():
        logits = network(images).float().cpu()
        assert mask.feature_maps is not None  # the forward pass just recorded them
        masked = mask.masked(mask.feature_maps)
        contributions, around = network.logit_terms(masked)
        directions = _directions(directions, logits)
        shares = torch.einsum("icf,ic->if", contributions.float().cpu(), directions)
        bias = directions @ network.bias.float().cpu()
        surroundings = None if around is None else (around.float().cpu() * directions).sum(dim=1)
    return logits, masked.float().cpu(), shares, bias, surroundings, directions


def _by_gradient(
    network: nn.Module, mask: PartMask, images: Tensor, directions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    logits, masked, products, directions = gradient_activation(network, mask, images, directions)
    shares = products.sum(dim=(2, 3)).cpu()
    return logits.float().cpu(), masked.float().cpu(), shares, shares.new_zeros(len(shares)), directions.float().cpu()


def gradient_activation(
    network: nn.Module, mask: PartMask, images: Tensor, directions: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x · ∂(Σ_c direction_c · logit_c) / ∂x in each cell, x the masked map; any head.

    Args:
        network: in evaluation mode.
        mask: its `top_mask`.
        images: [image, channel, H, W], as the network takes them.
        directions: as of `attribute`.

    Returns:
        Logits [image, class], masked maps and products [image, filter, row, col], and the directions; on the device.
    """
    with torch.inference_mode(False), torch.enable_grad(), _cut_at(mask) as cut:
        logits = network(images.clone())  # a clone made here is no inference tensor
        on_device = _directions(directions, logits.detach()).clone()
        (gradient,) = torch.autograd.grad((logits * on_device).sum(), cut[-1])
    masked = cut[-1].detach()
    return logits.detach(), masked, masked.float() * gradient.float(), on_device


@contextmanager
def _cut_at(mask: PartMask) -> Iterator[list[Tensor]]:
    """Within the context the masked maps are leaves of the graph, so that no gradient runs below them."""
    leaves: list[Tensor] = []

    def cut(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        leaves.append(output.detach().clone().requires_grad_())
        return leaves[-1].clone()  # a layer above may change its input in place

    handle = mask.register_forward_hook(cut)
    try:
        yield leaves
    finally:
        handle.remove()


def _directions(directions: Tensor | None, logits: Tensor) -> Tensor:
    if directions is None:
        directions = F.one_hot(logits.argmax(dim=1), logits.shape[1])
    if directions.shape != logits.shape:
        raise ShapeError(f"directions: expected [image, class] {list(logits.shape)}, got {list(directions.shape)}")
    return directions.to(logits)


def _check_sum(explained: Tensor, remainder: Tensor) -> None:
    worst = int((remainder.abs() - _TOLERANCE * explained.abs().clamp(min=1)).argmax())
    gap, value = float(remainder[worst].abs()), float(explained[worst])
    if gap > _TOLERANCE * max(1.0, abs(value)):
        raise LayerError(
            f"explain: the contributions miss the logit {value:.6g} by {gap:.2g}; the head is not additive"
        )
