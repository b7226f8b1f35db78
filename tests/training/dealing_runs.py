"""A pass that is dealt out, as tests/training/test_dealing.py starts it: torchrun dealing_runs.py PICTURES OUT."""

import os
import sys
from pathlib import Path

import partcnn  # noqa: F401  before what imports torchvision

# isort: split
import torch
from torch import distributed, nn

from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.errors import DataError
from partcnn.model.conversion import convert
from partcnn.training.cached_features import picture_features
from partcnn.training.dealing import Dealer, dealing, help_measuring


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.BatchNorm2d(8), nn.ReLU())
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    own = nn.Sequential()
    own.features, own.classifier = layers, pool
    return convert(own, "features", num_classes=2, objective="competing", filters=2, input_size=(32, 32), projection=4)


def passes(model: nn.Module, dataset: PartDataset, dealer: Dealer | None) -> dict[str, object]:
    """What comes of a pass; of one over a picture that is gone; of one that is given up; and of one after these."""
    found: dict[str, object] = {"whole": picture_features(model, dataset, dealer=dealer).maps}
    gone = dataset.samples[20].image_path  # the second batch
    held = gone.read_bytes()
    gone.unlink()
    try:
        picture_features(model, dataset, dealer=dealer)
    except DataError as error:
        found["error"] = str(error)
    gone.write_bytes(held)
    if dealer is not None:
        rows = dealer.dealt(lambda rows: iter([{"maps": torch.zeros(16)}] * 4), dataset.samples)(range(55))
        next(rows)
        del rows  # given up after the first batch
    found["last"] = picture_features(model, dataset.with_samples(dataset.samples[:5]), dealer=dealer).maps
    return found


if __name__ == "__main__":
    pictures, out = sys.argv[1:]
    rank = int(os.environ["RANK"])
    distributed.init_process_group("gloo")
    own = network(seed=rank)  # the others' weights are not those of the first
    dataset = load_dataset(f"folder:{pictures}", split="all")
    if rank:
        help_measuring(own, dataset)
    else:
        with dealing(own) as dealer:
            torch.save(passes(own, dataset, dealer), Path(out))
    distributed.destroy_process_group()
