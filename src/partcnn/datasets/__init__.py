"""Data sets: pictures with labels and, where they are annotated, object parts."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.datasets.annotations import Skips
    from partcnn.datasets.catalogue import BACKGROUND, Catalogue
    from partcnn.datasets.loading import CROPS, DATASETS, load_dataset
    from partcnn.datasets.part_dataset import ClassCount, Example, PartDataset
    from partcnn.datasets.pictures import read_picture
    from partcnn.datasets.samples import Box, Label, MaskShape, Point, Sample, Shape
    from partcnn.datasets.splits import SPLITS, assign_split

_HOMES = {
    "Skips": "annotations",
    "BACKGROUND": "catalogue",
    "Catalogue": "catalogue",
    "CROPS": "loading",
    "DATASETS": "loading",
    "load_dataset": "loading",
    "ClassCount": "part_dataset",
    "Example": "part_dataset",
    "PartDataset": "part_dataset",
    "read_picture": "pictures",
    "Box": "samples",
    "Label": "samples",
    "MaskShape": "samples",
    "Point": "samples",
    "Sample": "samples",
    "Shape": "samples",
    "SPLITS": "splits",
    "assign_split": "splits",
}

__all__ = [
    "BACKGROUND",
    "CROPS",
    "DATASETS",
    "SPLITS",
    "Box",
    "Catalogue",
    "ClassCount",
    "Example",
    "Label",
    "MaskShape",
    "PartDataset",
    "Point",
    "Sample",
    "Shape",
    "Skips",
    "assign_split",
    "load_dataset",
    "read_picture",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
