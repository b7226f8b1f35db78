"""Where residual blocks add their branch to what the skip connection carries."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from partcnn.foundation.errors import LayerError
from partcnn.networks.probing.probe import probed

_ADDING = {"add", "add_", "__add__", "__iadd__", "__radd__"}


def residual_branches(cnn: nn.Module, input_size: tuple[int, int]) -> dict[str, str]:
    """Residual block → the last layer of its branch, both by dotted name, in the order of the forward pass.

    One picture of noise is passed through in eval mode and every addition of two maps is looked at. The skip
    connection is the term that is the block's own input, or that one layer makes from it (a projection); the
    branch is the other one. Blocks where both terms, or neither, look so are left out, and so are blocks whose
    branch is no module's output as it stands.
    """
    watcher = _AdditionWatcher()
    with watcher.installed(cnn), watcher:
        probed(cnn, input_size)
    return watcher.branches


def branch_below(layer: str, branches: Mapping[str, str]) -> str:
    """The last layer of the branch that is added last within a layer: a residual block, or what ends in one.

    Raises:
        LayerError: no branch is added to a skip connection there.
    """
    inside = [block for block in branches if block == layer or block.startswith(f"{layer}.")]
    if not inside:
        raise LayerError(
            f"layers: found no skip connection within {layer!r} to which a branch is added, as mask_skip=False needs; "
            f"there are: {', '.join(branches) or 'none'}"
        )
    return branches[inside[-1]]


class _AdditionWatcher(TorchFunctionMode):
    """Follows modules and additions by the identity of tensors, which are kept alive meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.branches: dict[str, str] = {}
        self._running: list[tuple[str, set[int]]] = []  # modules in progress, and the tensors they were given
        self._makers: dict[int, tuple[str, set[int]]] = {}  # of each tensor: the module that gave it, from what
        self._kept: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _ADDING and len(args) > 1 and self._running:
            first, second = args[:2]
            if isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape:
                self._look_at(first, second)
        return func(*args, **(kwargs or {}))

    @contextmanager
    def installed(self, cnn: nn.Module) -> Iterator[None]:
        """Within the context, hooks tell which module runs and what it gives."""
        handles = []
        for name, module in cnn.named_modules():
            handles.append(module.register_forward_pre_hook(self._start(name)))
            handles.append(module.register_forward_hook(self._finish))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _start(self, name: str) -> Any:
        def start(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._kept.append(inputs)
            self._running.append((name, {id(value) for value in inputs if isinstance(value, Tensor)}))

        return start

    def _finish(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._kept.append(output)
        self._makers[id(output)] = self._running.pop()

    def _look_at(self, first: Tensor, second: Tensor) -> None:
        block, given = self._running[-1]
        carried = [id(term) in given for term in (first, second)]
        if sum(carried) != 1:  # then a projection may have made one of them from what the block was given
            carried = [bool(self._maker(term)[1] & given) for term in (first, second)]
        name, _ = self._maker(second if carried[0] else first)
        if sum(carried) == 1 and name and name.startswith(f"{block}." if block else ""):
            self.branches.pop(block, None)  # of a block that runs twice the last run counts
            self.branches[block] = name

    def _maker(self, term: Tensor) -> tuple[str, set[int]]:
        return self._makers.get(id(term), ("", set()))
