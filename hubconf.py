"""Entry points of torch.hub, which needs no installed partcnn: `torch.hub.load(REPOSITORY, "partcnn", "my-run")`.

What is not an entry begins with an underscore: torch.hub lists all else that can be called.
"""

import sys
from pathlib import Path as _Path
from typing import Any as _Any

from torch import nn

dependencies = ["torch", "torchvision", "numpy", "PIL", "safetensors", "yaml"]
sys.path.insert(0, str(_Path(__file__).parent / "src"))  # names are loaded when they are first used, also later


def partcnn(checkpoint: str, model: nn.Module | None = None, **where: _Any) -> nn.Module:
    """A saved network in evaluation mode, see `partcnn.from_pretrained`.

    Args:
        checkpoint: a directory of `partcnn train`, `fit_folder` or `partcnn.save`; or OWNER/NAME of a repository of the
            Hugging Face hub, which needs huggingface_hub.
        model: the unconverted network, where it is one of your own.
        where: `revision` and `token` of that hub.
    """
    from partcnn.model.saving.hub import from_pretrained

    return from_pretrained(checkpoint, model, **where)


def part_network(
    backbone: str = "resnet18", layers: str = "auto", *, num_classes: int, weights: str = "default", **settings: _Any
) -> nn.Module:
    """A network with part filters that is not trained yet, see `partcnn.convert`.

    Args:
        backbone: a network of torchvision, or timm:NAME, which needs timm.
        layers: dotted module names with commas between them, or "auto".
        num_classes: of the task.
        weights: "default", the library's, downloaded; "none"; or a file.
        settings: other arguments of `partcnn.convert`, such as `background=0`.
    """
    from dataclasses import replace

    from partcnn.model.conversion import convert
    from partcnn.model.network import conversion_of
    from partcnn.networks.backbones import load_backbone

    made = load_backbone(backbone, weights)
    input_size = settings.pop("input_size", made.preprocessing.input_size)
    names = [name.strip() for name in layers.split(",")]
    model = convert(
        made.network,
        names if len(names) > 1 else layers,
        num_classes=num_classes,
        input_size=input_size,
        inplace=True,
        **settings,
    )
    conversion_of(model).preprocessing = replace(made.preprocessing, input_size=input_size)
    return model
