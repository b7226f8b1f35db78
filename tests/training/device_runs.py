"""Trainings that tests/training/test_devices.py starts in processes of their own: torchrun device_runs.py FOLDER CASE…

Weights are float64, and nothing is random in a step, so that a training on several devices can be held against one.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import partcnn  # noqa: F401  before what imports torchvision

# isort: split
import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from partcnn.datasets.loading import load_dataset
from partcnn.foundation.disk_cache import FeatureCache
from partcnn.model.conversion import convert
from partcnn.training.devices import leave_devices
from partcnn.training.fitting import fit
from partcnn.training.recipe import PRECISIONS, Recipe

SIZE = (32, 32)
RECIPE = Recipe(epochs=3, batch_size=6, num_views=2, lr=1e-2, memory=3, head_epochs=2, equivariance=0.1)
CASES: dict[str, dict[str, Any]] = {
    "competing": {"objective": "competing"},
    "by data": {"objective": "competing", "filters": "auto"},
    "labelled": {"objective": "labelled", "diversity": 0.1},
    "killed": {"objective": "competing"},
    "a trunk that learns": {"objective": "competing", "trunk": "finetune"},
}


class SmallNet(nn.Sequential):
    """Without batch norms, whose statistics are each process' own on the processor."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU())
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def trained(folder: Path, case: str, **settings: Any) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """The weights and the history of a training on the pictures in a folder."""
    chosen = {"filters": 3, "trunk": "frozen", "diversity": 0.0} | CASES[case]
    torch.manual_seed(0)
    model = convert(
        SmallNet(),
        "features",
        num_classes=3,
        objective=chosen["objective"],
        filters=chosen["filters"],
        input_size=SIZE,
        projection=6,
        dropout=0.0,
        erasing=0.0,
    )
    for module in model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    recipe = Recipe(**RECIPE.__dict__ | {"diversity": chosen["diversity"]})
    dataset = load_dataset(f"folder:{folder}", split="all")
    history = fit(
        model,
        dataset,
        recipe,
        trunk=chosen["trunk"],
        cache=FeatureCache(folder.parent / "cache") if chosen["trunk"] == "frozen" else None,
        is_progress_shown=False,
        **settings,
    )
    return model.state_dict(), [*history.epochs, *history.head_epochs]


class Killed(Callback):
    """In the second epoch the last host is gone: its process, and the torchrun that would tell of it."""

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch == 1 and trainer.global_rank == trainer.world_size - 1:
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    PRECISIONS["fp32"] = "64-true"
    where, *names = sys.argv[1:]
    for name in names:
        directory = Path(where) / f"run {name}"
        callbacks = [Killed()] if name == "killed" else []
        found = trained(Path(where) / "pictures", name, directory=directory, callbacks=callbacks)
        torch.save(found, f"{where}/{name} {os.environ['RANK']}.pt")
    leave_devices()
