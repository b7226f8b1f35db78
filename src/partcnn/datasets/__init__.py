"""Data sets: pictures with labels and, where they are annotated, object parts."""

from partcnn.datasets.annotations import Skips
from partcnn.datasets.catalogue import BACKGROUND, Catalogue
from partcnn.datasets.joint_transforms import TVShapes, from_tv_tensors, to_tv_tensors
from partcnn.datasets.loading import CROPS, DATASETS, load_dataset
from partcnn.datasets.part_dataset import ClassCount, Example, PartDataset
from partcnn.datasets.pictures import read_picture
from partcnn.datasets.samples import Box, MaskShape, Point, Sample, Shape
from partcnn.datasets.splits import SPLITS, assign_split

__all__ = [
    "BACKGROUND",
    "CROPS",
    "DATASETS",
    "SPLITS",
    "Box",
    "Catalogue",
    "ClassCount",
    "Example",
    "MaskShape",
    "PartDataset",
    "Point",
    "Sample",
    "Shape",
    "Skips",
    "TVShapes",
    "assign_split",
    "from_tv_tensors",
    "load_dataset",
    "read_picture",
    "to_tv_tensors",
]
