"""Pictures that change after they were hashed: what the cache keeps is made of the bytes that its key says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from partcnn.datasets import Box, PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.pictures import PictureChangedError
from partcnn.datasets.placement import crop_to_object
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.foundation.errors import DataError
from partcnn.training import cached_features
from partcnn.training.cached_features import picture_features, trunk_features
from tests.training.test_cached_features import entries, network, views

pytestmark = pytest.mark.fault(
    "cache",
    "Pictures are replaced after they were hashed and before they are decoded",
    "Told once; the run trains on what it decoded, nothing is kept, and the next run is right",
)


@pytest.fixture
def dataset(tmp_path: Path) -> PartDataset:
    for index in range(8):
        folder = tmp_path / "pictures" / ("disc", "none")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f"{index}.png", seed=index)
    return load_dataset(f"folder:{tmp_path / 'pictures'}", split="all")


def _write(path: Path, seed: int) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 70, 3), dtype=np.uint8)).save(path)


def _views_maps(dataset: PartDataset, cache: FeatureCache | None, num_workers: int = 0) -> Tensor:
    return trunk_features(network(), views(dataset), cache=cache, num_workers=num_workers).maps.clone()


def _whole_maps(dataset: PartDataset, cache: FeatureCache | None, num_workers: int = 0) -> Tensor:
    return picture_features(network(), dataset, cache=cache, num_workers=num_workers).maps.clone()


def _second_maps(dataset: PartDataset, cache: FeatureCache | None, num_workers: int = 0) -> Tensor:
    second = picture_features(network(), dataset, has_second_views=True, cache=cache, num_workers=num_workers).second
    assert second is not None
    return second.maps.clone()


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    ("maps_of", "compute"),
    [
        (_views_maps, "_computed"),
        (_whole_maps, "compute_picture_features"),
        (_second_maps, "compute_second_features"),
    ],
)
def test_what_is_decoded_is_what_was_hashed_or_it_is_not_kept(
    dataset: PartDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    maps_of: Callable[..., Tensor],
    compute: str,
    num_workers: int,
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    files = [dataset.samples[place].image_path for place in (2, 5)]
    before = [file.read_bytes() for file in files]
    undisturbed = maps_of(dataset, None)
    made = getattr(cached_features, compute)
    num_calls = 0

    def replaced_meanwhile(*arguments: Any, **settings: Any) -> Any:
        """The pictures are others while the trunk runs, and then again what they were."""
        nonlocal num_calls
        num_calls += 1
        for file in files:
            _write(file, seed=100)
        try:
            return made(*arguments, **settings)
        finally:
            for file, content in zip(files, before, strict=True):
                file.write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr(cached_features, compute, replaced_meanwhile)
        decoded = maps_of(dataset, cache, num_workers)
    assert num_calls == 2
    assert not torch.equal(decoded, undisturbed)
    told = [message for message in caplog.messages if "not kept" in message]
    assert len(told) == 1
    assert str(files[0]) in told[0] or str(files[1]) in told[0]
    assert "Traceback" not in told[0]
    assert len(entries(tmp_path / "cache")) == (maps_of is _second_maps)  # the whole pictures, which did not change
    for _ in range(2):  # computed, then found
        assert torch.equal(maps_of(dataset, cache), undisturbed)
    assert len(entries(tmp_path / "cache")) >= 1


def test_a_pinned_picture_is_its_bytes_or_an_error(dataset: PartDataset) -> None:
    whole = dataset.samples[0].pinned()
    cropped = crop_to_object(dataset.samples[0].pinned(), (60, 70), 0.1)
    boxed = crop_to_object(type(whole)(whole.image_path, 0, Box(5, 5, 40, 40), {}, "a"), (60, 70), 0.1).pinned()
    for sample in (whole, cropped, boxed):
        assert sample.load_image().tobytes()
        sample.load_reduced((20, 20))
    digests = [sample.picture_digest() for sample in (whole, boxed)]
    _write(whole.image_path, seed=9)
    assert [sample.picture_digest() for sample in (whole, boxed)] == digests
    for sample in (whole, cropped, boxed):
        with pytest.raises(PictureChangedError, match=f"{whole.image_path}: its content changed"):
            sample.load_image()
        with pytest.raises(PictureChangedError):
            sample.load_reduced((20, 20))
    assert dataset.samples[0].load_image()  # one that is not pinned is what the file holds


@pytest.mark.fault("data", "A picture is gone when a loader's process wants it", "One sentence that names the file")
def test_what_a_loaders_process_finds_wrong_is_one_sentence(dataset: PartDataset) -> None:
    dataset.samples[3].image_path.unlink()
    with pytest.raises(DataError) as caught:
        _views_maps(dataset, None, num_workers=2)
    assert str(caught.value).startswith(f"{dataset.samples[3].image_path}: expected a readable picture")
    assert "\n" not in str(caught.value)
