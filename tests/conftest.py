"""Shared fixtures. partcnn is imported before torchvision: see partcnn.foundation.torchvision_shim."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import partcnn  # noqa: F401

pytest_plugins = ["tests.faults_page"]

SHARED = Path(os.environ.get("PARTCNN_SHARED", Path(__file__).parents[1].parent / "shared"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands, also those in processes of their own, keep features in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARTCNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real pictures and weights; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real pictures and weights not found at {SHARED}; set PARTCNN_SHARED to their folder")
    return SHARED
