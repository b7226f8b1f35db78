"""What is told of an installation is what is there."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest

from partcnn.app import installation as module
from partcnn.app.installation import EXTRAS, installation
from partcnn.foundation.errors import ConfigError


def test_a_library_that_is_missing_or_too_old_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=2", "numpy<1", "no-such-library>=3", "timm>=99; extra == 'timm'", "also-none; extra == 'hub'"]
    monkeypatch.setattr(module, "requires", lambda _: needed)
    found = installation()
    assert [(one.name, one.installed, one.is_fitting) for one in found.libraries] == [
        ("torch", version("torch"), True),
        ("numpy", version("numpy"), False),
        ("no-such-library", None, False),
    ]
    assert [one.name for one in found.faults] == ["numpy", "no-such-library"]
    missing = {extra.name: [one.name for one in extra.libraries] for extra in found.extras if not extra.is_installed}
    unknown = {name: [] for name in EXTRAS}  # to metadata of an earlier version: not there either
    assert missing == unknown | {"timm": ["timm"], "hub": ["also-none"]}


def test_this_installation_is_whole_and_tells_its_extras() -> None:
    found = installation()
    assert found.faults == []
    assert {"torch", "lightning", "matplotlib"} <= {one.name for one in found.libraries}
    assert [extra.name for extra in found.extras] == list(EXTRAS)
    assert all(extra.libraries for extra in found.extras)
    assert not {"pytest", "timm"} & {one.name for one in found.libraries}


def test_the_cache_is_counted_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PARTCNN_CACHE_GIB", "0.5")
    assert installation().cache == module.Cache(str(tmp_path / "cache"), 0, 2**29, is_writable=True)
    (tmp_path / "cache" / "features").mkdir(parents=True)
    (tmp_path / "cache" / "features" / "one").write_bytes(bytes(1000))
    assert installation().cache.num_bytes == 1000
    monkeypatch.setenv("PARTCNN_CACHE_GIB", "much")
    with pytest.raises(ConfigError, match="PARTCNN_CACHE_GIB"):
        installation()


@pytest.mark.parametrize(
    ("version_file", "told"),
    [
        ("__version__ = '2.13.0+cpu'\ncuda = None\nhip = None\n", "built for processors alone"),
        ("__version__ = '2.13.0'\ncuda = None\nhip = '7.0'\n", "libamdhip64.so.7: no such file"),
    ],
    ids=["for processors", "for ROCm"],
)
def test_a_torch_for_gpus_is_asked_for_them_and_another_is_not(tmp_path: Path, version_file: str, told: str) -> None:
    """A package `torch` of our own: it says for what it is built, and cannot be imported."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libamdhip64.so.7: no such file')")
    (tmp_path / "torch" / "version.py").write_text(version_file)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "from partcnn.app.installation import installation; print(installation().gpu)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told in found.stdout


def test_a_torch_for_cuda_is_not_imported_where_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_build_of_torch", lambda: SimpleNamespace(__version__="2.13.0", cuda="13.0"))
    monkeypatch.setattr(module, "_has_driver", lambda: False)
    assert "built for CUDA, and this machine has no driver" in installation().gpu
