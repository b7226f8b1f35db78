"""Weights kept in 16 bits: half the bytes, and a network that computes in 32 as before."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from partcnn import convert, load, save
from partcnn.foundation.errors import WeightsError
from partcnn.model.saving.halving import halved
from partcnn.networks import DemoNet


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    network = convert(DemoNet(), "features.block4", num_classes=2, filters=6, background=0, input_size=(64, 64))
    torch.nn.init.normal_(network.head.weight, std=0.1)
    return network.eval()


def test_the_file_is_half_as_large_and_the_network_computes_in_32_bits(model: torch.nn.Module, tmp_path: Path) -> None:
    whole, half = save(model, tmp_path / "whole"), save(model, tmp_path / "half", half=True)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    again = load(half)
    assert {value.dtype for value in again.state_dict().values() if value.is_floating_point()} == {torch.float32}
    pictures = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(pictures), model(pictures), atol=5e-3, rtol=5e-3)


def test_the_network_that_is_saved_stays_as_it_is(model: torch.nn.Module, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    save(model, tmp_path / "half", half=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_saved_again_it_is_the_same_bit_by_bit(model: torch.nn.Module, tmp_path: Path) -> None:
    first = save(model, tmp_path / "first", half=True)
    second = save(load(first), tmp_path / "second", half=True)
    tensors = [load_file(folder / "model.safetensors") for folder in (first, second)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def test_small_tensors_and_whole_numbers_keep_their_bits_and_what_is_too_large_is_refused() -> None:
    tensors = {
        "mean": torch.full((2000,), 1 / 3),  # a running statistic, no weight
        "bias": torch.full((8,), 1 / 3),
        "count": torch.arange(2000),
        "weight": torch.full((40, 50), 1 / 3),
    }
    kept = halved(tensors, {"weight", "bias"})
    assert {name: value.dtype for name, value in kept.items()} == {
        "mean": torch.float32,
        "bias": torch.float32,
        "count": torch.int64,
        "weight": torch.float16,
    }
    with pytest.raises(WeightsError, match=r"half: .* in weight"):
        halved({"weight": torch.full((40, 50), 1e5)}, {"weight"})
    with pytest.raises(WeightsError, match=r"half: .* at most 1e-08 in weight"):
        halved({"weight": torch.full((40, 50), 1e-8)}, {"weight"})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_network_of_another_precision_is_kept_and_comes_back_in_32_bits(
    model: torch.nn.Module, tmp_path: Path, dtype: torch.dtype
) -> None:
    again = load(save(copy.deepcopy(model).to(dtype), tmp_path / "half", half=True))
    assert {value.dtype for value in again.state_dict().values() if value.is_floating_point()} == {torch.float32}
