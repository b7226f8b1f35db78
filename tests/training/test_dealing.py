"""The pass of an evaluation over several devices: the batches of one, in their order."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import distributed

from partcnn.datasets.loading import load_dataset
from partcnn.training.dealing import dealt_rows
from tests.training import dealing_runs


@pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed training")
@pytest.mark.slow
@pytest.mark.fault(
    "devices",
    "an evaluation of 55 pictures on three devices; one cannot be read by another device; one is given up",
    "The maps of one device bit by bit, each picture once; the sentence of the other device; the next is whole.",
)
def test_a_pass_that_is_dealt_out_is_that_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(0)
    for index in range(55):  # four batches, the last of 7; of three ranks two have a batch less
        place = tmp_path / "pictures" / "ab"[index % 2] / f"{index:02d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, size=(32, 32, 3), dtype=np.uint8)).save(place)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script = [str(dealing_runs.__file__), str(tmp_path / "pictures"), str(tmp_path / "found.pt")]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", *script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    found = torch.load(tmp_path / "found.pt")
    dataset = load_dataset(f"folder:{tmp_path / 'pictures'}", split="all")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as there: with others sums are rounded otherwise
    expected = dealing_runs.passes(dealing_runs.network(seed=0), dataset, None)
    torch.set_num_threads(threads)
    assert len(found["whole"]) == 55
    assert torch.equal(found["whole"], expected["whole"])
    assert torch.equal(found["last"], expected["last"])
    assert found["error"] == expected["error"]


@given(st.integers(0, 200), st.integers(1, 9))
def test_every_row_is_dealt_once_in_the_batches_of_one_process(num_rows: int, num_ranks: int):
    shares = dealt_rows(range(num_rows), num_ranks)
    batches = [[share[start : start + 16] for start in range(0, len(share), 16)] for share in shares]
    dealt = [own[turn] for turn in range(len(batches[0])) for own in batches if turn < len(own)]
    assert dealt == [list(range(num_rows))[start : start + 16] for start in range(0, num_rows, 16)]
    assert all(len(batches[0]) - 1 <= len(own) <= len(batches[0]) for own in batches)
