"""What an observation keeps between batches does not grow, and is what all pictures at once would give."""

import math

import pytest
import torch
from torch import Tensor

from partcnn.evaluation.observation.records import PictureRecords
from partcnn.evaluation.observation.spool import PictureSpool
from partcnn.evaluation.observation.strongest import NUM_TOP_IMAGES, ClassTables
from partcnn.metrics.functional import strongest_images


def drawn_rows(generator: torch.Generator, num_images: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    points = torch.randint(14, (num_images, 3, 2), generator=generator).short()
    scores = (torch.rand(num_images, 3, generator=generator) * 20).round() / 20  # many ties
    landmarks = torch.rand(num_images, 2, 2, generator=generator)
    landmarks[torch.rand(num_images, 2, generator=generator) < 0.4] = math.nan
    return points, scores, landmarks, torch.arange(num_images)


def test_folded_tables_are_those_of_all_rows_at_once(generator: torch.Generator) -> None:
    rows = drawn_rows(generator, 3000)  # more than are kept as rows
    tables = ClassTables(num_filters=3, num_parts=2, top=7)
    most_rows = 0
    for batch in torch.randperm(3000, generator=generator).split(32):
        tables.add(*(column[batch] for column in rows))
        most_rows = max(most_rows, tables.num_rows)
    assert most_rows <= 1000
    points, scores, landmarks, index = rows
    expected = strongest_images(points.double(), scores, landmarks, top=7, image_index=index)
    num_rows = tables.num_rows
    torch.testing.assert_close(tables.by_part(), expected, equal_nan=True)
    some = torch.tensor([2, 0])
    torch.testing.assert_close(tables.by_part(some), expected[some], equal_nan=True)
    assert tables.num_rows == num_rows > 0  # asking keeps no table
    everywhere = torch.zeros(3000, 1, 2)
    expected = strongest_images(points.double(), scores, everywhere, top=NUM_TOP_IMAGES, image_index=index)
    torch.testing.assert_close(tables.of_all(), expected[:, 0])


@pytest.mark.parametrize("most_bytes", [0, 2**26], ids=["in a file", "in memory"])
def test_a_spool_gives_back_what_it_was_given(generator: torch.Generator, most_bytes: int) -> None:
    bins = torch.randint(40_961, (11, 2, 3, 5), generator=generator, dtype=torch.int32)
    regions = torch.rand(11, 3, 7, 5, generator=generator) < 0.5
    index, labels = torch.arange(11) * 100_000, torch.arange(11) % 3
    spool = PictureSpool((2, 3, 5), (3, 7, 5), most_bytes=most_bytes)
    for batch in torch.arange(11).split(4):
        spool.append(index[batch], labels[batch], bins[batch], regions[batch])
    for _ in range(2):  # it can be read again
        found = [torch.cat(columns) for columns in zip(*spool.batches(3), strict=True)]
        for column, expected in zip(found, (index, labels, bins, regions), strict=True):
            assert torch.equal(column, expected)
    spool.close()


def test_of_many_pictures_a_sample_is_recorded() -> None:
    records = PictureRecords(1000, 2, most=100)
    assert int(records.is_wanted.sum()) == 100
    index = torch.arange(1000)
    for batch in index.split(64):
        hits = torch.ones(len(batch), 4, 2, dtype=torch.bool)
        records.add(batch, batch % 2, batch % 3 == 0, batch[:, None].expand(-1, 4).float())
        records.add_hits(batch, hits[:, 0], hits)
    numbers, is_right, sums = records.of_group(1)
    assert (numbers % 2 == 1).all()
    assert torch.equal(is_right, numbers % 3 == 0)
    assert torch.equal(sums[:, 0], numbers.float())
    assert 30 < len(numbers) < 70
    assert records.shown(numbers).all()
    assert records.pointing(numbers, torch.tensor([1, 3])).shape == (len(numbers), 2, 2)
    assert not records.pointing(index[~records.is_wanted][:3], torch.tensor([0])).any()
