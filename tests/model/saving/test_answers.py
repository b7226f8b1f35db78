"""The answer by which a saved network is known again: what it holds and leaves alone, what a stranger may write."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from partcnn.foundation.errors import RunError
from partcnn.model.conversion import convert
from partcnn.model.losses import filter_loss
from partcnn.model.mask import top_mask
from partcnn.model.saving.answers import answer_of, other_answer
from partcnn.model.saving.checkpoint import CONFIG_FILE, load, save
from partcnn.networks.demo_net import DemoNet
from tests.own_net import OwnNet

SIZE = (32, 48)
LABELS = torch.tensor([0, 1])


def small(network: nn.Module | None = None, layer: str = "stem", **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return convert(network or OwnNet(), layer, num_classes=2, input_size=SIZE, **settings)


@pytest.mark.parametrize("head", ["additive", "original"])
def test_the_answer_is_numbers_of_maps_and_logits_at_even_distances(head: str) -> None:
    model = small(head=head).eval()
    answer = answer_of(model)
    assert answer is not None
    picture = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(picture)
        maps = model.features(picture) if head == "additive" else top_mask(model)[1].feature_maps
    kept = answer["tensors"]["features" if head == "additive" else top_mask(model)[0]]
    assert kept["shape"] == list(maps.shape)
    assert kept["numbers"] == pytest.approx([float(maps.flatten()[i * maps.numel() // 64]) for i in range(64)])
    assert kept["rms"] == pytest.approx(float(maps.square().mean().sqrt()), rel=1e-5)
    assert answer["tensors"]["logits"]["numbers"] == pytest.approx(logits.flatten().tolist())
    assert other_answer(model, json.loads(json.dumps(answer))) is None


@pytest.mark.parametrize("head", ["additive", "original"])
def test_saving_between_the_pass_and_the_loss_changes_neither(head: str, tmp_path: Path) -> None:
    images = torch.randn(2, 3, *SIZE)
    one, other = (small(head=head, **({"dropout": 0.0, "erasing": 0.0})).train() for _ in range(2))
    losses = []
    for model in (one, other):
        model(images)
        if model is one:
            save(model, tmp_path)
        losses.append(filter_loss(model, LABELS))
    assert torch.equal(*losses)
    assert losses[0].requires_grad
    assert one.training
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_a_network_in_another_precision_is_known_again(dtype: torch.dtype, tmp_path: Path) -> None:
    assert load(save(small(DemoNet(num_classes=2), "features").to(dtype), tmp_path)) is not None


class Noisy(OwnNet):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images + torch.randn_like(images))


def test_a_network_that_answers_anew_each_time_has_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = small(Noisy())
    with caplog.at_level(logging.WARNING, "partcnn"):
        save(model, tmp_path)
    assert "no answer is kept" in caplog.text
    assert json.loads((tmp_path / CONFIG_FILE).read_text())["answer"] is None
    assert load(tmp_path, model=Noisy()) is not None


def test_a_network_of_nan_has_no_answer() -> None:
    model = small()
    nn.init.constant_(model.projection.weight, torch.nan)
    assert answer_of(model) is None


def entry(directory: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((directory / CONFIG_FILE).read_text())
    return config


def rewritten(directory: Path, config: dict[str, Any]) -> Path:
    (directory / CONFIG_FILE).write_text(json.dumps(config))
    return directory


def test_a_directory_of_before_has_no_answer_and_loads(tmp_path: Path) -> None:
    config = entry(save(small(), tmp_path))
    del config["answer"]
    assert load(rewritten(tmp_path, config), model=OwnNet()) is not None


@pytest.mark.parametrize(
    "answer",
    [
        3,
        [],
        {},
        {"tolerance": 0.1},
        {"tolerance": "much", "tensors": {}},
        {"tolerance": 0.1, "tensors": []},
        {"tolerance": 0.1, "tensors": {"logits": 3}},
        {"tolerance": 0.1, "tensors": {"logits": {"shape": [1, 2], "rms": 1.0, "numbers": [1.0] * 3}}},
        {"tolerance": 0.1, "tensors": {"logits": {"shape": [1, 2], "rms": 1.0, "numbers": [1.0, float("nan")]}}},
        {"tolerance": 0.1, "tensors": {"logits": {"shape": [1, 2], "rms": None, "numbers": [1.0, 2.0]}}},
        {"tolerance": 0.1, "tensors": {"logits": {"shape": "12", "rms": 1.0, "numbers": [1.0, 2.0]}}},
    ],
    ids=lambda one: str(one)[:60],
)
def test_an_answer_that_save_does_not_write_is_refused(answer: Any, tmp_path: Path) -> None:
    config = entry(save(small(), tmp_path))
    with pytest.raises(RunError, match="answer: expected the numbers that"):
        load(rewritten(tmp_path, config | {"answer": answer}), model=OwnNet())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda tensors: tensors["logits"]["numbers"].__setitem__(0, 0.5), "other logits"),
        (lambda tensors: tensors["features"].__setitem__("rms", 9.0), "other features"),
        (lambda tensors: tensors["features"].__setitem__("shape", [1, 8, 4, 24]), "features of shape"),
        (lambda tensors: tensors.__setitem__("more", tensors["logits"]), "more of shape None"),
    ],
    ids=["a number", "the mean", "the shape", "another tensor"],
)
def test_every_part_of_the_answer_is_compared(change: Any, found: str, tmp_path: Path) -> None:
    model = small()
    nn.init.normal_(model.head.shared_weight)
    config = entry(save(model, tmp_path))
    change(config["answer"]["tensors"])
    with pytest.raises(RunError, match=found):
        load(rewritten(tmp_path, config), model=OwnNet())
