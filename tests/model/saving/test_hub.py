"""Up to the hub and down again, the hub being a folder: no test talks to the network."""

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from PIL import Image
from torch import nn

from partcnn.foundation.errors import ConfigError, DataError, RunError
from partcnn.model.conversion import convert
from partcnn.model.saving.checkpoint import METRICS_FILE, save, write_card
from partcnn.model.saving.hub import from_pretrained, push_to_hub
from partcnn.networks.demo_net import DemoNet


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    made = convert(DemoNet(), "features.block1", num_classes=2, filters=3, input_size=(32, 40)).eval()
    nn.init.normal_(made.head.weight)  # it starts at 0, and logits of 0 are any network's
    return made


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the hub, which takes and gives by the library's own patterns."""
    root = tmp_path / "hub"

    class FolderApi:
        def __init__(self, token: str | None = None) -> None:
            self.token = token

        def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
            (root / repo_id).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], **_: Any) -> Any:
            files = [file for file in Path(folder_path).rglob("*") if file.is_file()]
            names = [file.relative_to(folder_path).as_posix() for file in files]
            for name in filter_repo_objects(names, allow_patterns=allow_patterns):
                (root / repo_id / name).parent.mkdir(exist_ok=True)
                shutil.copy(Path(folder_path) / name, root / repo_id / name)
            return SimpleNamespace(commit_url=f"hub/{repo_id}/commit/1")

    def snapshot_download(repo_id: str, **_: Any) -> str:
        return str(root / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", FolderApi)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return root


def test_a_network_comes_back_from_the_hub(model: nn.Module, hub: Path, generator: torch.Generator) -> None:
    assert push_to_hub(model, "me/animals") == "hub/me/animals/commit/1"
    assert sorted(file.name for file in (hub / "me/animals").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    images = torch.randn(2, 3, 32, 40, generator=generator)
    torch.testing.assert_close(from_pretrained("me/animals")(images), model(images))


def test_of_a_run_its_card_goes_up_and_nothing_that_names_this_machine(
    model: nn.Module, hub: Path, tmp_path: Path
) -> None:
    run = save(model, tmp_path / "run")
    (run / METRICS_FILE).write_text(json.dumps({"summary": {"accuracy": 0.625}, "path": "private-place/pictures"}))
    (run / "run.yaml").write_text("data: folder:private-place/pictures")
    write_card(run)
    push_to_hub(run, "me/animals")
    up = {file.name: file.read_bytes() for file in (hub / "me/animals").iterdir()}
    assert b"| accuracy | 0.625 |" in up["README.md"]
    assert not any(b"private-place" in content for content in up.values())


def test_pictures_are_on_the_card_where_they_are_given_without_what_a_camera_noted(
    model: nn.Module, hub: Path, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "private place"  # a description
    Image.new("RGB", (2048, 512), "red").save(tmp_path / "aunt.jpg", exif=exif)
    push_to_hub(model, "me/animals", pictures=[tmp_path / "aunt.jpg", Image.new("L", (8, 8))])
    up = hub / "me/animals"
    assert sorted(file.name for file in (up / "partcnn_pictures").iterdir()) == ["1.png", "2.png"]
    with Image.open(up / "partcnn_pictures/1.png") as shown:
        assert shown.size == (1024, 256)
    assert b"private place" not in (up / "partcnn_pictures/1.png").read_bytes()
    card = (up / "README.md").read_text(encoding="utf-8")
    assert "](partcnn_pictures/1.png)" in card
    assert "](partcnn_pictures/2.png)" in card
    assert 'partcnn.from_pretrained("me/animals")' in card
    assert "aunt" not in card
    with pytest.raises(DataError, match=r"none\.png"):
        push_to_hub(model, "me/others", pictures=[tmp_path / "none.png"])
    assert not (hub / "me/others").exists()


def test_a_local_directory_needs_no_hub(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = save(model, tmp_path / "run")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert from_pretrained(run).head.weight.equal(model.head.weight)
    with pytest.raises(ConfigError, match=r"pip install 'partcnn\[hub\]'"):
        from_pretrained("me/animals")


def test_a_directory_that_is_no_saved_network_is_not_uploaded(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(RunError, match="expected a directory written by"):
        push_to_hub(tmp_path / "other", "me/animals")
    assert not hub.exists()
