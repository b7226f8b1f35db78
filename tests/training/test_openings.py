"""How often a run opens the files of its pictures, and how often they pass the trunk."""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from partcnn.app.runs import RunSettings, train_run
from partcnn.model.network import conversion_of
from partcnn.model.second_views import SecondViews
from partcnn.networks.demo_net import DemoNet
from partcnn.training.recipe import Recipe

_counters: list[Counter[str]] = []


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _counters:
        _counters[-1][str(arguments[0])] += 1


sys.addaudithook(_count)  # it sees every opening, whoever opens; it cannot be taken away again, so there is one


@pytest.fixture
def openings() -> Iterator[Counter[str]]:
    """File → how often it was opened, since the test began."""
    _counters.append(Counter())
    yield _counters[-1]
    _counters.pop()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """40 pictures of two classes, JPEG, each written anew."""
    random = np.random.default_rng(0)
    for index in range(40):
        folder = tmp_path / "pictures" / ("disc", "none")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (60, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.jpg")
    return tmp_path / "pictures"


@pytest.fixture
def settings(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "demo.safetensors"
    torch.manual_seed(0)
    save_file(DemoNet(num_classes=1000).state_dict(), weights)
    recipe = Recipe(epochs=2, num_views=3)
    return RunSettings(
        f"folder:{pictures}", str(tmp_path / "run"), backbone="demo", weights=str(weights), recipe=recipe, workers=0
    )


def test_a_cold_run_opens_every_picture_twice_to_check_and_to_use_it_and_again_for_a_second_view(
    settings: RunSettings, pictures: Path, openings: Counter[str]
) -> None:
    run, *_ = train_run(settings, is_progress_shown=False)
    counts = {str(path): openings[str(path)] for path in pictures.rglob("*.jpg")}
    seconds = SecondViews(run.dataset("test"), conversion_of(run.model).preprocessing)
    seen_again = {str(sample.image_path) for sample in seconds.samples}
    assert len(counts) == 40
    assert counts == {path: 3 if path in seen_again else 2 for path in counts}


def test_a_run_on_a_warm_cache_opens_every_picture_once_to_check_it(
    settings: RunSettings, pictures: Path, openings: Counter[str], tmp_path: Path
) -> None:
    train_run(settings, is_progress_shown=False)
    openings.clear()
    train_run(RunSettings(**vars(settings) | {"force": True}), is_progress_shown=False)
    counts = Counter(openings[str(path)] for path in pictures.rglob("*.jpg"))
    assert counts == {1: 39, 2: 1}  # the first map of the cache is held against the trunk's
