"""The README.md of a saved network: read by the hub, true about figures, and never over a file of the user's."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from torch import nn

from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import CARD_FILE, METRICS_FILE, load, save, write_card
from partcnn.model.saving.model_card import MARK
from partcnn.networks.demo_net import DemoNet

SUMMARY = {"accuracy": 0.875, "part_tracking_r2": float("nan"), "num_images": 281, "part_tracking_r2_best": None}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    converted = convert(DemoNet(), "features.block1", num_classes=2, filters=3, input_size=(32, 40))
    conversion_of(converted).classes = ["no | ```cat```", "çat"]
    return converted


@pytest.fixture
def measured(model: nn.Module, tmp_path: Path) -> Path:
    save(model, tmp_path)
    (tmp_path / METRICS_FILE).write_text(json.dumps({"summary": SUMMARY}))
    write_card(tmp_path)
    return tmp_path


def card(directory: Path) -> str:
    return (directory / CARD_FILE).read_text(encoding="utf-8")


def test_the_hubs_reader_finds_the_library_and_the_task(model: nn.Module, tmp_path: Path) -> None:
    header = ModelCard(card(save(model, tmp_path))).data.to_dict()
    assert (header["library_name"], header["pipeline_tag"]) == ("partcnn", "image-classification")


def test_it_tells_what_the_network_is(model: nn.Module, tmp_path: Path) -> None:
    text = card(save(model, tmp_path))
    for told in (
        "| network | demo |",
        "| filters | 3 in 1 part layer(s) |",
        "32 × 40 pixels",
        "çat",
        "competing",
        "the centroid",
    ):
        assert told in text
    assert text.count("```") == 4  # names of classes end no block
    assert "has not been measured" in text


def test_measured_figures_are_in_it_and_what_is_no_number_is_not(measured: Path) -> None:
    text = card(measured)
    assert "| accuracy | 0.875 |" in text
    assert "| pictures measured on, all kept out of training | 281 |" in text
    assert "nan" not in text
    assert "best filter" not in text


def test_figures_of_other_weights_leave_it(measured: Path, model: nn.Module) -> None:
    save(load(measured), measured)
    assert "0.875" in card(measured)  # the same weights again
    with torch.no_grad():
        model.head.bias.add_(1)
    save(model, measured)
    assert "0.875" not in card(measured)


def test_a_readme_of_the_users_own_stays(measured: Path, model: nn.Module) -> None:
    (measured / CARD_FILE).write_text(card(measured).replace(MARK, "") + "my words")
    save(model, measured)
    write_card(measured)
    assert "my words" in card(measured)


@pytest.mark.parametrize("content", ["{", "[]", '{"summary": 3}', '{"summary": {"accuracy": "high"}}'])
def test_figures_that_cannot_be_read_are_left_out(measured: Path, content: str) -> None:
    (measured / METRICS_FILE).write_text(content)
    write_card(measured)
    assert "has not been measured" in card(measured)
