"""Pictures and their annotations move together."""

import math
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms.v2 import functional as tvf

from partcnn.datasets import Box, Catalogue, MaskShape, PartDataset, Point, Sample
from partcnn.datasets.joint_transforms import box_centers, edge_boxes
from partcnn.foundation.errors import ConfigError

WIDTH, HEIGHT = 40, 30
MARKER = Box(24, 6, 28, 8)  # painted bright; "point" is its centre


@pytest.fixture
def dataset(tmp_path: Path) -> PartDataset:
    """One picture with a bright marker, annotated as a point, a box and a mask; then one of background."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    pixels[6:8, 24:28] = 255
    Image.fromarray(pixels).save(tmp_path / "marked.png")
    Image.new("RGB", (50, 20)).save(tmp_path / "plain.png")
    parts: dict[str, list[Box | Point | MaskShape]] = {
        "box": [MARKER],
        "mask": [MaskShape(pixels[..., 0] > 0)],
        "pair": [Box(0, 0, 4, 4), Box(6, 0, 9, 4)],
        "point": [MARKER.center],
    }
    samples = [
        Sample(tmp_path / "marked.png", 1, Box(10, 5, 30, 25), parts, "marked"),
        Sample(tmp_path / "plain.png", 0, None, {}, "plain"),
    ]
    catalogue = Catalogue(samples, ["background", "marker"], ["absent", *sorted(parts)], 0, "marker")
    return PartDataset(catalogue, image_size=(20, 10))


def marker_center(image: torch.Tensor) -> tuple[float, float]:
    """The centroid of the bright pixels, (x, y) in continuous pixels: a pixel's middle is at index + 0.5."""
    rows, cols = torch.nonzero(image[0] > 127, as_tuple=True)
    return cols.double().mean().item() + 0.5, rows.double().mean().item() + 0.5


class TestExample:
    def test_without_a_transform_the_picture_is_squashed_to_the_image_size(self, dataset: PartDataset) -> None:
        example = dataset[0]
        assert example.image.shape == (3, 20, 10)
        assert example.image.dtype == torch.uint8
        assert type(example.image) is torch.Tensor
        assert (example.label, example.sample_index) == (1, 0)
        assert example.object_box.tolist() == pytest.approx([2.5, 10 / 3, 7.5, 50 / 3])

    def test_absent_and_ambiguous_parts_are_nan(self, dataset: PartDataset) -> None:
        is_absent = dataset[0].landmarks.isnan().all(dim=1)
        assert dict(zip(dataset.parts, is_absent.tolist(), strict=True)) == {
            "absent": True, "box": False, "mask": False, "pair": True, "point": False,
        }  # fmt: skip

    def test_background_has_neither_landmarks_nor_an_object(self, dataset: PartDataset) -> None:
        example = dataset[1]
        assert example.landmarks.shape == (5, 2)
        assert example.landmarks.isnan().all()
        assert example.object_box.isnan().all()

    def test_landmarks_of_the_picture_itself_are_not_resized(self, dataset: PartDataset) -> None:
        assert dataset.landmarks(0)[dataset.parts.index("point")].tolist() == [26, 7]

    @pytest.mark.parametrize(
        ("left", "top", "is_inside"),
        [(20, 2, True), (26, 2, True), (27, 2, False), (16, 2, False), (15, 2, False), (20, 8, False), (20, -4, False)],
        ids=["inside", "on the left edge", "left", "on the right edge", "right", "above", "below"],
    )
    def test_a_part_outside_the_crop_is_nan(self, left: int, top: int, is_inside: bool, dataset: PartDataset) -> None:
        crop = moving(lambda shape: tvf.crop(shape, top, left, 10, 10))
        landmark = dataset.with_transform(crop)[0].landmarks[dataset.parts.index("point")]
        assert landmark.tolist() == ([26 - left, 7 - top] if is_inside else pytest.approx([math.nan] * 2, nan_ok=True))

    def test_an_index_from_the_end_is_told_from_the_start(self, dataset: PartDataset) -> None:
        assert dataset[-1].sample_index == 1

    def test_the_object_box_is_clipped_to_the_picture(self, dataset: PartDataset) -> None:
        assert dataset.with_transform(v2.CenterCrop(10))[0].object_box.tolist() == [0, 0, 10, 10]

    def test_an_object_that_is_cut_off_is_nan(self, dataset: PartDataset) -> None:
        corner = moving(lambda shape: tvf.crop(shape, 0, 0, 4, 8))
        assert dataset.with_transform(corner)[0].object_box.isnan().all()

    def test_a_float_transform_gives_float_pictures(self, dataset: PartDataset) -> None:
        transform = v2.Compose(
            [v2.Resize((8, 8)), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
        )
        example = dataset.with_transform(transform)[0]
        assert example.image.dtype == torch.float32
        assert example.image.min() == -1
        assert example.landmarks[-1].tolist() == pytest.approx([26 / 5, 7 * 8 / 30])

    def test_with_transform_leaves_the_data_set_it_came_from_alone(self, dataset: PartDataset) -> None:
        dataset.with_transform(v2.CenterCrop(10))
        assert dataset.transform is None

    def test_default_collation_makes_batches(self, dataset: PartDataset) -> None:
        batch = next(iter(DataLoader(dataset, batch_size=2)))
        assert batch.image.shape == (2, 3, 20, 10)
        assert batch.label.tolist() == [1, 0]
        assert batch.landmarks.shape == (2, 5, 2)
        assert batch.object_box.shape == (2, 4)
        assert batch.sample_index.tolist() == [0, 1]

    def test_it_travels_to_worker_processes(self, dataset: PartDataset) -> None:
        assert torch.equal(pickle.loads(pickle.dumps(dataset))[0].image, dataset[0].image)

    def test_a_data_set_can_be_walked_without_a_loader(self, dataset: PartDataset) -> None:
        assert [example.label for example in dataset] == [1, 0]

    def test_a_transform_that_drops_boxes_is_refused(self, dataset: PartDataset) -> None:
        with pytest.raises(ConfigError, match="expected it to keep all 6 boxes"):
            dataset.with_transform(v2.SanitizeBoundingBoxes(labels_getter=None))[0]

    def test_a_transform_that_gives_no_picture_tensor_is_refused(self, dataset: PartDataset) -> None:
        with pytest.raises(ConfigError, match=r"picture tensor \[3, H, W\], got Image"):
            dataset.with_transform(v2.ToPILImage())[0]


class TestFrame:
    @pytest.mark.parametrize(
        "transform",
        [
            v2.RandomHorizontalFlip(1.0),
            v2.RandomVerticalFlip(1.0),
            v2.Resize((60, 120), InterpolationMode.NEAREST),
            v2.Compose(
                [v2.RandomHorizontalFlip(1.0), v2.Resize((90, 80), InterpolationMode.NEAREST), v2.CenterCrop(70)]
            ),
            v2.Compose([v2.Pad(6), v2.RandomHorizontalFlip(1.0), v2.RandomCrop((36, 48), padding=0)]),
            v2.RandomRotation((90, 90), expand=True),
        ],
        ids=["flip", "upside down", "resize", "flip, resize, crop", "pad, flip, crop", "quarter turn"],
    )
    def test_landmarks_follow_the_marker_in_the_picture(self, transform: v2.Transform, dataset: PartDataset) -> None:
        torch.manual_seed(0)
        example = dataset.with_transform(transform)[0]
        for part in ("box", "mask", "point"):
            landmark = example.landmarks[dataset.parts.index(part)].tolist()
            assert landmark == pytest.approx(marker_center(example.image), abs=1e-4), part

    @settings(max_examples=40, deadline=None)
    @given(
        is_flipped=st.booleans(),
        scale=st.integers(1, 3),
        top=st.integers(0, HEIGHT - 1),
        left=st.integers(0, WIDTH - 1),
        height=st.integers(1, HEIGHT),
        width=st.integers(1, WIDTH),
    )
    def test_a_point_and_a_box_stay_together_through_flip_resize_and_crop(
        self, is_flipped: bool, scale: int, top: int, left: int, height: int, width: int
    ) -> None:
        def move(shape: torch.Tensor) -> torch.Tensor:
            shape = tvf.horizontal_flip(shape) if is_flipped else shape
            shape = tvf.resize(shape, [HEIGHT * scale, WIDTH * scale], InterpolationMode.NEAREST)
            return tvf.crop(shape, top, left, height, width)

        image = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.uint8)
        image[:, 6:8, 24:28] = 255
        boxes = move(edge_boxes([MARKER.center, MARKER], (HEIGHT, WIDTH)))
        point, center = box_centers(boxes).tolist()
        x0, y0, x1, y1 = boxes[1].tolist()
        assert point == pytest.approx(center)
        assert boxes[0].tolist() == pytest.approx([*point, *point])
        assert (x1 - x0, y1 - y0) == (4 * scale, 2 * scale)
        bright = move(tv_tensors.Image(image))[0] > 127
        if bright.sum() == 8 * scale**2:  # the whole marker is in the crop
            assert point == pytest.approx(marker_center(move(tv_tensors.Image(image))))


def moving(function: Callable[[torch.Tensor], torch.Tensor]) -> v2.Lambda:
    return v2.Lambda(function, tv_tensors.Image, tv_tensors.BoundingBoxes)
