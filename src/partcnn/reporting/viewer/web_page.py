"""A folder with a page that explains pictures within the browser, for any server of plain files.

The network is an ONNX file with its contributions, run by onnxruntime-web in WebAssembly, on one thread. The page
asks its own folder for files and nothing else, and sends nothing.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from partcnn.foundation.errors import ConfigError, LayerError
from partcnn.foundation.files import as_path, replace_file, write_text
from partcnn.model.competing_mask import competing_masks
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, conversion_of, layer_field, unwrapped
from partcnn.model.saving.exporting import export, file_metadata
from partcnn.plot import heat_colours
from partcnn.reporting.packing import pack_array, pack_field
from partcnn.reporting.swatches import swatches
from partcnn.reporting.templates import as_json, page_environment, script_hash
from partcnn.reporting.viewer.answer import page_script, page_style, term_name

PAGE_FILE = "index.html"
NETWORK_FILE = "model.onnx"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
RUNTIME_FOLDER = "node_modules/onnxruntime-web/dist"  # where npm puts them


def write_web_page(
    model: nn.Module,
    folder: str | os.PathLike[str],
    *,
    runtime: str | os.PathLike[str] = RUNTIME_FOLDER,
    name: str = "network",
    parts: dict[int, str] | None = None,
) -> list[Path]:
    """Write index.html, model.onnx and onnxruntime-web's two files; served, the page explains pictures by itself.

    Args:
        model: made by `partcnn.convert`, with the additive head.
        folder: is made where missing; files of these names in it are replaced.
        runtime: the folder `dist` of the npm package onnxruntime-web, 1.20 or later.
        name: to show, such as that of the run.
        parts: filter → the part it follows, to show beside it.

    Returns:
        The files, the page last.

    Raises:
        LayerError: the network was not made by `partcnn.convert`, its head is no sum of parts, or ONNX cannot
            follow it.
        ConfigError: onnxruntime-web's files or the extra `onnx` are missing, the folder is a file, or the network
            takes neither colour nor grey.
    """
    folder = as_path(folder, ConfigError, "folder: expected the folder to write")
    runtime = as_path(runtime, ConfigError, "runtime: expected the folder dist of onnxruntime-web")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"folder: expected a folder, new or not, got the file {folder}")
    missing = [file for file in RUNTIME_FILES if not (runtime / file).is_file()]
    if missing:
        raise ConfigError(
            f"runtime: expected onnxruntime-web's folder with {' and '.join(missing)}, got {runtime}; "
            f"npm install onnxruntime-web, then give {RUNTIME_FOLDER}"
        )
    record = conversion_of(model)
    if not isinstance(unwrapped(model), PartNetwork):
        raise LayerError("model: the page shows a logit as a sum of parts, which needs the additive head")
    record.preprocessing.normalisation()  # raises where it takes no pictures
    network = export(model, folder / NETWORK_FILE, format="onnx", parts=True)
    for file in RUNTIME_FILES:
        replace_file(folder / file, lambda copy, file=file: shutil.copyfile(runtime / file, copy))  # type: ignore[misc]
    files = [network, *(folder / file for file in RUNTIME_FILES)]
    size = round(sum(file.stat().st_size for file in files) / 1e6)
    write_text(folder / PAGE_FILE, _page_text(model, name, parts or {}, size))
    return [*files, folder / PAGE_FILE]


def _page_text(model: nn.Module, name: str, parts: dict[int, str], megabytes: int) -> str:
    is_tiling = bool(competing_masks(model))
    script = page_script("web.js")
    template = page_environment("partcnn.reporting.viewer").get_template("web.html")
    return template.render(
        name=name,
        classes=conversion_of(model).classes,
        style=page_style(),
        script=script,
        script_hash=script_hash(script),
        data=as_json(_page_data(model, parts, is_tiling) | {"megabytes": megabytes}),
        is_tiling=is_tiling,
    )


def _page_data(model: nn.Module, parts: dict[int, str], is_tiling: bool) -> dict[str, Any]:
    """What the file says about itself, and names, colours and places as the page's scripts take them."""
    layer, mask = top_mask(unwrapped(model))
    names = conversion_of(model).filter_names
    own = swatches(mask.num_filters, parts, names)
    shared: dict[str | int, list[int]] = {}
    for number in range(mask.num_filters):
        shared.setdefault(names.get(number, number), []).append(number)
    return {
        **file_metadata(model),
        "network": NETWORK_FILE,
        "runtime": RUNTIME_FILES[0],
        "field": pack_field(layer_field(model, layer)),
        "terms": [
            {"name": term_name(names.get(filters[0]), filters, parts, is_tiling=is_tiling), "filters": filters}
            for filters in shared.values()
        ],
        "filters": [one.name for one in own.values()],
        "swatches": [vars(one) for one in own.values()] if is_tiling else None,
        "colours": None if is_tiling else pack_array(heat_colours(), "u8"),
    }
