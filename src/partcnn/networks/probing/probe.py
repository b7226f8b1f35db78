"""Look at a network: run it once on noise, watch a layer, and leave everything as it was."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import LayerError

_COLOURS = 3
_MOST_TRIED = 8  # numbers of channels beside the first convolution's


def probed(cnn: nn.Module, input_size: tuple[int, int]) -> Any:
    """What the network gives for one picture of noise in eval mode, without a graph.

    Raises:
        LayerError: the network does not take pictures of this size.
    """
    return _probed(cnn, input_size)[1]


def num_input_channels(cnn: nn.Module, input_size: tuple[int, int]) -> int:
    """How many channels the pictures have that the network takes; it is left as it was.

    It runs where its first convolution is not one of colours.

    Raises:
        LayerError: the network does not take pictures of this size.
    """
    if _possible_channels(cnn)[0] == _COLOURS:
        return _COLOURS
    with left_as_it_was(cnn):
        return _probed(cnn, input_size)[0]


def _probed(cnn: nn.Module, input_size: tuple[int, int]) -> tuple[int, Any]:
    """The first number of channels that the network takes, and what it then gives."""
    reference = next(cnn.parameters(), torch.zeros(()))
    refused: Exception | None = None
    for num_channels in _possible_channels(cnn):
        picture = torch.randn(1, num_channels, *input_size, generator=torch.Generator().manual_seed(0))
        with evaluation_mode(cnn), torch.no_grad():
            try:
                return num_channels, cnn(picture.to(reference.device, reference.dtype))
            except (RuntimeError, ValueError, AssertionError, TypeError) as error:
                refused = refused or error
    reason = (str(refused).strip() or type(refused).__name__).splitlines()[0]
    raise LayerError(
        f"input_size: the network stops on a picture of {input_size[0]}×{input_size[1]} pixels with "
        f"{_possible_channels(cnn)[0]} channels ({reason}); give the size it was made for"
    ) from refused


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Within the context all modules are in evaluation mode; each gets its own mode back, also after an error."""
    was_training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in was_training:
            module.training = True


@contextmanager
def left_as_it_was(network: nn.Module) -> Iterator[None]:
    """Modes, and attributes that hooks or the forward pass set, are put back on exit."""
    before = [(module, dict(vars(module))) for module in network.modules()]
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


@contextmanager
def recorded_outputs(network: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Within the context, copies of the tensors that each named module gave, run by run.

    Copies, because a ReLU in place behind the module would change the tensor itself.
    """
    outputs: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def record(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        outputs[name].append(output.clone())

    with watched(network, layers, record):
        yield outputs


@contextmanager
def watched(network: nn.Module, names: Sequence[str], see: Any) -> Iterator[None]:
    """Within the context, `see(name, inputs, output)` is called after each run of the named modules."""

    def watcher(name: str) -> Any:
        def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            see(name, inputs, output)

        return watch

    handles = [network.get_submodule(name).register_forward_hook(watcher(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _possible_channels(model: nn.Module) -> list[int]:
    """Of the first convolution, then of pictures in colour and grey, and of the other convolutions, fewest first.

    The first that is registered need not be the first that runs. A convolution of its own class, such as timm's with
    standardised weights, is after tracing a plain module with a weight of four axes.
    """
    channels = []
    for module in model.modules():
        weight = module._parameters.get("weight")
        if isinstance(module, nn.Conv2d):
            channels.append(module.in_channels)
        elif weight is not None and weight.ndim == 4 and type(module) is nn.Module:
            channels.append(weight.shape[1])
    return list(dict.fromkeys([*channels[:1], _COLOURS, 1, *sorted(channels)[:_MOST_TRIED]]))
