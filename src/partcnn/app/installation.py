"""What is installed beside the package, what is missing for what, and what the machine has. Asked without torch."""

import ctypes
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import ModuleType
from typing import Any

from packaging.requirements import Requirement

from partcnn.foundation.cache_place import default_directory, limit_of_environment
from partcnn.foundation.processors import usable_processors

# What each extra is for; `docs`, `notebook` and `dev` are for work on partcnn itself.
EXTRAS = {
    "timm": "networks of timm: --backbone timm:NAME, and runs on them",
    "transformers": "networks of transformers, given to partcnn.convert",
    "onnx": "partcnn export RUN --out FILE.onnx",
    "hub": "partcnn.push_to_hub and from_pretrained",
    "coco": "coco: data sets with compressed masks",
    "wandb": "train --logger wandb",
    "mlflow": "train --logger mlflow",
    "gradio": "examples/space: a page for a Space",
    "compare": "grad-CAM: evaluate --faithfulness, benchmark interventions",
}


@dataclass(frozen=True)
class Library:
    """A library that partcnn asks for.

    Args:
        name: on the package index.
        needed: its versions, as in ">=2.10"; "" for any.
        installed: its version; None where it is missing.
        is_fitting: whether that is one of those needed.
    """

    name: str
    needed: str
    installed: str | None
    is_fitting: bool


@dataclass(frozen=True)
class Extra:
    """Libraries for one purpose, which `pip install 'partcnn[NAME]'` brings."""

    name: str
    purpose: str
    libraries: list[Library]

    @property
    def is_installed(self) -> bool:
        return bool(self.libraries) and all(library.is_fitting for library in self.libraries)


@dataclass(frozen=True)
class Cache:
    """The folder of trunks' feature maps.

    Args:
        directory: None for a user without a home.
        num_bytes: of all files there; 0 where nothing was kept yet.
        max_bytes: its limit.
        is_writable: whether something can be kept there.
    """

    directory: str | None
    num_bytes: int
    max_bytes: int
    is_writable: bool


@dataclass(frozen=True)
class Installation:
    """What `installation` found."""

    partcnn: str
    python: str
    machine: str
    num_processors: int
    gpu: str
    cache: Cache
    libraries: list[Library]
    extras: list[Extra]

    @property
    def faults(self) -> list[Library]:
        """Libraries that every command may need, and that are missing or of a version that does not fit."""
        return [library for library in self.libraries if not library.is_fitting]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = asdict(self)
        for entry, extra in zip(found["extras"], self.extras, strict=True):
            entry["is_installed"] = extra.is_installed
        return found


def installation() -> Installation:
    """Look at this machine. torch is imported only where it was built for a GPU, and there is a driver.

    Raises:
        ConfigError: `PARTCNN_CACHE_GIB` is no number of at least 0.
    """
    needed = [Requirement(text) for text in requires("partcnn") or []]
    return Installation(
        partcnn=version("partcnn"),
        python=f"{platform.python_version()}, {sys.executable}",
        machine=f"{platform.system()} {platform.machine()}",
        num_processors=usable_processors(),
        gpu=_gpu(),
        cache=_cache(),
        libraries=list(_libraries(needed, "")),
        extras=[Extra(name, purpose, list(_libraries(needed, name))) for name, purpose in EXTRAS.items()],
    )


def _libraries(needed: list[Requirement], extra: str) -> Iterator[Library]:
    """Those that the extra adds; of "" those that are always needed."""
    for one in needed:
        if not _belongs(one, extra):
            continue
        try:
            found = version(one.name)
        except PackageNotFoundError:
            yield Library(one.name, str(one.specifier), None, is_fitting=False)
        else:
            is_fitting = one.specifier.contains(found, prereleases=True)
            yield Library(one.name, str(one.specifier), found, is_fitting=is_fitting)


def _belongs(one: Requirement, extra: str) -> bool:
    """Whether a library is one of the extra's; of "" whether it is always needed."""
    is_always = one.marker is None or one.marker.evaluate({"extra": ""})
    if is_always or not extra or one.marker is None:
        return is_always and not extra
    return one.marker.evaluate({"extra": extra})


def _cache() -> Cache:
    directory = default_directory()
    if directory is None:
        return Cache(None, 0, limit_of_environment(), is_writable=False)
    num_bytes = sum(_size(Path(folder, name)) for folder, _, names in os.walk(directory) for name in names)
    place = next(place for place in (directory, *directory.parents) if place.exists())
    return Cache(
        str(directory), num_bytes, limit_of_environment(), is_writable=place.is_dir() and os.access(place, os.W_OK)
    )


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:  # another process removed it
        return 0


def _gpu() -> str:
    """Which GPUs torch sees, or why none; in words."""
    built = _build_of_torch()
    if built is None:
        return "none: torch is not installed"
    if not (getattr(built, "cuda", None) or getattr(built, "hip", None)):
        return f"none: torch {built.__version__} is built for processors alone"
    if getattr(built, "cuda", None) and not _has_driver():
        return f"none: torch {built.__version__} is built for CUDA, and this machine has no driver for it"
    try:
        import torch

        names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    except (ImportError, OSError, RuntimeError) as error:  # a library of the driver is missing or too old
        return f"none: {' '.join(str(error).split())}"
    return ", ".join(names) or f"none seen by torch {built.__version__}: no card, or no driver for it"


def _has_driver() -> bool:
    """Whether the library of NVIDIA's driver can be loaded: asked before torch, which takes seconds to import."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _build_of_torch() -> ModuleType | None:
    """torch/version.py, which says for what torch was built; read alone, since torch takes seconds to import."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return None
    spec = importlib.util.spec_from_file_location("_build_of_torch", Path(found.origin).with_name("version.py"))
    if spec is None or spec.loader is None or not Path(str(spec.origin)).is_file():
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
