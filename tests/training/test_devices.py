"""One training on several devices: the same as on one; and how it ends where it cannot be."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from jsonargparse import Namespace
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from PIL import Image
from torch import Tensor, distributed

from partcnn.app.cli import train
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import ConfigError
from partcnn.foundation.processes import is_first_process
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.batches import EpochBatches, EpochLoader
from partcnn.training.devices import chosen_devices, leave_devices
from partcnn.training.features import FeatureViews
from partcnn.training.views import PictureViews
from tests.training import device_runs

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed training")

SCRIPT = Path(device_runs.__file__)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
CASES = sorted(device_runs.CASES.keys() - {"killed"})


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


@pytest.fixture(autouse=True)
def _on_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def two_ranks(folder: Path) -> Path:
    """Where two processes of one torchrun have trained every case, one after the other."""
    command = [*TORCHRUN, "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(folder), *CASES]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return folder


def two_hosts(folder: Path, case: str) -> list[tuple[int, str]]:
    """How two torchruns of one process each end, that meet on the loopback: status and output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    where = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    commands = [[*TORCHRUN, *where, "--node-rank", str(rank), str(SCRIPT), str(folder), case] for rank in range(2)]
    pipe = subprocess.PIPE
    hosts = [subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) for command in commands]
    try:
        outputs = [host.communicate(timeout=600)[0] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
            host.communicate()
    return [(host.returncode, output) for host, output in zip(hosts, outputs, strict=True)]


def assert_as_of_one_process(folder: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(device_runs.PRECISIONS, "fp32", "64-true")
    weights, history = device_runs.trained(folder / "pictures", case)
    for rank in range(2):
        found, found_history = torch.load(folder / f"{case} {rank}.pt")
        torch.testing.assert_close(found, weights, rtol=1e-5, atol=1e-6)
        assert len(found_history) == len(history) >= 3
        for ours, theirs in zip(found_history, history, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            marks=pytest.mark.fault(
                "devices",
                f"3 epochs on two devices, batches of uneven shares, one of them empty ({case})",
                "The weights and the log of one device.",
            ),
        )
        for case in CASES
    ],
)
def test_a_training_on_two_devices_is_that_of_one(case: str, two_ranks: Path, monkeypatch: pytest.MonkeyPatch):
    assert_as_of_one_process(two_ranks, case, monkeypatch)


@pytest.mark.slow
@pytest.mark.fault("devices", "two hosts of one device each", "The weights and the log of one device.")
def test_a_training_on_two_hosts_is_that_of_one(folder: Path, monkeypatch: pytest.MonkeyPatch):
    for status, output in two_hosts(folder, "labelled"):
        assert status == 0, output
    assert_as_of_one_process(folder, "labelled", monkeypatch)


@pytest.mark.slow
@pytest.mark.fault(
    "devices",
    "one of two hosts is killed in an epoch",
    "The other ends at once, and says that a process is gone; training goes on where it was, on one.",
)
def test_a_host_that_is_killed_ends_the_training_of_the_other(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (first, output), (second, _) = two_hosts(folder, "killed")
    assert first > 0
    assert "DeviceError: devices: another process of this training has ended" in output
    assert second == -9
    assert not (folder / "killed 0.pt").exists()
    monkeypatch.setitem(device_runs.PRECISIONS, "fp32", "64-true")
    expected, history = device_runs.trained(folder / "pictures", "competing")
    directory = folder / "run killed"
    found, found_history = device_runs.trained(folder / "pictures", "killed", directory=directory, resume=True)
    assert len(found_history) == len(history)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "start",
    [
        pytest.param(
            [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "partcnn"],
            id="torchrun",
            marks=pytest.mark.fault(
                "devices", "torchrun of two with --force", "One training of both, one run directory, one answer."
            ),
        ),
        pytest.param([sys.executable, "-m", "partcnn"], id="configuration"),
    ],
)
def test_a_command_trains_on_two_devices(start: list[str], folder: Path, tmp_path: Path):
    """By configuration alone Lightning starts the second process; torchrun says itself how many there are."""
    run = tmp_path / "run"
    several = [] if "--standalone" in start else ["--devices", "2", "--strategy", "ddp"]
    settings = f"--data folder:{folder / 'pictures'} --out {run} --backbone demo --network.input_size 64 --workers 0"
    recipe = "--recipe.epochs 2 --recipe.batch_size 4 --recipe.head_epochs 1 --network.filters 2 --force --json"
    command = [*start, "train", *settings.split(), *recipe.split(), *several]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('"summary"') == 1
    assert {file.name for file in run.iterdir()} >= {"run.yaml", "model.safetensors", "metrics.json", "log"}
    assert "\ndevices: 2\n" in (run / "run.yaml").read_text()
    rows = (run / "log" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 2  # epochs, each written once


# --- who takes which pictures


def batches(share: tuple[int, int]) -> list[tuple[Tensor, ...]]:
    maps = torch.arange(19.0)[:, None, None, None, None].expand(19, 3, 1, 1, 1)
    features = FeatureViews(maps, torch.zeros(19, 3, 2, 3), torch.arange(19))
    loader = EpochBatches(features, batch_size=6, seed=3, share=share)
    return [*loader, *loader]  # two epochs


@pytest.mark.parametrize("num_ranks", [2, 4, 7])
def test_ranks_share_out_the_batches_of_one_process(num_ranks: int):
    of_ranks = [batches((rank, num_ranks)) for rank in range(num_ranks)]
    for whole, *shares in zip(batches((0, 1)), *of_ranks, strict=True):
        for values, *parts in zip(whole, *shares, strict=True):
            assert torch.cat(parts).equal(values)
            sizes = [len(part) for part in parts]
            assert max(sizes) - min(sizes) <= 1
    assert 0 in [len(batch[0]) for batch in of_ranks[-1]]


def test_ranks_share_out_pictures_that_are_decoded_anew(folder: Path):
    dataset = load_dataset(f"folder:{folder / 'pictures'}", split="all")
    views = PictureViews(dataset, Preprocessing(input_size=(16, 16)), num_views=2, is_random=True)

    def epoch(share: tuple[int, int]) -> list[list[Tensor]]:
        views.epoch = 0
        return list(EpochLoader(views, batch_size=6, seed=0, share=share))

    shares = [epoch((rank, 2)) for rank in range(2)]
    for whole, *parts in zip(epoch((0, 1)), *shares, strict=True):
        for values, *of_ranks in zip(whole, *parts, strict=True):
            assert torch.cat(of_ranks).equal(values)
    assert len(shares[1][-1][0]) == 0


# --- what is refused


def refused(case: str, ends: str) -> pytest.MarkDecorator:
    return pytest.mark.fault("devices", case, ends)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        pytest.param(
            (0, 1, "auto"),
            "devices: expected a whole number of at least 1, got 0",
            marks=refused("devices=0", "Refused by name."),
        ),
        pytest.param(
            (2, 1.5, "auto"),
            "num_nodes: expected a whole number",
            marks=refused("num_nodes=1.5", "Refused by name."),
        ),
        pytest.param(
            (2, 1, "fsdp"),
            "strategy: expected one of auto, ddp",
            marks=refused("strategy=fsdp, which tears the network apart", "Refused, with those that may be taken."),
        ),
    ],
)
def test_devices_that_cannot_be_are_refused(asked: tuple, message: str):
    with pytest.raises(ConfigError, match=message):
        chosen_devices(*asked)


@pytest.fixture
def torchrun_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "RANK": "3"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("torchrun_of_four")
def test_torchrun_says_how_many_there_are():
    assert chosen_devices(1, 1, "auto")[:2] == (2, 2)
    assert chosen_devices(2, 2, "ddp")[:2] == (2, 2)
    assert not is_first_process()


@pytest.mark.usefixtures("torchrun_of_four")
@refused("devices=3 under torchrun of four", "Refused, with what torchrun has started.")
def test_another_number_than_torchrun_s_is_refused():
    with pytest.raises(ConfigError, match="expected 4 processes in all, as torchrun has started, got 3 × 1"):
        chosen_devices(3, 1, "auto")


@refused("srun of two tasks, of which each would train alone", "Refused, with what srun has started.")
def test_tasks_of_slurm_that_would_each_train_alone_are_refused(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "parts"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="expected 2 processes in all, as srun has started, got 1 × 1"):
        chosen_devices(1, 1, "auto")
    assert chosen_devices(2, 1, "auto").num == 2


@refused("a group of processes that one's own program formed, of another size", "Refused, with its size.")
def test_a_group_of_another_size_is_refused(tmp_path: Path):
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match="expected 1 processes in all, as torch"):
            chosen_devices(2, 1, "auto")
    finally:
        distributed.destroy_process_group()


class Accumulating(Callback):
    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        trainer.accumulate_grad_batches = 4


@pytest.mark.parametrize(
    "callback",
    [
        pytest.param(
            GradientAccumulationScheduler({1: 2}),
            marks=refused("gradients accumulated from the second epoch on", "Refused before the first step, and why."),
        ),
        pytest.param(
            Accumulating(),
            marks=refused("a callback that accumulates gradients", "Refused before the first step, and why."),
        ),
    ],
    ids=["scheduled", "set"],
)
def test_accumulated_gradients_are_refused(callback: Callback, folder: Path):
    with pytest.raises(ConfigError, match="accumulate_grad_batches: expected 1, got"):
        device_runs.trained(folder / "pictures", "competing", callbacks=[callback])


def test_the_environment_of_the_tests_has_no_launcher():
    assert "TORCHELASTIC_RUN_ID" not in os.environ
    assert is_first_process()


def test_a_command_leaves_the_group_of_its_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ended within it was aborted now and then, after all its work."""

    def trained(_: Namespace) -> int:
        distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
        return 0

    monkeypatch.setattr(train, "_trained", trained)
    assert train.execute(Namespace()) == 0
    assert not distributed.is_initialized()
    leave_devices()  # where there is none
