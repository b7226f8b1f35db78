"""Rows in several files are read as those of a tensor are, and no page of them stays in memory for long."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from partcnn.foundation.row_shards import RowShards, chosen_rows, large_zeros
from partcnn.foundation.system_memory import give_back, mapped_ranges

WHOLE = torch.arange(11 * 3 * 4 * 5.0).view(11, 3, 4, 5)


@pytest.fixture
def rows() -> RowShards:
    return RowShards([WHOLE[:4], WHOLE[4:8], WHOLE[8:]])


def mapped(folder: Path, shards: list[Tensor]) -> list[Tensor]:
    found = []
    for number, shard in enumerate(shards):
        save_file({"maps": shard.contiguous()}, folder / f"{number}.safetensors")
        with safe_open(folder / f"{number}.safetensors", framework="pt", device="cpu") as file:
            found.append(file.get_tensor("maps"))
    return found


def resident_mib() -> float:
    """Of mapped files, in this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("RssFile")).split()[1]) / 1024


@pytest.mark.parametrize(
    "index",
    [
        3,
        -1,
        slice(None),
        slice(2, 9),
        slice(None, None, 3),
        slice(0, 0),
        [10, 0, 5, 5],
        torch.tensor([10, 0, 5]),
        torch.tensor([], dtype=torch.long),
        (7, slice(0, 1)),
        ([9, 1], slice(None, 2)),
        (slice(1, 8), 2),
        (torch.tensor([[9], [0], [4]]), torch.tensor([[0, 1], [2, 0], [1, 1]])),
        (torch.tensor([8, 8, 1]), slice(None), torch.tensor([0, 3, 2]), torch.tensor([4, 0, 1])),
    ],
    ids=str,
)
def test_what_is_read_is_what_a_tensor_gives(rows: RowShards, index: Any) -> None:
    found = rows[index]
    assert isinstance(found, Tensor)
    assert torch.equal(found, WHOLE[index])
    assert found.is_contiguous()


def test_its_shape_is_that_of_all(rows: RowShards) -> None:
    assert (rows.shape, rows.ndim, len(rows), rows.dtype) == (WHOLE.shape, 4, 11, torch.float32)
    assert rows.num_bytes == WHOLE.nbytes


def test_one_view_of_all_rows_is_not_read_yet(rows: RowShards) -> None:
    first = rows[:, 0]
    assert isinstance(first, RowShards)
    assert first.shape == (11, 4, 5)
    assert torch.equal(first[[9, 2]], WHOLE[[9, 2], 0])


def test_some_of_the_rows_are_rows_again(rows: RowShards) -> None:
    some = chosen_rows(rows, torch.tensor([10, 3, 4, 0]))
    assert isinstance(some, RowShards)
    assert torch.equal(some[:], WHOLE[[10, 3, 4, 0]])
    assert torch.equal(some[:, 1].of(torch.tensor([2, 1]))[:], WHOLE[[4, 3], 1])
    assert torch.equal(torch.cat(list(some.split(3))), WHOLE[[10, 3, 4, 0]])
    assert torch.equal(chosen_rows(WHOLE, torch.tensor([2])), WHOLE[[2]])


def test_a_row_that_is_not_there_is_an_error(rows: RowShards) -> None:
    for index in (11, -12, [0, 11]):
        with pytest.raises(IndexError):
            rows[index]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system does not say what is mapped")
class TestMapped:
    def test_pages_are_given_back_and_read_anew(self, tmp_path: Path) -> None:
        shards = mapped(tmp_path, [torch.full((64, 2**16), float(number)) for number in range(8)])
        rows = RowShards(shards, is_mapped=True)
        before = resident_mib()
        most = 0.0
        for _ in range(2):
            for number, batch in enumerate(rows.split(64)):
                assert bool((batch == number).all())
                most = max(most, resident_mib() - before)
        assert most < 60  # of 128

    def test_only_files_are_found_and_memory_is_left_alone(self, tmp_path: Path) -> None:
        own = torch.ones(2**20)
        assert mapped_ranges([own]) == []
        (shard,) = mapped(tmp_path, [torch.ones(2**20)])
        (found,) = mapped_ranges([shard, shard[5:]])
        assert found[0] <= shard.data_ptr() < found[0] + found[1]
        assert found[1] >= shard.nbytes
        give_back([found])
        assert bool((own == 1).all())
        assert bool((shard == 1).all())

    @pytest.mark.fault("cache", "files of features are removed while they are used", "their rows stay until the end")
    def test_rows_outlive_their_files(self, tmp_path: Path) -> None:
        rows = RowShards(mapped(tmp_path, [WHOLE[:4], WHOLE[4:]]), is_mapped=True)
        for file in tmp_path.iterdir():
            file.unlink()
        assert torch.equal(rows[:], WHOLE)


def test_large_zeros_lie_in_a_file_without_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("partcnn.foundation.row_shards._MOST_IN_MEMORY", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    zeros = large_zeros(10, 3, 4)
    assert zeros.shape == (10, 3, 4)
    zeros[3] = 2
    assert float(zeros.sum()) == 24
    assert list(tmp_path.iterdir()) == []
