"""One training on several devices: the same as on one; and how it ends where it cannot be."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import distributed

from tests.training import device_runs

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed training")

SCRIPT = Path(device_runs.__file__)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """19 pictures of three classes: the last batch of 6 has one, and of two ranks one has none."""
    folder = tmp_path_factory.mktemp("devices")
    random = np.random.default_rng(0)
    for index in range(19):
        pixels = random.integers(60, 130, size=(32, 32, 3), dtype=np.uint8)
        row, col = random.integers(2, 20, size=2)
        pixels[row : row + 10, col : col + 10, index % 3] = 255
        place = folder / "pictures" / "abc"[index % 3] / f"{index:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place)
    return folder


@pytest.fixture(scope="module")
def two_ranks(folder: Path) -> Path:
    """Where two processes of one torchrun have trained every case."""
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(folder), *device_runs.CASES]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.parametrize("case", device_runs.CASES)
def test_a_training_on_two_devices_is_that_of_one(case: str, two_ranks: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(device_runs.PRECISIONS, "fp32", "64-true")
    weights, history = device_runs.trained(two_ranks / "pictures", case)
    for rank in range(2):
        found, found_history = torch.load(two_ranks / f"{case} {rank}.pt")
        torch.testing.assert_close(found, weights, rtol=1e-7, atol=1e-9)
        assert len(found_history) == len(history) >= 3
        for ours, theirs in zip(found_history, history, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-8)
