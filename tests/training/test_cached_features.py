"""A cache of features: what is in it is used, and only that; trouble with it costs time and nothing else."""

import copy
import dataclasses
import json
import logging
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from partcnn import convert
from partcnn.app.cli.commands import main
from partcnn.datasets import PartDataset, Sample
from partcnn.datasets.loading import load_dataset
from partcnn.foundation import disk_cache
from partcnn.foundation.cache_place import default_directory
from partcnn.foundation.disk_cache import FeatureCache, content_key, network_digest
from partcnn.foundation.errors import ConfigError
from partcnn.model.network import PartNetwork, conversion_of
from partcnn.model.second_views import SecondViews
from partcnn.networks.demo_net import DemoNet
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.cached_features import features_key, picture_features, trunk_features
from partcnn.training.features import FeatureViews
from partcnn.training.fitting import fit
from partcnn.training.recipe import Recipe
from partcnn.training.views import PictureViews

SIZE = (48, 48)
RECIPE = Recipe(epochs=2, batch_size=4, num_views=3)
KEY = content_key("a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name, count in (("disc", 5), ("none", 4)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.integers(0, 256, (60, 70, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{index}.bmp")
    return tmp_path / "pictures"


@pytest.fixture
def dataset(folder: Path) -> PartDataset:
    return load_dataset(f"folder:{folder}", split="all")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def network(trunk_seed: int = 0, seed: int = 1) -> PartNetwork:
    torch.manual_seed(trunk_seed)
    trunk = DemoNet(num_classes=2)
    torch.manual_seed(seed)
    model = convert(trunk, "features", num_classes=2, filters=4, projection=6, input_size=SIZE)
    assert isinstance(model, PartNetwork)
    conversion_of(model).preprocessing = Preprocessing(SIZE)
    return model


class Counted(nn.Module):
    """A trunk that counts the pictures it is given."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.num_pictures = [0]

    def forward(self, images: Tensor) -> Tensor:
        self.num_pictures[0] += len(images)
        return self.trunk(images)  # type: ignore[no-any-return]

    def __deepcopy__(self, memo: dict[int, object]) -> "Counted":
        copied = Counted(copy.deepcopy(self.trunk, memo))
        copied.num_pictures = self.num_pictures
        return copied


def counted(model: PartNetwork) -> Counted:
    model.trunk = Counted(model.trunk)
    return model.trunk


def views(dataset: PartDataset, **settings: object) -> PictureViews:
    return PictureViews(dataset, Preprocessing(SIZE), **({"num_views": 3} | settings))  # type: ignore[arg-type]


def features(model: PartNetwork, dataset: PartDataset, directory: Path | None) -> FeatureViews:
    cache = None if directory is None else FeatureCache(directory)
    found = trunk_features(model, views(dataset), cache=cache)
    assert found is not None
    return found


def entries(directory: Path) -> list[Path]:
    return sorted(path for path in (directory / "features").rglob("*") if path.is_file())


def in_place(what: str) -> pytest.MarkDecorator:
    return pytest.mark.fault("cache", f"{what} in place of an entry", "It is told, and the entry is computed anew")


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Within it the system refuses to write more to a file, in the middle of writing, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFeatures:
    def test_a_second_network_of_the_same_trunk_and_pictures_spares_the_trunk_and_gets_the_projection(
        self, dataset: PartDataset, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "partcnn")
        first, second = network(), network(seed=2)
        trunks = [counted(model) for model in (first, second)]
        assert not torch.equal(first.projection.weight, second.projection.weight)
        written = features(first, dataset, directory)
        found = features(second, dataset, directory)
        assert trunks[0].num_pictures == [len(dataset) * (1 + 3)]  # the projection's pass, and the views
        assert trunks[1].num_pictures == [1]  # the first map is held against that in the cache
        assert torch.equal(first.projection.weight, second.projection.weight)
        assert torch.equal(first.projection.bias, second.projection.bias)
        for one, other in zip(
            (written.maps, written.frames, written.labels), (found.maps, found.frames, found.labels), strict=True
        ):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        assert any("kept in" in message for message in caplog.messages)
        assert any(re.fullmatch(r"trunk features: from the cache, \d+ s spared", one) for one in caplog.messages)

    def test_whole_pictures_that_passed_the_trunk_for_training_do_not_pass_it_again_to_be_measured(
        self, dataset: PartDataset, directory: Path
    ) -> None:
        model, cache = network(), FeatureCache(directory)
        trunk = counted(model)
        trunk_features(model, views(dataset), cache=cache, keeps_whole=True)
        trunk.num_pictures[0] = 0
        found = picture_features(model, dataset, cache=cache)
        assert trunk.num_pictures == [0]
        anew = picture_features(model, dataset)
        assert found.maps.dtype == torch.float32  # bfloat16 would give other figures
        torch.testing.assert_close(found.maps, anew.maps, atol=1e-5, rtol=1e-5)
        assert torch.equal(found.sizes, anew.sizes)

    def test_second_views_pass_the_trunk_once_and_are_what_an_evaluation_looks_at_without_a_cache(
        self, dataset: PartDataset, directory: Path
    ) -> None:
        model, cache = network(), FeatureCache(directory)
        trunk = counted(model)
        trunk_features(model, views(dataset), cache=cache, keeps_whole=True)
        trunk.num_pictures[0] = 0
        made = picture_features(model, dataset, has_second_views=True, cache=cache).second
        found = picture_features(model, dataset, has_second_views=True, cache=cache).second
        assert made is not None
        assert found is not None
        seconds = SecondViews(dataset, conversion_of(model).preprocessing)
        assert trunk.num_pictures == [len(seconds)]
        assert torch.equal(found.maps, made.maps)
        inputs, frames = (torch.stack(values) for values in zip(*seconds, strict=True))
        assert torch.equal(found.frames, frames)
        with torch.no_grad():
            torch.testing.assert_close(found.maps, model.features(inputs), atol=1e-5, rtol=1e-5)
        assert picture_features(model, dataset, cache=cache).second is None

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_the_pictures_of_the_projection_are_decoded_once_and_forgotten_afterwards(
        self, dataset: PartDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, num_workers: int
    ) -> None:
        log = tmp_path / "decoded"
        reduced = Sample.load_reduced

        def noted(sample: Sample, *how: Any) -> Any:
            with log.open("a") as file:  # workers are processes of their own
                file.write(f"{sample.image_path}\n")
            return reduced(sample, *how)

        expected = trunk_features(network(), views(dataset), num_workers=num_workers)
        monkeypatch.setattr(Sample, "load_reduced", noted)
        pictures = views(dataset)
        found = trunk_features(network(), pictures, num_workers=num_workers)
        assert sorted(log.read_text().split()) == sorted(str(sample.image_path) for sample in dataset.samples)
        assert torch.equal(found.maps, expected.maps)
        pictures[0]
        assert len(log.read_text().split()) == len(dataset) + 1

    def test_the_maps_are_the_trunks_within_the_rounding_of_bfloat16(
        self, dataset: PartDataset, directory: Path
    ) -> None:
        model = network()
        for _ in range(2):
            maps = features(model, dataset, directory).maps
            assert maps.dtype == torch.bfloat16
            with torch.no_grad():
                exact = torch.stack([model.eval().features(views(dataset)[i][0]) for i in range(len(dataset))])
            # half a step of 8 significant bits; the other layout of the convolutions differs by float32's last bits
            bound = exact.abs() * 2**-8 + 1e-5 * exact.abs().max()
            assert ((maps.float() - exact).abs() <= bound).all()

    def test_they_are_mapped_from_the_disk_and_writing_to_them_changes_no_file(
        self, dataset: PartDataset, directory: Path
    ) -> None:
        features(network(), dataset, directory)
        (file,) = entries(directory)
        before = file.read_bytes()
        maps = features(network(), dataset, directory).maps
        assert file.name in Path("/proc/self/maps").read_text() or not Path("/proc/self/maps").exists()
        maps.zero_()
        assert file.read_bytes() == before

    @pytest.mark.parametrize("is_date_kept", [True, False])
    def test_a_changed_picture_never_gives_the_old_features(
        self, dataset: PartDataset, directory: Path, is_date_kept: bool
    ) -> None:
        before = features(network(), dataset, directory).maps.clone()
        path = dataset.samples[4].image_path
        status = path.stat()
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        assert path.stat().st_size == status.st_size
        if is_date_kept:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        after = features(network(), dataset, directory).maps
        assert not torch.equal(before[4], after[4])
        assert torch.equal(after, features(network(), dataset, None).maps)

    @pytest.mark.fault("cache", "The code of a network changed, not its weights", "Told, and computed anew")
    def test_a_network_whose_code_alone_differs_is_found_out(
        self, dataset: PartDataset, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Scaled(nn.Module):
            factor = 1.0

            def __init__(self, trunk: nn.Module) -> None:
                super().__init__()
                self.trunk = trunk

            def forward(self, images: Tensor) -> Tensor:
                return self.trunk(images) * self.factor  # type: ignore[no-any-return]

        def scaled() -> PartNetwork:
            model = network()
            model.trunk = Scaled(model.trunk)
            return model

        features(scaled(), dataset, directory)
        Scaled.factor = 1.1
        found = features(scaled(), dataset, directory)
        assert torch.equal(found.maps, features(scaled(), dataset, None).maps)
        assert any("not what this network makes" in message for message in caplog.messages)

    def test_the_key_follows_all_that_the_features_depend_on(
        self, dataset: PartDataset, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = network()
        trained = network()
        conversion_of(trained).is_trained = True
        other_projection = network(seed=5)
        conversion_of(other_projection).is_trained = True
        fewer = copy.copy(dataset)
        fewer.samples = dataset.samples[1:]
        turned = copy.copy(dataset)
        turned.samples = dataset.samples[::-1]
        cut = copy.copy(dataset)
        cut.samples = [_cropped(sample) for sample in dataset.samples]
        keys = [
            features_key(model, views(dataset)),
            features_key(network(trunk_seed=3), views(dataset)),
            features_key(trained, views(dataset)),
            features_key(other_projection, views(dataset)),
            *(features_key(model, views(other)) for other in (fewer, turned, cut)),
            features_key(model, views(dataset, num_views=2)),
            features_key(model, views(dataset, min_crop_frac=0.5)),
            features_key(model, views(dataset, seed=1)),
            features_key(model, PictureViews(dataset, Preprocessing(SIZE, mean=(0.5, 0.4, 0.4)), num_views=3)),
            features_key(model, PictureViews(dataset, Preprocessing((48, 40)), num_views=3)),
        ]
        assert len(set(keys)) == len(keys)
        again = [features_key(network(seed=9), views(dataset)), features_key(network().train(), views(dataset))]
        assert again == [keys[0]] * 2  # the random projection before training counts for nothing
        for constant in ("COMPONENT_VARIANCE", "LEAST_VARIANCE_FRAC", "PROJECTION_PICTURES"):
            with monkeypatch.context() as patched:
                patched.setattr(f"partcnn.training.projection.{constant}", 1)
                assert features_key(model, views(dataset)) not in keys, constant
                assert features_key(trained, views(dataset)) == keys[2]

    def test_the_key_is_the_same_in_another_process(self, dataset: PartDataset) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import tests.training.test_cached_features as t; "
            "from partcnn.datasets import load_dataset; "
            "print(t.features_key(t.network(), t.views(load_dataset(sys.argv[2], split='all'))))"
        )
        command = [sys.executable, "-c", code, str(Path(__file__).parents[2]), dataset.spec]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert found.stdout.strip() == features_key(network(), views(dataset))

    def test_a_moved_picture_keeps_its_features(self, dataset: PartDataset, tmp_path: Path) -> None:
        moved = copy.copy(dataset)
        path = dataset.samples[0].image_path
        path.rename(tmp_path / "moved.bmp")
        moved.samples = [dataclasses.replace(dataset.samples[0], image_path=tmp_path / "moved.bmp")]
        path.write_bytes((tmp_path / "moved.bmp").read_bytes())
        single = copy.copy(dataset)
        single.samples = dataset.samples[:1]
        assert features_key(network(), views(moved)) == features_key(network(), views(single))


class TestFit:
    def test_training_from_the_cache_is_training_without_it(self, dataset: PartDataset, directory: Path) -> None:
        found = []
        for cache in (None, directory, directory):
            model = network()
            history = fit(model, dataset, RECIPE, cache=cache and FeatureCache(cache), is_progress_shown=False)
            found.append((history.epochs, {name: value.clone() for name, value in model.state_dict().items()}))
        for epochs, weights in found[1:]:
            assert epochs == found[0][0]
            assert all(torch.equal(value, found[0][1][name]) for name, value in weights.items())

    def test_a_trunk_that_learns_is_not_kept(self, dataset: PartDataset, directory: Path) -> None:
        fit(network(), dataset, RECIPE, trunk="finetune", cache=FeatureCache(directory), is_progress_shown=False)
        assert not directory.exists()

    @pytest.mark.fault("cache", "The disk is full when features are kept", "Told once, and training goes on")
    def test_a_full_disk_is_told_once_and_training_goes_on(
        self, dataset: PartDataset, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        expected = network()
        fit(expected, dataset, RECIPE, is_progress_shown=False)
        model = network()
        with largest_file(1000):
            fit(model, dataset, RECIPE, cache=FeatureCache(directory), is_progress_shown=False)
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(told) == 1
        assert "training goes on" in told[0]
        assert entries(directory) == []
        assert torch.equal(model.head.weight, expected.head.weight)

    @pytest.mark.fault("cache", "The cache's directory cannot be made", "Told once, and training goes on")
    def test_a_directory_that_cannot_be_written_is_told_once(
        self, dataset: PartDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "file").write_text("")
        fit(network(), dataset, RECIPE, cache=FeatureCache(tmp_path / "file" / "cache"), is_progress_shown=False)
        assert len([message for message in caplog.messages if "training goes on" in message]) == 1


class TestFeatureCache:
    def test_what_is_kept_is_found(self, directory: Path) -> None:
        tensors = {"maps": torch.randn(3, 5).bfloat16(), "frames": torch.rand(2, 2).T, "none": torch.zeros(0, 4)}
        size = FeatureCache(directory).keep(KEY, tensors, 12.5)
        found = FeatureCache(directory).find(KEY)
        assert found is not None
        assert (found.seconds, size) == (12.5, 3 * 5 * 2 + 16)
        assert found.tensors.keys() == tensors.keys()
        assert all(torch.equal(found.tensors[name], value) for name, value in tensors.items())
        assert FeatureCache(directory).find(content_key("b")) is None

    @pytest.mark.fault("cache", "An entry is cut short, or a bit of it flipped", "It is told, and computed anew")
    def test_any_damage_is_noticed_and_mended(self, directory: Path, caplog: pytest.LogCaptureFixture) -> None:
        cache = FeatureCache(directory)
        tensors = {"maps": torch.arange(64.0).bfloat16(), "frames": torch.ones(3)}
        cache.keep(KEY, tensors, 1.0)
        (file,) = entries(directory)
        sound = file.read_bytes()
        header = int.from_bytes(sound[:8], "little")
        damaged = [b"", sound[:20], sound[:-1], sound + b"\0"]
        for place in (3, 12, 8 + header // 2, 8 + header, 8 + header + 77, len(sound) - 1):
            damaged.append(sound[:place] + bytes([sound[place] ^ 4]) + sound[place + 1 :])
        for content in damaged:
            file.write_bytes(content)
            assert cache.find(KEY) is None, content
        assert len(caplog.messages) == len(damaged)
        cache.keep(KEY, tensors, 1.0)
        assert cache.find(KEY) is not None

    @pytest.mark.fault("cache", "Two processes keep one entry at once", "Each reads a whole one")
    def test_two_processes_may_write_and_read_one_entry_at_once(self, directory: Path) -> None:
        code = (
            "import sys, torch\n"
            "from pathlib import Path\n"
            "from partcnn.foundation.disk_cache import FeatureCache\n"
            "cache = FeatureCache(Path(sys.argv[1]))\n"
            "value = float(sys.argv[3])\n"
            "for _ in range(40):\n"
            "    assert cache.keep(sys.argv[2], {'maps': torch.full((5000,), value)}, 1.0)\n"
            "    found = cache.find(sys.argv[2])\n"
            "    assert found is not None\n"
            "    maps = found.tensors['maps']\n"
            "    assert maps[0] in (1, 2) and (maps == maps[0]).all()\n"
        )
        command = [sys.executable, "-W", "error", "-c", code, str(directory), KEY]
        running = [subprocess.Popen([*command, value], stderr=subprocess.PIPE, text=True) for value in ("1", "2")]
        assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 2
        assert len(entries(directory)) == 1

    @pytest.mark.fault(
        "cache", "An entry is removed by another process while it is opened", "It is computed anew, without an error"
    )
    def test_an_entry_that_goes_while_it_is_opened_is_not_found(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = FeatureCache(directory)
        cache.keep(KEY, {"maps": torch.ones(4)}, 1.0)
        opened = disk_cache.safe_open

        def removed_first(file: Path, **settings: Any) -> Any:
            file.unlink()
            with pytest.raises(FileNotFoundError):
                opened(file, **settings)
            raise RuntimeError(f"unable to open file <{file}> in read-only mode")  # as torch says it

        monkeypatch.setattr(disk_cache, "safe_open", removed_first)
        assert cache.find(KEY) is None
        assert caplog.messages == []

    @pytest.mark.fault(
        "cache", "Processes evict each other's entries while others read them", "Every entry found is whole"
    )
    def test_entries_that_others_evict_are_whole_or_not_found(self, directory: Path) -> None:
        """The limit has room for one of two entries; each process removes what the other is about to read."""
        code = (
            "import sys, time, torch\n"
            "from pathlib import Path\n"
            "from partcnn.foundation.disk_cache import FeatureCache\n"
            "cache, own, other = FeatureCache(Path(sys.argv[1]), max_bytes=30_000), *sys.argv[2:]\n"
            "until = time.monotonic() + 2\n"
            "while time.monotonic() < until:\n"
            "    assert cache.keep(own, {'maps': torch.full((5000,), float(len(own)))}, 1.0)\n"
            "    for key in (own, other):\n"
            "        found = cache.find(key)\n"
            "        assert found is None or (found.tensors['maps'] == len(key)).all()\n"
        )
        command = [sys.executable, "-W", "error", "-c", code, str(directory)]
        running = [
            subprocess.Popen([*command, *keys], stderr=subprocess.PIPE, text=True)
            for keys in (("a", "bb"), ("bb", "a"))
        ]
        assert [(process.communicate()[1], process.returncode) for process in running] == [("", 0)] * 2

    @pytest.mark.parametrize(
        "put",
        [
            pytest.param(os.mkfifo, id="a pipe", marks=in_place("A pipe")),
            pytest.param(os.mkdir, id="a directory", marks=in_place("A directory")),
            pytest.param(lambda file: file.symlink_to(file), id="a link to itself", marks=in_place("A link to itself")),
            pytest.param(
                lambda file: file.write_bytes((1 << 40).to_bytes(8, "little") + b"{}"),
                id="a header of a terabyte",
                marks=in_place("A file whose header says a terabyte"),
            ),
            pytest.param(lambda file: file.symlink_to("/dev/zero"), id="a device", marks=in_place("A device")),
        ],
    )
    def test_what_is_no_entry_is_not_found_and_takes_no_room(
        self, directory: Path, put: Callable[[Path], object]
    ) -> None:
        cache = FeatureCache(directory, max_bytes=3000)
        cache.keep(content_key("b"), {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
        put(directory / "features" / f"{KEY}.safetensors")
        assert cache.find(KEY) is None
        for name in ("c", "d", "e"):
            assert cache.keep(content_key(name), {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
            assert cache.find(content_key(name)) is not None
        assert cache.find(content_key("b")) is None  # evicted

    @pytest.mark.fault("cache", "The clock was ahead when an entry was kept", "It is the first to make room")
    def test_an_entry_of_a_clock_that_was_ahead_is_not_kept_for_ever(self, directory: Path) -> None:
        cache = FeatureCache(directory, max_bytes=2600)
        for age, name in ((-86_400 * 400, "ahead"), (20, "older")):
            cache.keep(content_key(name), {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
            os.utime(directory / "features" / f"{content_key(name)}.safetensors", (time.time() - age,) * 2)
        cache.keep(KEY, {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
        assert [cache.find(key) is not None for key in (content_key("ahead"), content_key("older"), KEY)] == [
            False,
            True,
            True,
        ]

    def test_what_was_not_used_for_longest_makes_room(self, directory: Path) -> None:
        cache = FeatureCache(directory, max_bytes=2600)
        keys = [content_key(name) for name in ("a", "b", "c")]
        for age, key in zip((30, 20), keys, strict=False):
            cache.keep(key, {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
            os.utime(directory / "features" / f"{key}.safetensors", (time.time() - age,) * 2)
        assert cache.find(keys[0]) is not None  # used now
        cache.keep(keys[2], {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
        assert [cache.find(key) is not None for key in keys] == [True, False, True]

    def test_what_is_larger_than_the_limit_is_not_kept_and_removes_nothing(self, directory: Path) -> None:
        cache = FeatureCache(directory, max_bytes=2000)
        cache.keep(KEY, {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
        assert cache.keep(content_key("b"), {"maps": torch.zeros(3000, dtype=torch.uint8)}, 1.0) == 0
        assert cache.find(KEY) is not None

    def test_only_its_own_files_are_removed(self, directory: Path) -> None:
        cache = FeatureCache(directory, max_bytes=1200)
        cache.keep(KEY, {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
        others = [directory / "mine.safetensors", directory / "features" / "being-written.part"]
        for file in others:
            file.write_bytes(bytes(5000))
        abandoned = directory / "features" / "abandoned.part"
        abandoned.write_bytes(b"")
        os.utime(abandoned, (0, 0))
        cache.keep(content_key("b"), {"maps": torch.zeros(1000, dtype=torch.uint8)}, 1.0)
        assert cache.find(KEY) is None
        assert all(file.exists() for file in others)
        assert not abandoned.exists()

    def test_a_write_that_breaks_off_leaves_nothing(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(tensors: object, file: Path, **_: object) -> None:
            file.write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr("safetensors.torch.save_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            FeatureCache(directory).keep(KEY, {"maps": torch.zeros(4)}, 1.0)
        assert entries(directory) == []

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [
            ({"PARTCNN_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/h"}, "/a"),
            ({"PARTCNN_CACHE": "~/x", "HOME": "/h"}, "/h/x"),
            ({"XDG_CACHE_HOME": "/b", "HOME": "/h"}, "/b/partcnn"),
            ({"XDG_CACHE_HOME": "b", "HOME": "/h"}, "/h/.cache/partcnn"),
            ({"PARTCNN_CACHE": "", "HOME": "/h"}, "/h/.cache/partcnn"),
        ],
    )
    def test_the_directory_is_where_a_user_expects_it(
        self, environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("PARTCNN_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert default_directory() == Path(expected)

    def test_the_limit_is_read_from_the_environment(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PARTCNN_CACHE_GIB", "0.5")
        assert FeatureCache(directory).max_bytes == 2**29
        for wrong in ("many", "-1", "nan", "inf"):
            monkeypatch.setenv("PARTCNN_CACHE_GIB", wrong)
            with pytest.raises(ConfigError, match=f"PARTCNN_CACHE_GIB: expected a number of GiB.*{wrong}"):
                FeatureCache(directory)

    def test_a_network_is_its_layers_and_its_weights(self) -> None:
        def small(**settings: object) -> nn.Module:
            torch.manual_seed(0)
            return nn.Sequential(nn.Conv2d(3, 4, 3, **settings), nn.BatchNorm2d(4))  # type: ignore[arg-type]

        same, strided, moved, half = small(), small(stride=2), small(), small().half()
        moved[1].running_mean += 1  # type: ignore[index, operator]
        digests = [network_digest(one) for one in (same, strided, moved, half)]
        assert len(set(digests)) == 4
        assert network_digest(small()) == digests[0]

    def test_a_layer_counts_by_the_bare_name_of_its_class(self) -> None:
        """A cache outlives a move of the class to another file, and does not take another layer for it."""

        def digest(name: str, module: str) -> bytes:
            return network_digest(type(name, (nn.Identity,), {"__module__": module, "__qualname__": f"x.{name}"})())

        assert digest("Trunk", "here") == digest("Trunk", "there")
        assert digest("Trunk", "here") != digest("Stem", "here")


def _cropped(sample: object) -> object:
    from partcnn.datasets import Box
    from partcnn.datasets.placement import crop_to_object

    boxed = dataclasses.replace(sample, object_box=Box(5, 5, 40, 40))  # type: ignore[type-var]
    return crop_to_object(boxed, (60, 70), 0.1)


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """The regression of landmarks divides by how far filters move, which after one epoch is next to nothing."""
    found, expected = dict(found), dict(expected)
    assert found.pop("landmark_error") == pytest.approx(expected.pop("landmark_error"), rel=1e-3, nan_ok=True)
    assert found == pytest.approx(expected, abs=1e-5, nan_ok=True)


class TestCommand:
    """partcnn train keeps features where the trunk is frozen, and says what they spared."""

    @pytest.fixture
    def command(self, tmp_path: Path) -> list[str]:
        weights = tmp_path / "demo.safetensors"
        torch.manual_seed(0)
        save_file(DemoNet(num_classes=1000).state_dict(), weights)
        data = ["--data", "demo:12", "--category", "cat", "--backbone", "demo", "--weights", str(weights)]
        return ["train", *data, "--workers", "0", "--recipe.num_views", "2", "--epochs", "1", "--network.filters", "4"]

    def run(self, command: list[str], out: Path, *more: str) -> dict[str, Any]:
        assert main([*command, "--out", str(out), "--force", "--json", *more]) == 0
        found: dict[str, Any] = json.loads((out / "metrics.json").read_text())
        return found

    def test_a_second_run_neither_decodes_for_nor_runs_the_trunk_and_measures_the_same(
        self,
        command: list[str],
        tmp_path: Path,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("PARTCNN_CACHE", str(directory))
        without = self.run(command, tmp_path / "out", "--cache", "false")
        assert entries(directory) == []
        cold = self.run(command, tmp_path / "out")
        assert "kept in" in " ".join(capsys.readouterr().err.split())
        # what decodes pictures and runs the trunk
        for name in ("store_rows", "compute_second_features"):
            monkeypatch.setattr(f"partcnn.training.cached_features.{name}", None)
        warm = self.run(command, tmp_path / "out")
        assert "from the cache" in " ".join(capsys.readouterr().err.split())
        assert warm | {"run": None} == cold | {"run": None}  # whose identifier is another one
        assert warm["run"]["weights"] == cold["run"]["weights"]
        assert_alike(warm["summary"], without["summary"])
        monkeypatch.undo()
        assert main(["evaluate", str(tmp_path / "out"), "--workers", "0", "--json"]) == 0
        anew = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert_alike(anew["summary"], warm["summary"])

    def test_another_objective_uses_the_same_features(
        self, command: list[str], tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PARTCNN_CACHE", str(directory))
        self.run(command, tmp_path / "out")
        before = entries(directory)
        self.run(command, tmp_path / "out", "--objective", "exact")
        self.run(command, tmp_path / "out", "--plain")
        assert entries(directory) == before
        assert len(before) == 5  # views, the whole pictures of both splits; of those kept out second views, and noise
        self.run(command, tmp_path / "out", "--trunk", "finetune")
        assert entries(directory) == before

    def test_a_cache_that_cannot_be_written_is_told_once_by_the_command(
        self, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "demo.safetensors" / "cache"))
        self.run(command, tmp_path / "out")
        assert " ".join(capsys.readouterr().err.split()).count("training goes on") == 1

    def test_a_limit_that_is_no_number_is_told_before_anything_is_written(
        self, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PARTCNN_CACHE_GIB", "much")
        assert main([*command, "--out", str(tmp_path / "out")]) == 2
        assert "PARTCNN_CACHE_GIB: expected a number of GiB" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
