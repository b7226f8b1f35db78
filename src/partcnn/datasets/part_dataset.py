"""The pictures of one task as a torch Dataset."""

import copy
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from partcnn.datasets.catalogue import Catalogue
from partcnn.datasets.joint_transforms import box_centers, edge_boxes
from partcnn.datasets.pictures import in_threads
from partcnn.datasets.samples import Label, Point, Sample
from partcnn.datasets.splits import assign_split, check_split
from partcnn.foundation.errors import ConfigError, DataError

_log = logging.getLogger("partcnn")
_MOST_NAMED = 10  # classes without a picture, each in a line
_NOWHERE = Point(float("nan"), float("nan"))


class Example(NamedTuple):
    """A picture as a network takes it, with its annotations in the same frame; default collation stacks it.

    Attributes:
        image: [3, H, W], of the type that the transform gives: uint8 in 0–255 without one.
        label: index in the classes; of a multi-label task [class] uint8, 1 where the picture shows the class.
        landmarks: [part, 2], (x, y) in pixels of `image`, in the order of `dataset.parts`; nan where the part
            is absent, has several shapes, or lies outside the picture after the transform.
        object_box: [4], xyxy in pixels of `image`, clipped to it; nan where there is none.
        sample_index: of the sample in `dataset.samples`.
    """

    image: Tensor
    label: int | Tensor
    landmarks: Tensor
    object_box: Tensor
    sample_index: int


@dataclass(frozen=True)
class ClassCount:
    """How many pictures a class has, and in how many of them each part is annotated."""

    num_images: int
    num_part_images: dict[str, int]


class PartDataset(Dataset[Example]):
    """Pictures with labels and, where they are annotated, parts.

    Args:
        catalogue: all pictures of the task, of both splits.
        split: "train", "test" or "all".
        spec: what the user gave to `load_dataset`.
        image_size: (height, width) that pictures are squashed to without a transform, as in the paper.
        transform: a torchvision v2 transform, called with an Image and BoundingBoxes at once.
        num_bad: pictures set aside as unreadable when the data set was loaded.

    Attributes:
        samples: those of the split.
        classes: names that labels index. One category: ["background", its name]; several: sorted.
        parts: names of the annotated parts, sorted.
        background: index of the background class; None in the multi-category task.
        category: full name of the category; None in the multi-category task.
        is_multilabel: whether a picture may show several classes or none.
        skipped: reason → number of annotations that were left out, in both splits.

    Raises:
        ConfigError: the split is unknown.
        DataError: the split has no picture.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        split: str = "all",
        spec: str = "",
        image_size: tuple[int, int] = (224, 224),
        transform: Callable[..., Any] | None = None,
        num_bad: int = 0,
    ) -> None:
        self.classes = list(catalogue.classes)
        self.parts = list(catalogue.parts)
        self.background = catalogue.background
        self.category = catalogue.category
        self.is_multilabel = catalogue.is_multilabel
        self.spec = spec
        self.image_size = image_size
        self.transform = transform
        self._resized_to = None if transform else image_size
        self.num_bad = num_bad
        self.skipped = catalogue.skips.counts()
        self._all_samples = list(catalogue.samples)
        self._take_split(split)

    def with_split(self, split: str) -> "PartDataset":
        """The same data and transform, another split; the pictures are not checked again."""
        other = copy.copy(self)
        other._take_split(split)
        return other

    def with_transform(
        self, transform: Callable[..., Any] | None, *, resized_to: tuple[int, int] | None = None
    ) -> "PartDataset":
        """The same pictures with another transform; None resizes to `image_size` only.

        Args:
            transform: as in the class.
            resized_to: (height, width) where the transform resizes the whole picture to that before all else. Large
                JPEGs are then decoded at a fraction of their size; landmarks and boxes are the same.
        """
        other = copy.copy(self)
        other.transform = transform
        other._resized_to = resized_to if transform else self.image_size
        return other

    def with_samples(self, samples: Sequence[Sample]) -> "PartDataset":
        """These of its pictures alone, with the same transform."""
        other = copy.copy(self)
        other.samples = list(samples)
        return other

    def pinned(self) -> "PartDataset":
        """The same pictures, each held to the bytes that it has now; see `Sample.pinned`."""
        return self.with_samples(in_threads(self.samples, lambda sample: sample.pinned()))

    def with_classes(self, classes: Sequence[str], labels: Sequence[int]) -> "PartDataset":
        """The same pictures, transform and split, the classes in another order.

        Args:
            classes: the names in the new order.
            labels: of every class as it is numbered now, its number there.
        """
        other = copy.copy(self)
        other.classes = list(classes)
        other.background = None if self.background is None else labels[self.background]
        other._all_samples = [sample.with_label(_renumbered(sample.label, labels)) for sample in self._all_samples]
        other.samples = _of_split(other._all_samples, self.split)
        return other

    def counts(self, split: str = "all") -> dict[str, ClassCount]:
        """Pictures per class and part. Drawn pictures are all drawn for it.

        Args:
            split: which of this split's pictures are counted: those for training, those kept out, or all.
        """
        samples = _of_split(self.samples, split)
        num_images = Counter(label for sample in samples for label in sample.labels)
        num_parts = Counter((label, part) for sample in samples for label in sample.labels for part in sample.parts)
        return {
            name: ClassCount(num_images[label], {part: num_parts[label, part] for part in self.parts})
            for label, name in enumerate(self.classes)
        }

    def labels(self) -> Tensor:
        """[image] class indices, int64; of a multi-label task [image, class] uint8, 1 where the class is shown."""
        if not self.is_multilabel:
            return torch.tensor([sample.label for sample in self.samples], dtype=torch.int64)
        return torch.stack([self._marks(sample) for sample in self.samples])

    def label(self, index: int) -> int | Tensor:
        """Of one picture: a row of `labels`."""
        label = self.samples[index].label
        return self._marks(self.samples[index]) if isinstance(label, frozenset) else label

    def shows_object(self, sample: Sample) -> bool:
        """Whether a picture shows a class, and not the background or nothing."""
        return any(label != self.background for label in sample.labels)

    def landmarks(self, index: int) -> Tensor:
        """[part, 2]: `Sample.landmark` of every part in the untransformed picture; nan where it is None."""
        return torch.tensor(self._landmark_points(self.samples[index])).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:
        return self.example_and_size(index)[0]

    def example_and_size(self, index: int) -> tuple[Example, tuple[int, int]]:
        """An example, and the (height, width) of the picture in whose pixels the sample's shapes are."""
        sample = self.samples[index]
        if self._resized_to is None:
            picture = sample.load_image()
            annotated = (picture.height, picture.width)
        else:
            picture, annotated = sample.load_reduced(self._resized_to)
        image = tv_tensors.Image(picture)
        size = (image.shape[-2], image.shape[-1])
        # One call moves all: the landmarks of every part as boxes without area, then the object box.
        transform = self.transform or v2.Resize(self.image_size)
        moved_image, moved_boxes = transform(image, self._edge_boxes(sample, size, annotated))
        self._check_moved(moved_image, moved_boxes)
        return self._example(index, moved_image.as_subclass(Tensor), moved_boxes, moved_image.shape[-2:]), annotated

    def example_without_picture(self, index: int, annotated: tuple[int, int], input_size: tuple[int, int]) -> Example:
        """The example of a transform that stretches the whole picture to `input_size`; nothing is decoded.

        Args:
            index: of the sample.
            annotated: (height, width) of its picture.
            input_size: (height, width) of the example, whose `image` is empty.
        """
        boxes = self._edge_boxes(self.samples[index], input_size, annotated)
        return self._example(index, torch.empty(0), boxes, input_size)

    def _edge_boxes(
        self, sample: Sample, size: tuple[int, int], annotated: tuple[int, int]
    ) -> tv_tensors.BoundingBoxes:
        return edge_boxes([*self._landmark_points(sample), sample.object_box or _NOWHERE], size, annotated)

    def _example(self, index: int, image: Tensor, boxes: Tensor, size: Sequence[int]) -> Example:
        height, width = size
        return Example(
            image=image,
            label=self.label(index),
            landmarks=_inside_only(box_centers(boxes[:-1]), height, width),
            object_box=_clipped(boxes[-1].as_subclass(Tensor), height, width),
            sample_index=index if index >= 0 else index + len(self),
        )

    def _take_split(self, split: str) -> None:
        self.split = check_split(split)
        self.samples = _of_split(self._all_samples, split)
        if not self.samples:
            if not self._all_samples:
                raise DataError(f"{self.spec or 'catalogue'}: expected pictures, got none; add some")
            raise DataError(
                f"split: expected pictures in {split!r}, got none of {len(self._all_samples)}; "
                "add pictures or take split 'all'"
            )
        present = {label for sample in self.samples for label in sample.labels}
        absent = [name for label, name in enumerate(self.classes) if label not in present]
        if len(absent) > _MOST_NAMED:
            _log.warning(
                "%s: the split %r has no picture of %d of %d classes, the first %r",
                self.spec,
                split,
                len(absent),
                len(self.classes),
                absent[0],
            )
            return
        for name in absent:
            _log.warning("%s: the split %r has no picture of the class %r", self.spec, split, name)

    def _marks(self, sample: Sample) -> Tensor:  # [class]
        marks = torch.zeros(len(self.classes), dtype=torch.uint8)
        marks[list(sample.labels)] = 1
        return marks

    def _landmark_points(self, sample: Sample) -> list[Point]:
        return [sample.landmark(part) or _NOWHERE for part in self.parts]

    def _check_moved(self, image: Any, boxes: Any) -> None:
        if not isinstance(image, Tensor) or image.ndim != 3:
            got = f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            raise ConfigError(f"transform: expected it to give a picture tensor [3, H, W], got {got}")
        if not isinstance(boxes, Tensor) or tuple(boxes.shape) != (len(self.parts) + 1, 4):
            raise ConfigError(
                f"transform: expected it to keep all {len(self.parts) + 1} boxes [box, 4]; "
                "transforms that drop boxes, such as SanitizeBoundingBoxes, cannot be used"
            )


def _of_split(samples: list[Sample], split: str) -> list[Sample]:
    return [sample for sample in samples if split in ("all", sample.split or assign_split(sample.image_id))]


def _renumbered(label: Label, numbers: Sequence[int]) -> Label:
    return frozenset(numbers[one] for one in label) if isinstance(label, frozenset) else numbers[label]


def _inside_only(points: Tensor, height: int, width: int) -> Tensor:
    limits = points.new_tensor([width, height])
    is_inside = ((points >= 0) & (points < limits)).all(dim=1, keepdim=True)  # nan is never inside
    return points.where(is_inside, points.new_tensor(float("nan")))


def _clipped(box: Tensor, height: int, width: int) -> Tensor:
    clipped = box.clamp(min=0).minimum(box.new_tensor([width, height, width, height]))
    has_area = bool((clipped[2:] > clipped[:2]).all())
    return clipped if has_area else torch.full_like(box, float("nan"))
