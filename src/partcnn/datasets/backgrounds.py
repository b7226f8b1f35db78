"""Pictures that one category stands against."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from partcnn.datasets.annotations import Skips
from partcnn.datasets.paths import check_folder
from partcnn.datasets.picture_files import pictures_below
from partcnn.datasets.samples import Sample
from partcnn.foundation.errors import DataError


def background_folder(location: str | Path, skips: Skips, label: int = 0) -> list[Sample]:
    """All pictures of a folder and its subfolders, in alphabetical order; those of other programs are left out.

    Raises:
        DataError: the folder is missing or holds no picture.
    """
    root = check_folder(str(location))
    files = sorted(pictures_below(root, skips))
    if not files:
        raise DataError(f"{root}: expected background pictures (a category is trained against them), found none")
    return [Sample(file, label, None, {}, f"background/{file.relative_to(root).as_posix()}") for file in files]


def evenly_chosen(samples: Sequence[Sample], most: int) -> list[Sample]:
    """At most so many samples, in their order: those of the lowest hashes.

    The choice is the same on every machine, and a new picture replaces at most one other.
    """

    def rank(sample: Sample) -> bytes:  # salted: the split takes the low hashes of the bare identifier for training
        salted = f"chosen/{sample.image_id}".encode(errors="surrogateescape")
        return hashlib.sha1(salted, usedforsecurity=False).digest()

    ranked = sorted(samples, key=rank)
    chosen = {id(sample) for sample in ranked[:most]}
    return [sample for sample in samples if id(sample) in chosen]
