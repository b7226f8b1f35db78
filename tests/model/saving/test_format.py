"""Directories written by the first release keep loading, and say the same: tests/data/checkpoint-format-1*."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from partcnn.model.losses import filter_loss
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import load, save
from partcnn.model.saving.checkpoint_files import WEIGHTS_FILE
from tests.own_net import OwnNet

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def pictures() -> Tensor:  # those of which expected.json has the logits
    return torch.linspace(-2, 2, 2 * 3 * 32 * 40).reshape(2, 3, 32, 40).sin()


@pytest.mark.parametrize(
    ("name", "network"),
    [("checkpoint-format-1", None), ("checkpoint-format-1-original", OwnNet())],
    ids=["additive", "original head, a network of one's own"],
)
def test_a_directory_of_the_first_release_gives_what_it_gave(
    name: str, network: nn.Module | None, pictures: Tensor, tmp_path: Path
) -> None:
    expected = json.loads((DATA / name / "expected.json").read_text())
    model = load(DATA / name, network)
    with torch.no_grad():
        torch.testing.assert_close(model(pictures), torch.tensor(expected["logits"]), atol=1e-6, rtol=0)
    assert filter_loss(model, torch.tensor([0, 1])).item() == pytest.approx(expected["filter_loss"], abs=1e-5)
    record = conversion_of(model)
    assert record.classes == ["background", "çat"]
    assert record.preprocessing.mean == (0.1, 0.2, 0.3)
    assert (save(model, tmp_path) / WEIGHTS_FILE).read_bytes() == (DATA / name / WEIGHTS_FILE).read_bytes()
