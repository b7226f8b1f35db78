"""Import torchvision where its compiled operators do not match the installed torch.

torchvision from the package index is a CUDA build. On a CPU torch its import stops with "operator
torchvision::nms does not exist", and with it timm, torchmetrics and lightning. Nothing here uses these
operators, so their schemas are declared and the import is tried again. On a sound build this does nothing.
"""

import importlib
import re
import sys
from types import ModuleType

import torch

_MISSING_OPERATOR = re.compile(r"operator torchvision::(\w+) does not exist")
_MAX_OPERATORS = 8  # torchvision declares fewer; the bound only ends a loop that would not help
_declared: list[torch.library.Library] = []  # a Library undoes its declarations when it is collected


def import_torchvision() -> ModuleType:
    """The torchvision module, with the schemas of missing operators declared where that is all it lacks."""
    for _ in range(_MAX_OPERATORS):
        try:
            return importlib.import_module("torchvision")
        except RuntimeError as error:
            missing = _MISSING_OPERATOR.search(str(error))
            if missing is None:
                raise
            _declare(missing.group(1))
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
    return importlib.import_module("torchvision")


def _declare(operator: str) -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.append(library)


import_torchvision()
