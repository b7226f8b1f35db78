"""How many processors this process may really use: those of the machine are often shared out."""

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def usable_processors(cgroups: Path = _CGROUPS, own_group: Path = _OWN_GROUP) -> int:
    """At least 1, at most those that the scheduler gives this process; fewer where a container has a quota.

    Args:
        cgroups: where the control groups' files are.
        own_group: says in which groups this process is.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = processor_quota(cgroups, own_group)
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def processor_quota(cgroups: Path = _CGROUPS, own_group: Path = _OWN_GROUP) -> float | None:
    """Processors' time per time that control groups allow, the least of this group and those around it; None: all."""
    found = [
        quota
        for folder in _folders(cgroups, own_group)
        for quota in (_quota_v2(folder), _quota_v1(folder))
        if quota is not None
    ]
    return min(found, default=None)


def _folders(cgroups: Path, own_group: Path) -> list[Path]:
    """Of the groups that this process is in, of both versions, up to the root; a container's root is its own group."""
    folders = [cgroups, cgroups / "cpu"]
    for line in (_text(own_group) or "").splitlines():
        _, _, entry = line.partition(":")
        controllers, _, group = entry.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = cgroups / "cpu" if controllers else cgroups
        inner = root / group.strip().lstrip("/")
        folders += [folder for folder in (inner, *inner.parents) if folder.is_relative_to(root)]
    return list(dict.fromkeys(folders))


def _quota_v2(folder: Path) -> float | None:
    """cpu.max holds "quota period" in microseconds, or "max period"."""
    quota, _, period = (_text(folder / "cpu.max") or "").partition(" ")
    return _share(quota, period)


def _quota_v1(folder: Path) -> float | None:
    """A quota of −1 is none."""
    return _share(_text(folder / "cpu.cfs_quota_us") or "", _text(folder / "cpu.cfs_period_us") or "")


def _share(quota: str, period: str) -> float | None:
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # no such file, or no limit
        return None
    return share if share > 0 else None


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
