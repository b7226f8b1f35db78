"""Shared fixtures. torchvision is imported first: see partcnn._torchvision."""

import os
from pathlib import Path

import pytest
import torch

import partcnn._torchvision  # noqa: F401

SHARED = Path(os.environ.get("PARTCNN_SHARED", Path(__file__).parents[1].parent / "shared"))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real pictures and weights; tests that need it are skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real pictures and weights not found at {SHARED}; set PARTCNN_SHARED to their folder")
    return SHARED
