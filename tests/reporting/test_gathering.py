"""The page sees the pictures as the evaluation saw them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from partcnn.datasets import PartDataset
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import evaluate
from partcnn.foundation.files import read_whole
from partcnn.model.network import conversion_of
from partcnn.reporting.gathering import gather
from tests.reporting.test_report import small_model

PHOTO_SIZE = (1600, 1200)  # decoded at 1/8 for a network that takes 64 × 64


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    root = tmp_path_factory.mktemp("photos")
    for kind in ("bird", "cat"):
        (root / kind).mkdir()
        for seed in range(3):
            drawn = draw_animal(kind, seed, size=256).image.convert("RGB")
            drawn.resize(PHOTO_SIZE).save(root / kind / f"{seed}.jpg", quality=90)
    return load_dataset(f"folder:{root}", split="all")


@pytest.fixture(scope="module")
def model(photos: PartDataset) -> nn.Module:
    return small_model(photos)


def test_a_large_photograph_has_the_activations_and_peaks_that_were_measured(
    model: nn.Module, photos: PartDataset
) -> None:
    measured = evaluate(model, photos)
    found = gather(model, photos, measured)
    cols = found.field.map_size[1]
    for one in measured.filters:
        for top in one.top_images:
            assert float(found.scores[top.sample, one.filter]) == pytest.approx(top.score, rel=1e-5)
            assert divmod(int(found.cells[top.sample, one.filter]), cols) == top.peak_cell


def test_the_network_gets_the_pixels_of_the_evaluation_and_each_file_is_decoded_once(
    model: nn.Module, photos: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = evaluate(model, photos)
    preprocessing = conversion_of(model).preprocessing
    seen_there = photos.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
    expected = torch.stack([seen_there[index].image for index in range(len(photos))])
    opened: list[Path] = []

    def counted(path: Path, most_bytes: int) -> bytes:
        opened.append(path)
        return read_whole(path, most_bytes)

    monkeypatch.setattr("partcnn.datasets.pictures.read_whole", counted)
    with seen_inputs(model) as seen:
        gather(model, photos, measured)
    assert torch.equal(seen[1], expected)  # the first is the receptive field's
    assert sorted(opened) == sorted(sample.image_path for sample in photos.samples)


def test_a_silent_filter_is_like_no_other(photos: PartDataset) -> None:
    model = small_model(photos, objective="exact")
    with torch.no_grad():
        for name, parameter in model.part_layers.named_parameters():
            if name.endswith(("weight", "bias")):
                parameter[2] = 0
    likeness = gather(model, photos, evaluate(model, photos)).likeness
    is_nan = likeness.isnan()
    assert is_nan[2].all()
    assert is_nan[:, 2].all()
    assert int(is_nan.sum()) == 2 * len(likeness) - 1


@contextmanager
def seen_inputs(model: nn.Module) -> Iterator[list[torch.Tensor]]:
    """What the network is given within the context, call by call."""
    seen: list[torch.Tensor] = []
    handle = model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        yield seen
    finally:
        handle.remove()
