"""Saved networks on the Hugging Face hub: the files of `save`, up and down. Needs the extra `hub`.

Loading from the hub runs no code of the repository: what comes down is read by `partcnn.load`.
"""

import importlib
import importlib.util
import os
import tempfile
from typing import Any

from torch import nn

from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.files import as_path
from partcnn.model.saving.checkpoint import CARD_FILE, load, save
from partcnn.model.saving.checkpoint_files import CONFIG_FILE, WEIGHTS_FILE, read_config
from partcnn.model.saving.names_file import NAMES_FILE, read_names

FILES = (
    CONFIG_FILE,
    WEIGHTS_FILE,
    CARD_FILE,
    NAMES_FILE,
)  # metrics.json and run.yaml hold paths of the machine they come from


def push_to_hub(
    model: nn.Module | str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Upload a network with part filters",
) -> str:
    """Upload a converted network to a repository of the hub, which is made where missing.

    Args:
        model: made by `partcnn.convert`, or a directory that `save` or `partcnn train` wrote: its model card has the
            measured figures. Of a directory only model.safetensors, config.json, README.md and names.yaml are uploaded.
        repo_id: OWNER/NAME.
        private: whether a repository that is made is private.
        token: None takes the one that huggingface_hub is logged in with.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        ConfigError: huggingface_hub is not installed.
        RunError, LayerError: as of `save`, or the directory is not one that it wrote.
    """
    api = _library().HfApi(token=token)
    with tempfile.TemporaryDirectory() as temporary:
        if isinstance(model, nn.Module):
            directory = save(model, temporary)
        else:
            directory = as_path(model, RunError, "model: expected a network, or a directory that partcnn.save wrote")
            read_config(directory)
            read_names(directory / NAMES_FILE)
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=directory,
            allow_patterns=list(FILES),
            delete_patterns=[NAMES_FILE],  # of another network that lay there, where this one's filters have none
            commit_message=message,
        )
    return str(commit.commit_url)


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
    if not as_path(source, RunError, "source: expected a directory or OWNER/NAME of a repository").is_dir():
        download = _library().snapshot_download
        source = download(os.fspath(source), revision=revision, token=token, allow_patterns=list(FILES))
    return load(source, model)


def _library() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError("hub: huggingface_hub is not installed; pip install 'partcnn[hub]'")
    return importlib.import_module("huggingface_hub")
