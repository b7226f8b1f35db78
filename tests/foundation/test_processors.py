"""Processors that a container may use, read from the files of both versions of control groups."""

import os
from pathlib import Path

import pytest

from partcnn.foundation.processors import processor_quota, usable_processors


def written(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "cgroup", root / "self"


V1 = "cgroup/cpu/"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"cgroup/cpu.max": "max 100000\n"}, None),
        ({"cgroup/cpu.max": "150000 100000\n"}, 1.5),
        ({"self": "0::/a/b\n", "cgroup/a/cpu.max": "200000 100000", "cgroup/a/b/cpu.max": "max 100000"}, 2.0),
        ({"self": "0::/a/b\n", "cgroup/a/cpu.max": "200000 100000", "cgroup/a/b/cpu.max": "50000 100000"}, 0.5),
        ({V1 + "cpu.cfs_quota_us": "-1\n", V1 + "cpu.cfs_period_us": "100000\n"}, None),
        ({V1 + "cpu.cfs_quota_us": "300000\n", V1 + "cpu.cfs_period_us": "100000\n"}, 3.0),
        (
            {
                "self": "4:memory:/x\n3:cpu,cpuacct:/box\n",
                V1 + "box/cpu.cfs_quota_us": "100000",
                V1 + "box/cpu.cfs_period_us": "100000",
            },
            1.0,
        ),
        ({"cgroup/cpu.max": "nonsense"}, None),
        ({"cgroup/cpu.max": "5 0"}, None),
    ],
)
def test_the_least_quota_around_a_process_counts(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    assert processor_quota(*written(tmp_path, files)) == quota


@pytest.mark.parametrize(("quota", "expected"), [("50000", 1), ("150000", 2), ("900000", 4), ("max", 4)])
def test_a_quota_is_rounded_up_and_the_scheduler_has_the_last_word(
    quota: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    assert usable_processors(*written(tmp_path, {"cgroup/cpu.max": f"{quota} 100000"})) == expected


def test_without_affinity_all_processors_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_processors(*written(tmp_path, {})) == 3
