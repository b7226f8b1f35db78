"""Networks by name: those of torchvision and timm, VGG-M and VGG-S, and small ones of our own to train from nothing.

The last linear layer of each is its library's classifier of 1000 classes; `partcnn.convert` replaces it.
"""

import difflib
import importlib
import importlib.util
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from torch import nn

from partcnn.foundation.errors import ConfigError, WeightsError
from partcnn.networks.demo_net import DemoNet, WideFieldNet
from partcnn.networks.paper_networks import VGGM, VGGS
from partcnn.networks.preprocessing import Preprocessing
from partcnn.networks.tensorflow_padding import Padding, with_padding
from partcnn.networks.weight_files import fit_weights, read_weights

_log = logging.getLogger("partcnn")
TIMM = "timm:"  # networks of that library begin so
# They can have training heads, which turn the output of `forward` into a tuple, and warn about their start.
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@dataclass(frozen=True)
class Backbone:
    """A network, the recipe its weights were trained with, and what its weights lacked."""

    name: str
    network: nn.Module
    preprocessing: Preprocessing
    padding: Padding = "torch"
    missing_layers: tuple[str, ...] = ()  # dotted names; untrained although a file of weights was given


def load_backbone(
    name: str,
    weights: str | Path | None = None,
    *,
    num_classes: int = 1000,
    padding: Padding | None = None,
    preprocessing: Preprocessing | None = None,
) -> Backbone:
    """Build a network and give it weights.

    Args:
        name: a classification network of torchvision ("resnet18"), "timm:NAME" where timm is installed, or one
            of `BACKBONES`: "vgg_m", "vgg_s", "demo" for DemoNet, and "wide_field" for WideFieldNet.
        weights: None or "none" for random ones; "default" for the library's own, which it downloads; or the
            path of a .safetensors, .pt or .pth file. Half precision is loaded as float32.
        num_classes: of the classifier; it is left untrained where the weights have another number. The
            library's own weights keep their classifier.
        padding: "tensorflow" pads strided convolutions as TensorFlow does, "torch" leaves them. None takes
            what the file's metadata says (see `partcnn.networks.weight_files`), else "torch".
        preprocessing: None takes the library's recipe, with the mean and std of the file's metadata if any.

    Returns:
        The network in evaluation mode, on the CPU. What was read from metadata and which layers the file
        lacks is logged to the logger "partcnn".

    Raises:
        ConfigError: the name or the padding is unknown, or timm is not installed.
        WeightsError: the weights cannot be downloaded, read, or fitted into the network.
    """
    is_path = weights is not None and str(weights) not in ("none", "default")
    file = read_weights(weights) if is_path and weights is not None else None
    recipe = file.recipe if file is not None else None
    chosen_padding = padding or cast(Padding, recipe.padding if recipe and recipe.padding else "torch")
    built = _built(name, pretrained=str(weights) == "default", num_classes=num_classes)
    network = with_padding(built, chosen_padding)
    missing = fit_weights(network, file) if file is not None else ()
    if preprocessing is None:
        preprocessing = _library_recipe(name, network)
        if recipe and recipe.mean and recipe.std:
            preprocessing = replace(preprocessing, mean=recipe.mean, std=recipe.std)
    if recipe and (recipe.mean or recipe.padding):
        _log.info("%s: by its metadata %s; used: %s padding, %s", weights, recipe, chosen_padding, preprocessing)
    return Backbone(name, network.eval(), preprocessing, chosen_padding, missing)


def build_network(spec: Mapping[str, Any]) -> nn.Module:
    """The network of a specification, random weights, evaluation mode.

    Args:
        spec: as `identify_network` gives it: a "name", and perhaps "num_classes", "padding" and "aux_logits".

    Raises:
        ConfigError: the spec has no name, or the name or the padding is unknown.
    """
    if "name" not in spec:
        raise ConfigError(f"backbone: expected a specification with a name, got {dict(spec)}")
    network = _built(
        str(spec["name"]),
        pretrained=False,
        num_classes=int(spec.get("num_classes", 1000)),
        aux_logits=bool(spec.get("aux_logits", False)),
    )
    return with_padding(network, spec.get("padding", "torch")).eval()


def _built(name: str, *, pretrained: bool, num_classes: int = 1000, aux_logits: bool = False) -> nn.Module:
    if name in BACKBONES:
        if pretrained:
            raise WeightsError(f"weights: {name} has no pretrained weights; leave them out or give a path")
        return BACKBONES[name](num_classes)
    if name.startswith(TIMM):
        build = _timm_builder(name, num_classes)
    else:
        build = _torchvision_builder(name, num_classes, aux_logits)
    if not pretrained:
        return build(False)
    try:
        return build(True)
    except Exception as error:  # the hubs' clients raise errors of many libraries, with no common base
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"weights: the pretrained weights of {name} could not be downloaded ({reason}); "
            "give a file with --weights PATH"
        ) from error


def _torchvision_builder(name: str, num_classes: int, aux_logits: bool) -> Callable[[bool], nn.Module]:
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise _unknown(name, [*BACKBONES, *known])

    def build(pretrained: bool) -> nn.Module:
        options: dict[str, Any] = {} if pretrained else {"num_classes": num_classes}
        if name in WITH_AUXILIARY_HEADS:
            options |= {"aux_logits": aux_logits, "init_weights": False}
        network: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None, **options)
        return network

    return build


def _timm_builder(name: str, num_classes: int) -> Callable[[bool], nn.Module]:
    if importlib.util.find_spec("timm") is None:
        raise ConfigError(f"backbone: {name} needs timm, which is not installed; pip install 'partcnn[timm]'")
    timm: Any = importlib.import_module("timm")  # Any, so that mypy says the same with and without the extra
    architecture = name.removeprefix(TIMM)
    if not timm.is_model(architecture):
        raise _unknown(name, [TIMM + known for known in timm.list_models()])

    def build(pretrained: bool) -> nn.Module:
        network: nn.Module = timm.create_model(architecture, pretrained=pretrained, num_classes=num_classes)
        return network

    return build


def _unknown(name: str, known: Iterable[str]) -> ConfigError:
    close = ", ".join(difflib.get_close_matches(name.lower(), list(known))) or "resnet18, demo"
    return ConfigError(
        f"backbone: expected a torchvision classification network, timm:NAME or demo, got {name!r}; close: {close}"
    )


def _library_recipe(name: str, network: nn.Module) -> Preprocessing:
    if name in BACKBONES:
        return Preprocessing(input_size=BACKBONES[name].input_size)
    if name.startswith(TIMM):
        timm_data: Any = importlib.import_module("timm.data")
        config = timm_data.resolve_model_data_config(network)
        return Preprocessing(tuple(config["input_size"][-2:]), tuple(config["mean"]), tuple(config["std"]))
    import torchvision

    recipe = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    side = recipe.crop_size[0]
    return Preprocessing((side, side), tuple(recipe.mean), tuple(recipe.std))


BACKBONES: dict[str, type[DemoNet] | type[WideFieldNet] | type[VGGM] | type[VGGS]] = {
    "demo": DemoNet,
    "wide_field": WideFieldNet,
    "vgg_m": VGGM,
    "vgg_s": VGGS,
}
