"""The number of threads of a training loop: measured, told, left to OMP_NUM_THREADS, and undone."""

import logging
from collections.abc import Iterator

import pytest
import torch

from partcnn.training import threads
from partcnn.training.threads import fitting_threads, seconds_with

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _two_threads_and_nothing_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "usable_processors", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    threads._chosen.cache_clear()
    yield
    threads._chosen.cache_clear()
    torch.set_num_threads(before)


class Clock:
    """Each step takes what its number of threads costs."""

    def __init__(self, costs: dict[int, float]) -> None:
        self.costs, self.now = costs, 0.0

    def __call__(self) -> float:
        return self.now

    def step(self) -> None:
        self.now += self.costs[torch.get_num_threads()]


def test_every_number_is_timed_with_itself_and_the_number_before_stays() -> None:
    clock = Clock({1: 0.2, 2: 3.0})
    assert seconds_with([1, 2], clock.step, clock) == pytest.approx({1: 0.2, 2: 3.0})
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("costs", "taken"), [({1: 0.2, 2: 3.0}, 1), ({1: 0.9, 2: 0.5}, 2)])
def test_the_faster_number_is_taken_told_and_undone(
    costs: dict[int, float], taken: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "seconds_with", lambda numbers: {number: costs[number] for number in numbers})
    caplog.set_level(logging.INFO, "partcnn")
    with fitting_threads(CPU):
        assert torch.get_num_threads() == taken
    assert torch.get_num_threads() == 2
    assert f"threads: {taken}" in caplog.text
    assert "OMP_NUM_THREADS" in caplog.text


def test_an_error_undoes_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "seconds_with", lambda numbers: {1: 1.0, 2: 2.0})
    with pytest.raises(KeyError), fitting_threads(CPU):
        raise KeyError
    assert torch.get_num_threads() == 2


def test_it_is_measured_once_so_that_a_second_training_has_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{1: 1.0, 2: 2.0}, {1: 2.0, 2: 1.0}])
    monkeypatch.setattr(threads, "seconds_with", lambda numbers: next(answers))
    found = []
    for _ in range(2):
        with fitting_threads(CPU):
            found.append(torch.get_num_threads())
    assert found == [1, 1]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_what_the_environment_asks_for_is_left(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "2")
    monkeypatch.setattr(threads, "seconds_with", lambda numbers: pytest.fail("timed"))
    with fitting_threads(CPU):
        assert torch.get_num_threads() == 2


def test_another_device_is_left() -> None:
    with fitting_threads(torch.device("meta")):
        assert threads._chosen.cache_info().currsize == 0


def test_one_processor_needs_no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_processors", lambda: 1)
    monkeypatch.setattr(threads, "seconds_with", lambda numbers: pytest.fail("timed"))
    with fitting_threads(CPU):
        assert torch.get_num_threads() == 1


def test_timing_draws_no_random_number_and_leaves_no_gradient() -> None:
    before = torch.get_rng_state()
    with fitting_threads(CPU):
        pass
    assert torch.equal(torch.get_rng_state(), before)
