"""Features of many pictures: in files, shard by shard, the same as in memory; stopped, they go on."""

import logging
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from partcnn.app.cli.commands import main
from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.row_shards import RowShards
from partcnn.model.competing_network import CompetingNetwork
from partcnn.networks.demo_net import DemoNet
from partcnn.training import competing_start, feature_shards
from partcnn.training.cached_features import picture_features, trunk_features
from partcnn.training.fitting import fit
from partcnn.training.recipe import Recipe
from tests.training.test_cached_features import counted, network, views

NUM = 40
PER_SHARD = 16
SMALL = 3 * (6 * 6 * 6 * 2 + 6 * 4)  # bytes of a picture: maps and frames of three views
RECIPE = Recipe(epochs=2, batch_size=8, num_views=3, head_epochs=1)


@pytest.fixture
def dataset(tmp_path: Path) -> PartDataset:
    random = np.random.default_rng(0)
    for number in range(NUM):
        folder = tmp_path / "pictures" / ("disc", "none")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (50, 50, 3), dtype=np.uint8)).save(folder / f"{number:02d}.png")
    return load_dataset(f"folder:{tmp_path / 'pictures'}", split="all")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def in_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if memory were small: a shard holds 16 pictures."""
    monkeypatch.setattr(feature_shards, "SHARD_BYTES", PER_SHARD * SMALL)


def shards(directory: Path, ending: str = "-0000?.safetensors") -> list[Path]:
    return sorted(directory.glob(f"features/*{ending}"))


@contextmanager
def free_bytes(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(feature_shards, "_free_bytes", lambda _: number)
        yield


class TestTrunkFeatures:
    def test_they_are_what_they_are_in_memory(
        self, dataset: PartDataset, directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "partcnn")
        expected = trunk_features(network(), views(dataset))
        monkeypatch.setattr(feature_shards, "SHARD_BYTES", PER_SHARD * SMALL)
        assert expected is not None
        for cache in (FeatureCache(directory), FeatureCache(directory), None):
            model = network()
            trunk = counted(model)
            found = trunk_features(model, views(dataset), cache=cache)
            assert found is not None
            assert isinstance(found.maps, RowShards)
            assert torch.equal(found.maps[:], expected.maps[:])
            assert torch.equal(found.frames, expected.frames)
            assert torch.equal(found.labels, expected.labels)
            assert len(shards(directory)) == 3
        assert trunk.num_pictures == [NUM * 4]  # without a cache: all of it again
        told = [message for message in caplog.messages if "about" in message]
        form = r"trunk features of 40 pictures × 3 views: about .* GiB in .*, .* minutes"
        assert all(re.fullmatch(form, message) for message in told)
        assert len(told) == 3

    def test_whole_pictures_lie_beside_and_are_used_to_measure(
        self, dataset: PartDataset, directory: Path, in_shards: None
    ) -> None:
        model, cache = network(), FeatureCache(directory)
        trunk = counted(model)
        trunk_features(model, views(dataset), cache=cache, keeps_whole=True)
        trunk.num_pictures[0] = 0
        found, anew = picture_features(model, dataset, cache=cache), picture_features(model, dataset)
        assert trunk.num_pictures == [NUM]  # the second
        assert found is not None
        assert anew is not None
        assert isinstance(found.maps, RowShards)
        torch.testing.assert_close(found.maps[:], anew.maps[:], atol=1e-5, rtol=1e-5)
        assert torch.equal(found.sizes, anew.sizes)

    def test_a_directory_for_temporary_files_is_left_empty(
        self, dataset: PartDataset, tmp_path: Path, in_shards: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "scratch").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
        found = trunk_features(network(), views(dataset))
        assert found is not None
        assert isinstance(found.maps, RowShards)
        assert os.name != "posix" or list((tmp_path / "scratch").iterdir()) == []


class TestGoingOn:
    @pytest.mark.fault(
        "cache", "a computation of features is killed (SIGKILL)", "the next run goes on behind the last whole file"
    )
    def test_a_computation_that_was_killed_goes_on(
        self, dataset: PartDataset, directory: Path, in_shards: None, tmp_path: Path
    ) -> None:
        code = (
            "import sys, time; sys.path.insert(0, sys.argv[1])\n"
            "import tests.training.test_feature_shards as t\n"
            "t.feature_shards.SHARD_BYTES = t.PER_SHARD * t.SMALL\n"
            "from partcnn.datasets import Sample\n"
            "reduced = Sample.load_reduced\n"
            "def slow(sample, *how):\n"
            "    if sample.image_path.stem == '39': time.sleep(600)\n"  # the last
            "    return reduced(sample, *how)\n"
            "data = t.load_dataset(sys.argv[2], split='all')\n"
            "model = t.network()\n"
            "t.counted(model)\n"
            "views = t.views(data)\n"
            "from partcnn.training.projection import prepare\n"
            "import partcnn.training.cached_features as c\n"
            "def prepared(model, views, **how):\n"
            "    prepare(model, views, **how)\n"
            "    views._remembered = {}\n"
            "    Sample.load_reduced = slow\n"
            "c.prepare = prepared\n"
            "c.trunk_features(model, views, cache=t.FeatureCache(t.Path(sys.argv[3])), keeps_whole=True)\n"
        )
        command = [sys.executable, "-c", code, str(Path(__file__).parents[2]), dataset.spec, str(directory)]
        process = subprocess.Popen(command)
        try:
            deadline = time.monotonic() + 240
            while len(shards(directory)) < 4 and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.1)
            time.sleep(0.5)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(shards(directory)) == 4  # two of the views, and of the whole pictures

        model = network()
        trunk = counted(model)
        found = trunk_features(model, views(dataset), cache=FeatureCache(directory), keeps_whole=True)
        assert trunk.num_pictures == [1 + 3 * (NUM - 2 * PER_SHARD)]  # one is held against the trunk; no projection
        expected = trunk_features(network(), views(dataset))
        assert found is not None
        assert expected is not None
        assert torch.equal(found.maps[:], expected.maps[:])
        assert len(shards(directory)) == 6

    @pytest.mark.fault("cache", "one of the files of features is gone or damaged", "it alone is computed anew")
    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.parametrize("is_gone", [True, False])
    def test_a_shard_that_is_missing_is_computed_alone(
        self, dataset: PartDataset, directory: Path, in_shards: None, number: int, is_gone: bool
    ) -> None:
        first = network()
        counted(first)
        expected = trunk_features(first, views(dataset), cache=FeatureCache(directory))
        assert expected is not None
        before = expected.maps[:]
        del expected
        file = shards(directory)[number]
        if is_gone:
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[-5] ^= 1
            file.unlink()
            file.write_bytes(content)
        model = network()
        trunk = counted(model)
        found = trunk_features(model, views(dataset), cache=FeatureCache(directory))
        assert found is not None
        assert torch.equal(found.maps[:], before)
        assert trunk.num_pictures == [1 + 3 * (PER_SHARD if number == 1 else NUM - 2 * PER_SHARD)]

    @pytest.mark.fault("cache", "the first file of features is gone", "all are computed anew")
    def test_without_the_first_shard_all_are_computed(
        self, dataset: PartDataset, directory: Path, in_shards: None
    ) -> None:
        first = network()
        counted(first)
        trunk_features(first, views(dataset), cache=FeatureCache(directory))
        shards(directory)[0].unlink()
        model = network()
        trunk = counted(model)
        assert trunk_features(model, views(dataset), cache=FeatureCache(directory)) is not None
        assert trunk.num_pictures == [NUM * 4]


class TestNoRoom:
    @pytest.mark.fault(
        "cache", "features are larger than the cache's limit", "one warning; the trunk runs in every epoch"
    )
    def test_what_is_larger_than_the_limit_is_computed_in_every_epoch(
        self, dataset: PartDataset, directory: Path, in_shards: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        model = network()
        trunk = counted(model)
        cache = FeatureCache(directory, max_bytes=NUM * SMALL - 1)
        fit(model, dataset, RECIPE, cache=cache, is_progress_shown=False)
        told = [message for message in caplog.messages if "anew in every epoch" in message]
        assert len(told) == 1
        assert shards(directory, "") == []
        # projection, a first batch to see how large they are, the filters' start, two views in each of three epochs
        assert trunk.num_pictures[0] >= NUM + 3 * PER_SHARD + NUM + 3 * 2 * NUM

    @pytest.mark.fault(
        "cache", "the disk has less room than the features need", "it is known before: nothing is written"
    )
    def test_a_disk_without_room_is_seen_before_anything_is_written(
        self, dataset: PartDataset, directory: Path, in_shards: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with free_bytes(monkeypatch, NUM * SMALL - 1):
            assert trunk_features(network(), views(dataset), cache=FeatureCache(directory)) is None
            assert trunk_features(network(), views(dataset)) is None
        with free_bytes(monkeypatch, 1000):
            assert picture_features(network(), dataset) is None
        assert not directory.exists()

    @pytest.mark.fault(
        "cache", "the disk is full in the middle of many features", "told once; a temporary directory serves"
    )
    def test_a_disk_that_is_full_in_the_middle(
        self,
        dataset: PartDataset,
        directory: Path,
        in_shards: None,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        keep, calls = FeatureCache.keep, [0]

        def full(cache: FeatureCache, *what: object) -> int:
            calls[0] += 1
            if calls[0] != 2:
                return keep(cache, *what)  # type: ignore[arg-type]
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
            try:
                return keep(cache, *what)  # type: ignore[arg-type]
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)

        monkeypatch.setattr(FeatureCache, "keep", full)
        found = trunk_features(network(), views(dataset), cache=FeatureCache(directory))
        monkeypatch.undo()
        expected = trunk_features(network(), views(dataset))
        assert found is not None
        assert expected is not None
        assert torch.equal(found.maps[:], expected.maps[:])
        assert len([message for message in caplog.messages if "training goes on" in message]) == 1
        assert len(shards(directory)) == 1


class TestFit:
    def test_training_from_shards_is_training_from_memory(
        self, dataset: PartDataset, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        for size in (2**25, PER_SHARD * SMALL, PER_SHARD * SMALL):
            monkeypatch.setattr(feature_shards, "SHARD_BYTES", size)
            model = network()
            cache = FeatureCache(directory) if found else None
            history = fit(model, dataset, RECIPE, cache=cache, is_progress_shown=False)
            found.append((history.epochs, model.state_dict()))
        for epochs, weights in found[1:]:
            assert epochs == found[0][0]
            assert all(torch.equal(value, found[0][1][name]) for name, value in weights.items())


class TestCommand:
    """`partcnn train` with filters that compete, on a cache of any size."""

    def run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int, limit_gib: str = "1"
    ) -> CompetingNetwork:
        from partcnn.model.saving.checkpoint import load

        monkeypatch.setattr(feature_shards, "SHARD_BYTES", shard_bytes)
        monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("PARTCNN_CACHE_GIB", limit_gib)
        weights = tmp_path / "demo.safetensors"
        torch.manual_seed(0)
        save_file(DemoNet(num_classes=1000).state_dict(), weights)
        command = ["train", "--data", "demo:24", "--category", "cat", "--backbone", "demo", "--weights", str(weights)]
        command += ["--workers", "0", "--recipe.num_views", "2", "--epochs", "1", "--network.filters", "4"]
        command += [
            "--network.input_size",
            "64",
            "--recipe.head_epochs",
            "1",
            "--out",
            str(tmp_path / "out"),
            "--force",
        ]
        assert main(command) == 0
        model = load(tmp_path / "out")
        assert isinstance(model, CompetingNetwork)
        return model

    def test_filters_that_compete_start_and_train_alike_from_shards(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = self.run(tmp_path, monkeypatch, 2**25).state_dict()
        sharded = self.run(tmp_path / "sharded", self._folder(tmp_path / "sharded", monkeypatch), 2**20)
        assert len(shards(tmp_path / "sharded" / "cache")) > 3
        assert all(torch.equal(value, small[name]) for name, value in sharded.state_dict().items())

    @pytest.mark.fault("cache", "PARTCNN_CACHE_GIB is too small for any features", "the run ends well, slower")
    def test_with_no_room_at_all_the_trunk_runs_in_every_epoch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(competing_start, "_MOST_PICTURES", 8)
        self.run(tmp_path, monkeypatch, 2**20, "0.002")
        assert (tmp_path / "out" / "metrics.json").exists()

    @staticmethod
    def _folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        folder.mkdir()
        return monkeypatch
