"""Saved networks on the Hugging Face hub: the files of `save`, up and down. Needs the extra `hub`.

Loading from the hub runs no code of the repository: what comes down is read by `partcnn.load`.
"""

import importlib
import importlib.util
import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import nn

from partcnn.datasets.pictures import read_picture
from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.files import as_path, write_text
from partcnn.foundation.pixels import shrunk, to_rgb
from partcnn.model.saving.checkpoint import CARD_FILE, is_own_card, load, save
from partcnn.model.saving.checkpoint_files import CONFIG_FILE, WEIGHTS_FILE, read_config
from partcnn.model.saving.model_card import card_of_repository
from partcnn.model.saving.names_file import NAMES_FILE, read_names
from partcnn.model.saving.shipped import run_directory

FILES = (
    CONFIG_FILE,
    WEIGHTS_FILE,
    CARD_FILE,
    NAMES_FILE,
)  # metrics.json and run.yaml hold paths of the machine they come from
_log = logging.getLogger("partcnn")
_PICTURES, _LARGEST_SIDE = "partcnn_pictures", 1024  # pixels
_OF_PICTURES = (f"{_PICTURES}/*.png",)


def push_to_hub(
    model: nn.Module | str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Upload a network with part filters",
    pictures: Sequence[str | os.PathLike[str] | Image.Image] = (),
) -> str:
    """Upload a converted network to a repository of the hub, which is made where missing.

    Args:
        model: made by `partcnn.convert`, or a directory that `save` or `partcnn train` wrote: its model card has the
            measured figures. Of a directory only model.safetensors, config.json, README.md and names.yaml are uploaded.
        repo_id: OWNER/NAME.
        private: whether a repository that is made is private.
        token: None takes the one that huggingface_hub is logged in with.
        message: of the commit.
        pictures: to be shown on the model card, such as those of `Explanation.save`: files or Pillow pictures. Nothing
            that a network was trained or measured on is uploaded but what is given here. They are written anew, with
            sides of at most 1,024 pixels and without what a camera noted in the file.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: huggingface_hub is not installed.
        RunError, LayerError: as of `save`, or the directory is not one that it wrote.
        DataError: a picture cannot be read.
    """
    shown = [_reduced(picture) for picture in pictures]
    api = _library().HfApi(token=token)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        if isinstance(model, nn.Module):
            save(model, directory)
        else:
            _copy(run_directory(model), directory)
        _fit_card(directory, repo_id, shown)
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=directory,
            allow_patterns=[*FILES, *_OF_PICTURES],
            delete_patterns=[NAMES_FILE, *_OF_PICTURES],  # of another network that lay there, where this one has none
            commit_message=message,
        )
    return str(commit.commit_url)


def _copy(saved: Path, directory: Path) -> None:
    """What is uploaded of a directory that `save` wrote."""
    read_config(saved)
    read_names(saved / NAMES_FILE)
    for name in FILES:
        if (saved / name).is_file():
            shutil.copyfile(saved / name, directory / name)


def _reduced(picture: str | os.PathLike[str] | Image.Image) -> Image.Image:
    if isinstance(picture, Image.Image):
        return shrunk(to_rgb(picture), _LARGEST_SIDE)
    return shrunk(read_picture(as_path(picture, ConfigError, "pictures: expected files or pictures")), _LARGEST_SIDE)


def _fit_card(directory: Path, repo_id: str, pictures: Sequence[Image.Image]) -> None:
    """Put the pictures beside the card, and them and the name of the repository into it, unless it is one's own."""
    names = [f"{_PICTURES}/{number}.png" for number, _ in enumerate(pictures, start=1)]
    for name, picture in zip(names, pictures, strict=True):
        (directory / name).parent.mkdir(exist_ok=True)
        picture.save(directory / name)
    card = directory / CARD_FILE
    if not is_own_card(card):
        if pictures:
            _log.warning("README.md: it is your own and stays as it is; the pictures lie in %s", _PICTURES)
    else:
        write_text(card, card_of_repository(card.read_text(encoding="utf-8"), repo_id, names))


def from_pretrained(
    source: str | os.PathLike[str],
    model: nn.Module | None = None,
    *,
    revision: str | None = None,
    token: str | None = None,
) -> nn.Module:
    """A network from a local directory or from a repository of the hub, as `partcnn.load` gives it.

    Args:
        source: a directory, or OWNER/NAME of a repository. A directory of that name wins.
        model: as of `load`.
        revision: branch, tag or commit of the repository.
        token: None takes the one that huggingface_hub is logged in with.

    Raises:
        ConfigError: huggingface_hub is needed and not installed.
        RunError, WeightsError: as of `load`.
    """
    directory = run_directory(as_path(source, RunError, "source: expected a directory or OWNER/NAME of a repository"))
    if not directory.is_dir():
        download = _library().snapshot_download
        source = download(os.fspath(source), revision=revision, token=token, allow_patterns=list(FILES))
        directory = Path(source)
    return load(directory, model)


def _library() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("hub: huggingface_hub is not installed; pip install 'partcnn[hub]'")
    return importlib.import_module("huggingface_hub")
