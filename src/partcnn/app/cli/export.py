"""partcnn export: a network as one file."""

import importlib.util

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.tables import console


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory, or one that partcnn.save wrote; demo: comes with the package")
    parser.add_argument("--out", type=str, required=True, help="the file, such as model.onnx or model.pt2")
    parser.add_argument("--format", type=str | None, help="onnx or torch-export; without it by the file's ending")
    parser.add_argument(
        "--parts", action="store_true", help="also give masked maps, peaks and each filter's contributions"
    )


def execute(options: Namespace) -> int:
    import torch

    from partcnn.app.runs.opening import open_network
    from partcnn.model.network import conversion_of
    from partcnn.model.saving.exporting import export, onnx_differences, output_names

    model = open_network(options.run)
    path = export(model, options.out, format=options.format, parts=options.parts)
    size = path.stat().st_size / 2**20
    console().print(
        f"{path}: {size:.1f} MiB, gives {', '.join(output_names(model, parts=options.parts))}", soft_wrap=True
    )
    if path.suffix == ".onnx" and importlib.util.find_spec("onnxruntime") is not None:
        preprocessing = conversion_of(model).preprocessing
        noise = torch.randn(3, preprocessing.channels, *preprocessing.input_size)
        gap = max(onnx_differences(model, path, noise).values())
        console().print(f"onnxruntime gives the same on three pictures of noise, to {gap:.1e}")
    return DONE
