"""partcnn export: a network as one file, or as a page that runs it in a browser."""

import importlib.util
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.tables import console

WEB = "web"


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory, or one that partcnn.save wrote; demo: comes with the package")
    parser.add_argument(
        "--out", type=str, required=True, help="the file, such as model.onnx or model.pt2; the folder of a page"
    )
    parser.add_argument(
        "--format",
        type=str | None,
        help="onnx or torch-export, without it by the file's ending; web: a page that explains pictures in the browser",
    )
    parser.add_argument(
        "--parts", action="store_true", help="also give masked maps, peaks and each filter's contributions"
    )
    parser.add_argument(
        "--runtime",
        type=str | None,
        help="for web: the folder of onnxruntime-web's files; without it node_modules/onnxruntime-web/dist",
    )


def execute(options: Namespace) -> int:
    from partcnn.foundation.errors import ConfigError

    if options.format == WEB:
        return _write_page(options)
    if options.runtime is not None:
        raise ConfigError(f"runtime: expected with --format {WEB} alone; leave it out")
    from partcnn.app.runs.opening import open_network
    from partcnn.model.saving.exporting import FORMATS, export, output_names

    if options.format not in (None, *FORMATS):
        raise ConfigError(f"format: expected one of {', '.join((*FORMATS, WEB))}, got {options.format!r}")
    model = open_network(options.run)
    path = export(model, options.out, format=options.format, parts=options.parts)
    size = path.stat().st_size / 2**20
    console().print(
        f"{path}: {size:.1f} MiB, gives {', '.join(output_names(model, parts=options.parts))}", soft_wrap=True
    )
    if path.suffix == ".onnx":
        _tell_difference(model, path)
    return DONE


def _write_page(options: Namespace) -> int:
    from partcnn.app.runs.opening import followed_parts_in, open_network
    from partcnn.model.saving.shipped import run_directory
    from partcnn.reporting.viewer.web_page import NETWORK_FILE, RUNTIME_FOLDER, write_web_page

    model, directory = open_network(options.run), run_directory(options.run)
    files = write_web_page(
        model,
        options.out,
        runtime=RUNTIME_FOLDER if options.runtime is None else options.runtime,
        name=directory.resolve().name,
        parts=followed_parts_in(directory),
    )
    size = sum(file.stat().st_size for file in files) / 2**20
    console().print(f"{options.out}: {size:.1f} MiB, {', '.join(file.name for file in files)}", soft_wrap=True)
    _tell_difference(model, Path(options.out) / NETWORK_FILE)
    console().print(
        f"python -m http.server --directory {options.out}, then open http://localhost:8000/ and drop a picture",
        soft_wrap=True,
    )
    return DONE


def _tell_difference(model: Any, path: Path) -> None:
    """Runs the file beside the network, where onnxruntime is installed."""
    if importlib.util.find_spec("onnxruntime") is None:
        return
    import torch

    from partcnn.model.network import conversion_of
    from partcnn.model.saving.exporting import onnx_differences

    preprocessing = conversion_of(model).preprocessing
    noise = torch.randn(3, preprocessing.channels, *preprocessing.input_size)
    gap = max(onnx_differences(model, path, noise).values())
    console().print(f"onnxruntime gives the same on three pictures of noise, to {gap:.1e}")
