"""Which networks convert? Every CNN family of torchvision and a choice of timm's, with random weights.

    python benchmarks/architectures.py [--only NAME …] [--again] [--out docs/results/architectures]

For each network, at its own input size: `convert(network, "auto")`, a training step of task and filter loss with two
pictures, `save` and `load`, and ONNX. What fails is told with its reason, in one line. Networks that the .json holds
are not done again, so that an interrupted run goes on. The weights are random: it is
the paths that are tried, not what they learn.
"""

import argparse
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import partcnn
from partcnn.foundation.errors import PartCNNError
from partcnn.foundation.files import write_text
from partcnn.model.losses import filter_loss
from partcnn.model.network import conversion_of
from partcnn.model.saving.exporting import onnx_differences
from partcnn.model.trunks import HookedTrunk
from partcnn.networks.backbones import load_backbone
from partcnn.networks.probing.layer_shapes import layer_shapes
from partcnn.networks.probing.receptive_field import traced_fields

OURS = ["demo", "wide_field", "vgg_m", "vgg_s"]
TORCHVISION = """
    alexnet vgg11 vgg11_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 squeezenet1_0 squeezenet1_1
    googlenet inception_v3 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large shufflenet_v2_x0_5 shufflenet_v2_x1_0
    mnasnet0_5 mnasnet1_0 efficientnet_b0 efficientnet_v2_s regnet_x_400mf regnet_y_400mf convnext_tiny swin_t
"""
TIMM = """
    resnet10t resnet18d seresnet18 skresnet18 ecaresnet26t gcresnext26ts nf_resnet26 resnest14d res2net50_14w_8s
    res2next50 resnetv2_18 dpn48b dla46_c dla46x_c ese_vovnet19b_slim hrnet_w18_small cs3darknet_focus_s cspresnet50
    densenet121 vgg11_bn efficientnet_lite0 efficientnet_b0_gn tf_efficientnetv2_b0 mobilenetv2_050
    mobilenetv3_small_050 mobilenetv4_conv_small fbnetc_100 spnasnet_100 mnasnet_small semnasnet_050 mixnet_s
    ghostnet_050 ghostnetv2_100 hardcorenas_a tinynet_e lcnet_050 regnetx_002 regnety_002 regnetz_005 repvgg_a0
    repghostnet_050 gernet_s convnext_atto convnextv2_atto inception_next_atto legacy_xception nf_regnet_b0
    rexnet_100 selecsls42b edgenext_xx_small mobileone_s0 starnet_s050 fasternet_t0 hgnetv2_b0 focalnet_tiny_srf
    poolformer_s12 repvit_m0_9 mambaout_femto swin_tiny_patch4_window7_224
"""
TRANSFORMERS = ["ResNet", "ConvNext"]  # their small configurations, as ResNetForImageClassification and so on
COLUMNS = (
    "network,input,layer,channels,map,stride px,receptive field px,training step,save and load,ONNX,original,branch"
)
JOINED = " + "  # between the names of layers whose maps are joined
NUM_CLASSES = 2
RELOAD_TOLERANCE = 1e-6
ONNX_TOLERANCE = 1e-4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="names as in the table; without it all")
    parser.add_argument("--again", action="store_true", help="also those that the .json holds already")
    parser.add_argument("--no-onnx", action="store_true", help="leave the export out, which takes most of the time")
    parser.add_argument("--out", type=Path, default=Path("docs/results/architectures"), help="without an ending")
    options = parser.parse_args()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # of the libraries, about how they build themselves
    file = options.out.with_suffix(".json")
    rows: dict[str, dict[str, Any]] = (
        {row["name"]: row for row in json.loads(file.read_text())} if file.exists() else {}
    )
    wanted = [name for name in all_names() if options.only is None or name in options.only]
    for name in wanted:
        if name in rows and not options.again:
            continue
        rows[name] = surveyed(name, has_onnx=not options.no_onnx)
        print(line(rows[name]), flush=True)
        ordered = [rows[name] for name in all_names() if name in rows]
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, "[\n" + ",\n".join(json.dumps(row) for row in ordered) + "\n]\n")
        write_text(options.out.with_suffix(".md"), page(ordered))


def all_names() -> list[str]:
    return [
        *OURS,
        *TORCHVISION.split(),
        *(f"timm:{name}" for name in TIMM.split()),
        *(f"transformers:{name}" for name in TRANSFORMERS),
    ]


def surveyed(name: str, size: tuple[int, int] | None = None, *, has_onnx: bool = True) -> dict[str, Any]:
    """A row: what each step gave, or why it did not. Pictures are of the network's own size, or of `size`."""
    torch.manual_seed(0)
    start = time.perf_counter()
    row: dict[str, Any] = {"name": name}
    try:
        network, own_size = built(name)
        size = size or own_size
        row["input_size"] = list(size)
        model = partcnn.convert(network, num_classes=NUM_CLASSES, input_size=size)
        nn.init.normal_(model.head.weight, std=0.01)  # it starts at 0, and logits of 0 would be those of any network
        row |= chosen_layer(network, model, size)
        pictures = torch.randn(2, 3, *size)
        row["step"] = outcome(lambda: training_step(model, pictures))
        row["reload"] = outcome(lambda: reload_difference(model, pictures, name))
        if has_onnx:
            row["onnx"] = outcome(lambda: onnx_difference(model, pictures))
        row["original"] = outcome(lambda: original_layer(network, size, mask_skip=True))
        row["branch"] = outcome(lambda: original_layer(network, size, mask_skip=False))
    except Exception as error:
        row["reason"] = reason(error)
    row["seconds"] = round(time.perf_counter() - start, 1)
    return row


def built(name: str) -> tuple[nn.Module, tuple[int, int]]:
    """A network with random weights, and the size of the pictures it was made for."""
    if name.startswith("transformers:"):
        import transformers

        family = name.removeprefix("transformers:")
        config = getattr(transformers, f"{family}Config")(depths=[2, 2, 2, 2], num_labels=5)
        return getattr(transformers, f"{family}ForImageClassification")(config).eval(), (224, 224)
    backbone = load_backbone(name)
    return backbone.network, backbone.preprocessing.input_size


def chosen_layer(network: nn.Module, model: nn.Module, size: tuple[int, int]) -> dict[str, Any]:
    """The layers whose maps the trunk joins, at the cells of the first, and what a cell sees."""
    shapes = {shape.name: shape for shape in layer_shapes(network, size)}
    chosen = [shapes[name] for name in conversion_of(model).settings.layers]
    field = traced_fields(model, ["trunk"], size).get("trunk")
    return {
        "layer": JOINED.join(shape.name for shape in chosen),
        "num_channels": sum(shape.num_channels for shape in chosen),
        "map_size": list(chosen[0].map_size),
        "stride_px": [round(stride, 1) for stride in (field or chosen[0]).stride_px],
        "field_px": [round(side) for side in field.size_px] if field else None,
        "is_channels_last": chosen[0].is_channels_last,
        "is_traced": not any(isinstance(module, HookedTrunk) for module in model.modules()),
    }


def training_step(model: nn.Module, pictures: Tensor) -> dict[str, float]:
    """Task and filter loss of two pictures, and gradients down to the first layer."""
    labels = torch.tensor([0, 1])
    logits = model.train()(pictures)
    parts = filter_loss(model, labels)
    (F.cross_entropy(logits, labels) + parts).backward()
    gradients = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    lowest = gradients.get(next(key for key, value in model.named_parameters() if value.ndim == 4))
    if lowest is None or not lowest.abs().sum() > 0:
        raise ValueError("no gradient reaches the first convolution")
    if not all(gradient.isfinite().all() for gradient in gradients.values()) or not parts.isfinite():
        raise ValueError("a gradient or the filter loss is not finite")
    if parts == 0:
        raise ValueError("the filter loss is 0")
    return {"filter_loss": round(float(parts), 4)}


def reload_difference(model: nn.Module, pictures: Tensor, name: str) -> float:
    """Largest relative difference of the logits after `save` and `load`."""
    other = built(name)[0] if conversion_of(model).network is None else None  # without a name of its library
    with tempfile.TemporaryDirectory() as directory, torch.no_grad():
        expected = model.eval()(pictures)
        partcnn.save(model, directory)
        loaded = partcnn.load(directory, model=other)
        return checked(float((loaded(pictures) - expected).abs().max()) / largest_logit(expected), RELOAD_TOLERANCE)


def onnx_difference(model: nn.Module, pictures: Tensor) -> float:
    """Largest relative difference of onnxruntime's logits from ours."""
    with tempfile.TemporaryDirectory() as directory, torch.no_grad():
        file = partcnn.export(model, Path(directory) / "model.onnx")
        largest = largest_logit(model.eval()(pictures))
        return checked(onnx_differences(model, file, pictures)["logits"] / largest, ONNX_TOLERANCE)


def original_layer(network: nn.Module, size: tuple[int, int], *, mask_skip: bool) -> str:
    """The layer that head="original" takes; its state-dict keys, and the logits after undoing, are checked."""
    network.eval()
    picture = torch.randn(1, 3, *size)
    with torch.no_grad():
        before = network(picture)
        if not isinstance(before, Tensor):
            before = before.logits
        model = partcnn.convert(
            network, num_classes=before.shape[1], head="original", mask_skip=mask_skip, input_size=size
        )
        added = model.state_dict().keys() - network.state_dict().keys()
        if not added or not all(".part_mask." in key for key in added):
            raise ValueError(f"keys that are not the mask's: {sorted(added)[:3]}")
        with partcnn.recorded_feature_maps(model) as maps:
            model(picture)
            if not all((found >= 0).all() for found in maps.values()):  # raises too where a mask did not run
                raise ValueError("a mask reads negative values")
        (layer,) = conversion_of(model).settings.layers
        if not torch.equal(partcnn.remove_masks(model)(picture), before):
            raise ValueError("without its masks the network gives other logits than before")
    return str(layer)


def largest_logit(logits: Tensor) -> float:
    largest = float(logits.abs().max())
    if not 0 < largest < float("inf"):
        raise ValueError(f"the largest logit is {largest}")
    return largest


def checked(value: float, tolerance: float) -> float:
    if not value <= tolerance:
        raise ValueError(f"differs by {value:.1e}, allowed {tolerance:g}")
    return value


def outcome(step: Callable[[], Any]) -> Any:
    """What the step gives, or {"reason"}: one failed column does not keep the others back."""
    try:
        return step()
    except Exception as error:
        return {"reason": reason(error)}


def reason(error: Exception) -> str:
    """One line; of our own errors the whole, of others the kind and the first line."""
    text = " ".join(str(error).split()) if isinstance(error, PartCNNError) else (str(error).splitlines() or [""])[0]
    return text if isinstance(error, PartCNNError | ValueError) else f"{type(error).__name__}: {text}"


def failure(cell: Any) -> str | None:
    return cell["reason"] if isinstance(cell, dict) and "reason" in cell else None


def line(row: dict[str, Any]) -> str:
    """A row of the table; reasons are told below it."""
    if "reason" in row:
        return f"| {row['name']} | {' | '.join(['–'] * (len(COLUMNS.split(',')) - 1))} |"
    side, cells = (f"{pair[0]:g}×{pair[1]:g}" for pair in (row["input_size"], row["map_size"]))
    shown = [
        row["name"],
        side,
        f"`{row['layer']}`",
        str(row["num_channels"]),
        cells,
        f"{row['stride_px'][0]:g}",
        f"{row['field_px'][0]}" if row["field_px"] else "not traced",
        "no" if failure(row["step"]) else "yes",
        "no" if failure(row["reload"]) else f"{row['reload']:.0e}",
        "not run" if "onnx" not in row else "no" if failure(row["onnx"]) else f"{row['onnx']:.0e}",
        "no" if failure(row["original"]) else f"`{row['original']}`",
        "no" if failure(row["branch"]) else f"`{row['branch']}`",
    ]
    return f"| {' | '.join(shown)} |"


def page(rows: list[dict[str, Any]]) -> str:
    steps = {"step": "training step", "reload": "save and load", "onnx": "ONNX", "original": "original head"}
    told = {}
    for row in rows:
        found = {"conversion": row.get("reason")} | {title: failure(row.get(key)) for key, title in steps.items()}
        told[row["name"]] = [f"{title}: {text}" for title, text in found.items() if text]
    done = {
        title: sum(key in row and failure(row[key]) is None for row in rows)
        for key, title in {**steps, "branch": "branch alone"}.items()
    }
    whole = [row["name"] for row in rows if row.get("is_traced") is False]
    head = [
        "# Networks that convert",
        "",
        f'{len(rows)} networks with random weights, at their own input size. Converted with `layers="auto"`: '
        f"{sum('layer' in row for row in rows)}; "
        + ", ".join(f"{title}: {count}" for title, count in done.items())
        + ".",
        "",
        "Training step: task and filter loss of two pictures, finite gradients down to the first convolution. Save and",
        f"load, ONNX: largest difference of the logits over the largest logit; allowed are {RELOAD_TOLERANCE:g} and",
        f'{ONNX_TOLERANCE:g}. Original: the layer that `head="original"` takes; its state-dict keys are the network\'s',
        "and the mask's, and the logits after `remove_masks` are bit-identical to those before. Branch: the same with",
        "`mask_skip=False`; “no” where no layer's output is added as it is or channels are last. `make architectures`.",
        "",
        f"| {' | '.join(COLUMNS.split(','))} |",
        f"|{'---|' * len(COLUMNS.split(','))}",
    ]
    reasons = ["", "## Why not", ""] + [f"- {name}: {'; '.join(found)}" for name, found in told.items() if found]
    hooked = ["", "The trunks of these run whole, since they cannot be traced up to a layer: " + ", ".join(whole) + "."]
    return "\n".join([*head, *(line(row) for row in rows), *reasons, *(hooked if whole else [])]) + "\n"


if __name__ == "__main__":
    main()
