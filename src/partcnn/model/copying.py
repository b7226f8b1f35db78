"""A network as an argument: what can be taken for one, and a copy of it that fails in a sentence."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError
from partcnn.model.mask import PartMask

_Network = TypeVar("_Network", bound=nn.Module)


def check_network(network: object, argument: str) -> None:
    """Whether it is a network whose layers can be watched and taken.

    Args:
        network: what was given.
        argument: by whose name an error speaks of it.

    Raises:
        ConfigError: it is something else: a class, a name, a program of TorchScript.
    """
    if isinstance(network, type):
        raise ConfigError(
            f"{argument}: expected a network, got the class {network.__name__}; make one, {network.__name__}()"
        )
    if isinstance(network, torch.jit.ScriptModule):
        raise ConfigError(
            f"{argument}: expected a network of Python modules, got a program of TorchScript, whose layers cannot be "
            "taken; give the network that it was made of"
        )
    if not isinstance(network, nn.Module):
        raise ConfigError(f"{argument}: expected a torch.nn.Module, got {_described(network)}")


def copied(network: _Network, argument: str, way_out: str) -> _Network:
    """A copy by copy.deepcopy.

    Args:
        network: any.
        argument, way_out: what an error calls the network, and what it tells to do.

    Raises:
        ConfigError: it cannot be copied.
    """
    try:
        return copy.deepcopy(network)
    except Exception as error:  # of whatever hangs on the network: locks, files, tensors with a graph
        names = _with_graph(network)
        reason = (
            f"{', '.join(names[:3])}: tensors with a graph, as prune and weight_norm leave them after a forward pass"
            if names
            else (str(error).strip() or type(error).__name__).splitlines()[0]
        )
        raise ConfigError(f"{argument}: the network cannot be copied ({reason}); {way_out}") from error


def _with_graph(network: nn.Module) -> list[str]:
    """The dotted names of tensors that hang on a graph."""
    return [
        f"{name}.{key}".lstrip(".")
        for name, module in network.named_modules()
        if not isinstance(module, PartMask)  # what it records is not copied
        for key, value in {**vars(module), **module._buffers}.items()
        if isinstance(value, Tensor) and value.grad_fn is not None
    ]


def _described(value: object) -> str:
    text = repr(value) if isinstance(value, (str, int, float, type(None))) else ""
    return f"{text:.50} ({type(value).__name__})" if text else f"a {type(value).__name__}"
