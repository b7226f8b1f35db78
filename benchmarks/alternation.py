"""Tasks timed in turns in one process: what else the machine does troubles them alike, and their ratio stands."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch


class Timings(NamedTuple):
    """Seconds of each round, by task: of the processor (all threads together), and of the clock on the wall."""

    processor: dict[str, list[float]]
    wall: dict[str, list[float]]

    def median_s(self, task: str) -> float:
        """Of the processor's seconds; on another device than a CPU, of the wall's."""
        return statistics.median(self._seconds[task])

    def ratio(self, task: str, to: str) -> float:
        """Median over rounds of the ratio within a round."""
        return statistics.median(self.ratios(task, to))

    def ratios(self, task: str, to: str) -> list[float]:
        """One for each round, from small to large."""
        return sorted(a / b for a, b in zip(self._seconds[task], self._seconds[to], strict=True))

    @property
    def _seconds(self) -> dict[str, list[float]]:
        return self.wall if torch.cuda.is_available() else self.processor


def alternate(tasks: Mapping[str, Callable[[], Any]], repeats: int) -> Timings:
    """Each task once unmeasured, then `repeats` rounds of all of them, every second round in the other order."""
    for task in tasks.values():
        task()
    timings = Timings({name: [] for name in tasks}, {name: [] for name in tasks})
    for repeat in range(repeats):
        for name in list(tasks) if repeat % 2 == 0 else reversed(tasks):
            began = time.process_time(), time.perf_counter()
            tasks[name]()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            timings.processor[name].append(time.process_time() - began[0])
            timings.wall[name].append(time.perf_counter() - began[1])
        print(repeat, {name: f"{seconds[-1]:.3g}" for name, seconds in timings.processor.items()}, flush=True)
    return timings


def peak_rss_bytes() -> int:
    """The most memory that this process has held; on Linux, since getrusage there tells of its parent too."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
