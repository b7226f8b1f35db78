"""A frozen trunk, made faster: channels last, and batch norms folded into the convolutions below them.

In evaluation mode a batch norm is a scale and a shift of each channel, γ (x − μ) / √(σ² + ε) + β, which a convolution's
weights can do by themselves. Depthwise networks spend nearly half of their time on them.
"""

import copy
from collections import Counter

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized

_TOLERANCE = 1e-3  # of the largest value: folding changes the last bits


def fast_trunk(trunk: nn.Module) -> nn.Module:
    """A copy in evaluation mode that gives the same maps, up to the last bits.

    Args:
        trunk: traced parts of it are folded, others are left as they are.
    """
    copied = copy.deepcopy(trunk).eval()
    with torch.no_grad():
        for module in list(copied.modules()):
            if isinstance(module, fx.GraphModule):
                _fold(module)
    return copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _fold(network: fx.GraphModule) -> None:
    uses = Counter(node.target for node in network.graph.nodes if node.op == "call_module")
    for node in network.graph.nodes:
        below = node.args[0] if node.args else None
        if not isinstance(below, fx.Node) or {node.op, below.op} != {"call_module"} or len(below.users) > 1:
            continue
        conv, norm = (network.get_submodule(str(one.target)) for one in (below, node))
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            folded = _folded(conv, norm) if uses[below.target] == uses[node.target] == 1 else None
            if folded is not None:
                network.set_submodule(str(below.target), folded)
                network.set_submodule(str(node.target), nn.Sequential(*norm.children()))


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d | None:
    """The convolution that does both; None where it would not, as one that changes its weights before it uses them.

    What follows within the norm, as timm's activation, is left to its children.
    """
    if norm.running_mean is None or norm.running_var is None or not (_is_bare(conv) and _is_bare(norm)):
        return None
    folded = copy.deepcopy(conv)
    folded.weight, folded.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    generator = torch.Generator().manual_seed(0)
    sides = [dilation * kernel + 4 for kernel, dilation in zip(conv.kernel_size, conv.dilation, strict=True)]
    noise = torch.randn(1, conv.in_channels, *sides, generator=generator).to(conv.weight)
    expected = norm.forward(conv.forward(noise))
    found = nn.Sequential(*norm.children())(folded.forward(noise))
    return folded if (found - expected).abs().max() <= _TOLERANCE * expected.abs().max() else None


def _is_bare(layer: nn.Module) -> bool:
    """Nothing watches it, and its weights are its own: weight and spectral norm make them anew before each run."""
    return not (layer._forward_hooks or layer._forward_pre_hooks or is_parametrized(layer))
