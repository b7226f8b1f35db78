"""Import torchvision where its compiled operators do not match the installed torch.

torchvision from the package index is a CUDA build. On a CPU torch its import stops with "operator
torchvision::nms does not exist", and with it timm, torchmetrics and lightning. Nothing here uses these
operators, so their schemas are declared and the import is tried again. On a sound build this does nothing.

`partcnn` puts the watch up when it is imported, which costs nothing until somebody imports torchvision.
"""

import re
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")
_MAX_OPERATORS = 8  # torchvision declares fewer; the bound only ends a loop that would not help
_declared: list[Any] = []  # a torch.library.Library undoes its declarations when it is collected


def watch_torchvision() -> None:
    """From now on an import of torchvision declares the operators that it lacks."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """torchvision's own loader, tried again after each operator that was missing."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        for _ in range(_MAX_OPERATORS):
            try:
                return self._own.exec_module(module)
            except RuntimeError as error:
                missing = _MISSING_OPERATOR.search(str(error))
                if missing is None:
                    raise
                _declare(missing.group(1))
                for name in [name for name in sys.modules if name.startswith("torchvision.")]:
                    del sys.modules[name]
        return self._own.exec_module(module)


def _declare(operator: str) -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)
