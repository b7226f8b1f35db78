"""Receptive fields that are remembered: found once, and anew where the network is another one than it was."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from partcnn.networks.probing import field_memory
from partcnn.networks.probing.field_memory import FieldMemory
from partcnn.networks.probing.receptive_field import receptive_field

SIZE = (32, 40)


class Strided(nn.Module):
    """Its stride stands in no `extra_repr`, and in a table."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.settings = {"pool": [2, 2]}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(self.conv(images), self.settings["pool"])


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Strided(), nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2), nn.Dropout())


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The layers whose fields were looked for."""
    found: list[str] = []

    def counted(network: nn.Module, layer: str, input_size: tuple[int, int]) -> object:
        found.append(layer)
        return receptive_field(network, layer, input_size)

    monkeypatch.setattr(field_memory, "receptive_field", counted)
    return found


def trained_a_step(network: nn.Module) -> None:
    network.train()(torch.randn(2, 3, *SIZE)).sum().backward()
    torch.optim.SGD(network.parameters(), 0.1).step()
    network.eval()


def changed_stride(network: nn.Module) -> None:
    network[2].stride = (1, 1)  # type: ignore[index, operator, assignment, union-attr]


def changed_table(network: nn.Module) -> None:
    network[0].settings["pool"][0] = 1  # type: ignore[index, operator, union-attr]


def changed_layer(network: nn.Module) -> None:
    network[2] = nn.Conv2d(4, 4, 5, stride=2)  # type: ignore[index, operator]


def changed_by_a_hook(network: nn.Module) -> None:
    network[1].register_forward_hook(lambda module, inputs, output: F.avg_pool2d(output, 2))  # type: ignore[index, operator, union-attr]


def changed_forward(network: nn.Module) -> None:
    network[1].forward = lambda maps: F.avg_pool2d(maps, 2)  # type: ignore[index, operator, union-attr, method-assign]


def test_a_field_is_found_once_for_each_layer_and_size(network: nn.Module, traced: list[str]) -> None:
    memory = FieldMemory()
    for _ in range(3):
        for layer, size in (("2", SIZE), ("0", SIZE), ("2", (40, 32))):
            assert memory.field(network, layer, size) == receptive_field(network, layer, size)
    assert traced == ["2", "0", "2"]


def test_training_does_not_make_it_look_again(network: nn.Module, traced: list[str]) -> None:
    memory = FieldMemory()
    before = memory.field(network, "2", SIZE)
    trained_a_step(network)
    assert memory.field(network.train(), "2", SIZE) is before
    assert traced == ["2"]


CHANGES = [changed_stride, changed_table, changed_layer, changed_by_a_hook, changed_forward]


@pytest.mark.parametrize("change", CHANGES, ids=[change.__name__ for change in CHANGES])
def test_a_changed_network_is_looked_at_again(network: nn.Module, change: Callable[[nn.Module], None]) -> None:
    memory = FieldMemory()
    before = memory.field(network, "2", SIZE)
    change(network)
    assert memory.field(network, "2", SIZE) == receptive_field(network, "2", SIZE) != before


@pytest.mark.parametrize("anew", [copy.deepcopy, lambda memory: pickle.loads(pickle.dumps(memory))])
def test_a_copy_starts_empty(network: nn.Module, traced: list[str], anew: Callable[[FieldMemory], FieldMemory]) -> None:
    memory = FieldMemory((nn.Dropout,))
    memory.field(network, "2", SIZE)
    anew(memory).field(network, "2", SIZE)
    assert traced == ["2", "2"]


def test_attributes_of_modules_that_move_nothing_do_not_count(network: nn.Module, traced: list[str]) -> None:
    memory = FieldMemory((nn.Dropout,))
    memory.field(network, "2", SIZE)
    network[3].p = 0.1  # type: ignore[index, operator, union-attr, assignment]
    memory.field(network, "2", SIZE)
    assert traced == ["2"]
