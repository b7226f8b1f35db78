"""Whether two networks compute the same with the same weights, as far as their modules tell; and where they differ.

What a network computes hangs on more than the shapes of its weights: on the types of its modules, on their attributes
(strides, activation functions, flags), on hooks, and on a `forward` that was replaced. All of it is compared, and what
cannot be understood counts as another network.
"""

import functools
import sys
from collections.abc import Mapping
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

_EXEMPT = {  # attributes of modules that say nothing of what they compute
    "training",
    "default_cfg",  # timm's notes: on weights that could be downloaded, on how the network was asked for
    "pretrained_cfg",
    "_model_args",
    "_backward_hooks",  # of gradients, of saving and loading, of compiling
    "_backward_pre_hooks",
    "_is_full_backward_hook",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_compiled_call_impl",
    "_flat_weights",  # of recurrent layers: their weights once more
    "_flat_weight_refs",
    "attention_bias_cache",  # timm's: of weights, once more, from the first pass in evaluation mode on
}
_TABLES = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}  # compared in their own way


def difference(network: nn.Module, other: nn.Module) -> str | None:
    """The dotted name of the first thing in which two networks differ, or None.

    Values of weights, modes, devices and precision do not count, nor identities and timm's drop path, which acts in
    training alone.

    Args:
        network: any.
        other: what it may be; its weights may be on the device "meta".
    """
    return _Comparison().of_modules(network, other, "")


class _Comparison:
    """One comparison; a pair that was met is not gone into again, so that circles end.

    A module or a weight that stands in several places must do so in both networks.
    """

    def __init__(self) -> None:
        self._met: set[tuple[int, int]] = set()
        self._twins: dict[int, int] = {}

    def of_modules(self, one: nn.Module, other: nn.Module, name: str) -> str | None:
        if type(one) is not type(other) or not self._are_twins(one, other):
            return name or "its class"
        if not self._is_new(one, other):
            return None
        for tables in (_weights, _kept_buffers, _unsaved_buffers, _attributes, _children):
            found = self._of_tables(tables(one), tables(other), name)
            if found is not None:
                return found
        return None

    def _of_values(self, one: Any, other: Any, name: str) -> str | None:
        if one is other:
            return None
        if isinstance(one, nn.Module) and isinstance(other, nn.Module):
            return self.of_modules(one, other, name)
        if type(one) is not type(other):
            return name
        if isinstance(one, nn.Parameter):
            return None if one.shape == other.shape and self._are_twins(one, other) else name
        if isinstance(one, Tensor):
            return None if _are_equal(one, other) else name
        mine, its = _parts(one), _parts(other)
        if mine is not None and its is not None:
            return self._of_tables(mine, its, name) if self._is_new(one, other) else None
        return None if _is_same(one, other) else name

    def _of_tables(self, one: Mapping[Any, Any], other: Mapping[Any, Any], name: str) -> str | None:
        strange = [key for key in (*one, *other) if key not in one or key not in other]
        if strange:
            return _joined(name, strange[0])
        found = (self._of_values(value, other[key], _joined(name, key)) for key, value in one.items())
        return next((place for place in found if place is not None), None)

    def _are_twins(self, one: object, other: object) -> bool:
        """Whether neither stands in place of a third."""
        return all(self._twins.setdefault(id(a), id(b)) == id(b) for a, b in ((one, other), (other, one)))

    def _is_new(self, one: object, other: object) -> bool:
        pair = (id(one), id(other))
        is_new = pair not in self._met
        self._met.add(pair)
        return is_new


def _weights(module: nn.Module) -> dict[str, Any]:
    return dict(module._parameters)


def _kept_buffers(module: nn.Module) -> dict[str, Any]:
    """Those that are saved: what counts is the shape."""
    unsaved = module._non_persistent_buffers_set
    buffers = {key: buffer for key, buffer in module._buffers.items() if key not in unsaved}
    return {key: None if buffer is None else tuple(buffer.shape) for key, buffer in buffers.items()}


def _unsaved_buffers(module: nn.Module) -> dict[str, Any]:
    return {key: module._buffers[key] for key in module._non_persistent_buffers_set if key in module._buffers}


def _attributes(module: nn.Module) -> dict[str, Any]:
    """None is no attribute: a child that is not there may stand so."""
    return {key: value for key, value in vars(module).items() if value is not None and key not in _EXEMPT | _TABLES}


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """All that act in evaluation mode."""
    return {key: child for key, child in module._modules.items() if child is not None and not _is_idle(child)}


def _is_idle(module: nn.Module) -> bool:
    """Whether it passes on what it gets in evaluation mode: no hook and no other `forward` makes something of it."""
    drop_path = getattr(sys.modules.get("timm.layers"), "DropPath", nn.Identity)
    is_changed = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return type(module) in (nn.Identity, drop_path) and not is_changed


def _parts(value: Any) -> dict[Any, Any] | None:
    """What a value is made of; None of one that is compared as a whole."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple)):
        return dict(enumerate(value))
    if isinstance(value, functools.partial):
        return {"func": value.func, "args": value.args, **value.keywords}
    if isinstance(value, MethodType):
        return {"function": value.__func__, "self": value.__self__}
    if isinstance(value, FunctionType):
        names = ("__code__", "__defaults__", "__kwdefaults__", "__closure__")
        return {name: getattr(value, name) for name in names}
    if isinstance(value, CellType):
        return {"contents": value.cell_contents}
    return dict(vars(value)) if hasattr(value, "__dict__") and not isinstance(value, type) else None


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.device):
        return True
    try:
        return bool(one == other) or repr(one) == repr(other) == "nan"
    except Exception:  # an object's own comparison may raise anything
        return False


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Whether shapes and values are the same, these as far as both are there, in the precision of the first."""
    if one.shape != other.shape:
        return False
    return one.is_meta or other.is_meta or torch.equal(one.detach(), other.detach().to(one))


def _joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)
