"""torch.hub, from a folder: what was saved comes back, also where partcnn is not installed."""

import importlib.util
import json
import runpy
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import torch

from partcnn.foundation.errors import RunError
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import save
from partcnn.networks.demo_net import DemoNet

REPOSITORY = Path(__file__).parents[3]
NOT_INSTALLED = """\
import importlib.metadata, sys
sys.path.append({packages!r})  # without the file that leads to the package
known = importlib.metadata.version
def version(name):
    if name == "partcnn":
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)
importlib.metadata.version = version
import torch
model = torch.hub.load({repository!r}, "partcnn", {run!r}, source="local")
import partcnn
assert partcnn.__file__.startswith({repository!r}), partcnn.__file__
assert partcnn.__version__ == "not installed"
print(model(torch.ones(1, 3, 32, 40)).tolist())
"""


@pytest.fixture(autouse=True)
def _path_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = convert(DemoNet(), "features.block1", num_classes=2, filters=3, input_size=(32, 40))
    torch.nn.init.normal_(model.head.weight)  # type: ignore[union-attr, arg-type]
    return save(model.eval(), tmp_path / "run")


def test_a_saved_network_comes_back_without_an_installation(run: Path) -> None:
    here = torch.hub.load(str(REPOSITORY), "partcnn", str(run), source="local")
    packages = sysconfig.get_paths()["purelib"]
    code = NOT_INSTALLED.format(packages=packages, repository=str(REPOSITORY), run=str(run))
    found = subprocess.run(
        [sys.executable, "-S", "-c", code], capture_output=True, text=True, env={"OMP_NUM_THREADS": "1"}
    )
    assert found.returncode == 0, found.stderr
    with torch.no_grad():
        expected = here(torch.ones(1, 3, 32, 40))[0].tolist()
    assert json.loads(found.stdout)[0] == pytest.approx(expected)


def test_a_named_network_is_converted_with_its_own_preprocessing() -> None:
    settings = {"num_classes": 3, "weights": "none", "filters": 4}
    model = torch.hub.load(str(REPOSITORY), "part_network", "demo", "features.block3", source="local", **settings)
    record = conversion_of(model)
    assert (record.settings.num_classes, record.settings.filters) == (3, 4)
    assert record.preprocessing.input_size == record.settings.input_size == DemoNet.input_size
    assert model(torch.zeros(1, 3, *DemoNet.input_size)).shape == (1, 3)


def test_nothing_else_is_an_entry_and_what_is_no_network_is_refused(tmp_path: Path) -> None:
    names = runpy.run_path(str(REPOSITORY / "hubconf.py"))
    assert {name for name, value in names.items() if callable(value) and name[0] != "_"} == {"partcnn", "part_network"}
    assert not [name for name in names["dependencies"] if importlib.util.find_spec(name) is None]
    with pytest.raises(RunError, match=r"expected a directory written by partcnn\.save"):
        torch.hub.load(str(REPOSITORY), "partcnn", str(tmp_path), source="local")
