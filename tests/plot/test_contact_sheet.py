"""The contact sheet: annotations where they are, of pictures of any size in little memory."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partcnn.datasets import Box, Catalogue, MaskShape, PartDataset, Point, Sample
from partcnn.foundation.errors import ConfigError
from partcnn.plot.contact_sheet import contact_sheet


@pytest.fixture
def dataset(tmp_path: Path) -> PartDataset:
    """One photograph of 2,000 × 1,500 pixels with a part of each kind."""
    picture = tmp_path / "large.png"
    Image.new("RGB", (2000, 1500), "white").save(picture)
    mask = np.zeros((1500, 2000), dtype=np.bool_)
    mask[300:600, 1000:1400] = True
    parts = {"beak": [MaskShape(mask)], "eye": [Point(1200, 350)], "wing": [Box(100, 700, 900, 1300)]}
    samples = [Sample(picture, 0, Box(50, 100, 1900, 1450), parts, "large")]
    return PartDataset(Catalogue(samples, ["bird"], sorted(parts)))


def test_what_is_drawn_is_small_and_lies_where_the_annotations_are(dataset: PartDataset) -> None:
    (axis,) = contact_sheet(dataset, num_pictures=1).axes
    picture, mask = axis.images
    assert picture.get_extent() == [0, 2000, 1500, 0]
    assert max(picture.get_size()) <= 480
    alpha, extent = mask.get_array()[..., 3], mask.get_extent()
    assert max(alpha.shape) <= 2 * 480
    scale = extent[1] / alpha.shape[1]
    rows, cols = (np.flatnonzero(alpha.any(axis=other)) for other in (1, 0))
    edges = [cols[0], rows[0], cols[-1] + 1, rows[-1] + 1]
    assert [edge * scale for edge in edges] == pytest.approx([1000, 300, 1400, 600], abs=scale)
    assert axis.lines[0].get_xydata().tolist() == [[1200, 350]]
    assert [patch.get_bbox().bounds for patch in axis.patches][-1] == (100, 700, 800, 600)
    assert (axis.get_xlim(), axis.get_ylim()) == ((0, 2000), (1500, 0))


def test_a_sheet_of_no_picture_is_refused(dataset: PartDataset) -> None:
    with pytest.raises(ConfigError, match="num_pictures, most_classes: expected at least 1"):
        contact_sheet(dataset, num_pictures=0)
