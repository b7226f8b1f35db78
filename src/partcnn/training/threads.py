"""How many threads a training loop of small operations takes on the processor.

torch takes a thread for each core. Those of a small operation spin while they wait for each other: on two cores that
other work had too, 40 steps on a frozen trunk's maps took 8 s with one thread and 119 s with two; on two idle cores 36
and 21 s.
So a few steps of that kind are timed with one thread and with as many as there are processors, and the faster is taken,
once in a process.

The number of threads changes in which order numbers are added up, so the last bits of the weights: the same seed gives
the same weights bit by bit for the same number. OMP_NUM_THREADS fixes it.
"""

import functools
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch.nn import functional as F

from partcnn.foundation.processors import usable_processors

_log = logging.getLogger("partcnn")
_ASKED_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_ROUNDS = 5
_MAPS = (32, 64, 14, 14)  # of a batch on which the loop is timed


@contextmanager
def fitting_threads(device: torch.device, number: int | None = None) -> Iterator[None]:
    """Within it torch computes with the number of threads that suits training; afterwards with as many as before.

    Nothing is changed on another device than the CPU, or where the environment says how many.

    Args:
        device: that trains.
        number: of threads, where a training goes on that had so many. None: the faster is found.
    """
    if device.type != "cpu" or any(os.environ.get(name) for name in _ASKED_BY):
        yield
        return
    before = torch.get_num_threads()
    number = number or _chosen(min(before, usable_processors()))
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache  # measured again, it might differ, and with it the last bits of a second training's weights
def _chosen(most: int) -> int:
    if most == 1:
        _log.info("threads: 1, no more are to be had")
        return 1
    seconds = seconds_with([1, most])
    number = min(seconds, key=lambda threads: seconds[threads])
    timed = ", ".join(f"{1000 * value:.0f} ms with {threads}" for threads, value in seconds.items())
    _log.info("threads: %d (a step took %s; OMP_NUM_THREADS fixes the number)", number, timed)
    return number


def seconds_with(
    numbers: Sequence[int],
    step: Callable[[], object] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Seconds on the wall's clock of a step with each number of threads, timed in turns; the median of 5 rounds.

    Args:
        numbers: of threads.
        step: what is timed; None takes forward and backward of a layer like those that are trained.
        clock: in seconds.
    """
    step = step or _small_step()
    before = torch.get_num_threads()
    found: dict[int, list[float]] = {number: [] for number in numbers}
    try:
        for is_counted in [False] + [True] * _ROUNDS:  # the first round starts the threads
            for number in numbers:
                torch.set_num_threads(number)
                began = clock()
                step()
                if is_counted:
                    found[number].append(clock() - began)
    finally:
        torch.set_num_threads(before)
    return {number: statistics.median(seconds) for number, seconds in found.items()}


def _small_step() -> Callable[[], object]:
    """A convolution and what a filter loss does to its maps, forward and backward. No random number is drawn."""
    maps = torch.linspace(-1, 1, _MAPS[0] * _MAPS[1] * _MAPS[2] * _MAPS[3]).reshape(_MAPS)
    weight = torch.linspace(-0.1, 0.1, 32 * _MAPS[1] * 9).reshape(32, _MAPS[1], 3, 3).requires_grad_()

    def step() -> object:
        made = F.conv2d(maps, weight, padding=1).relu()
        loss = made.flatten(2).log_softmax(dim=2).exp().square().sum() + made.mean()
        return torch.autograd.grad(loss, weight)

    return step
