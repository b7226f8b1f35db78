"""Losses of small batches: what earlier batches held of a filter's category counts beside what this one holds."""

import copy
import pickle
from collections import deque
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.model.mask import PartMask
from partcnn.objectives import labelled
from partcnn.objectives.category_memory import CategoryMemory, counted_for_all
from partcnn.objectives.equivariance import variance_ratio
from tests.reference import equivariance as twin
from tests.reference import objectives as objectives_twin

float64 = torch.float64
CENTERS = (torch.tensor([0.25, 0.75]), torch.tensor([0.2, 0.5, 0.8]))


def random_maps(num_images: int, num_filters: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(num_images, num_filters, 2, 3, generator=generator, dtype=float64)


@given(
    size=st.integers(1, 5),
    batches=st.lists(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), max_size=4), min_size=1, max_size=6),
)
def test_it_holds_the_newest_values_of_every_filter(size: int, batches: list[list[list[bool]]]) -> None:
    memory, category = CategoryMemory(size), torch.tensor([0, 1, 0])
    kept: list[deque[float]] = [deque(maxlen=size) for _ in range(3)]
    value = 0.0
    for batch in batches:
        values = torch.arange(len(batch) * 3, dtype=float64).reshape(-1, 3, 1) + value + 1
        value += len(batch) * 3
        belongs = torch.tensor(batch, dtype=torch.bool).reshape(-1, 3)
        memory.remember(values, belongs, category)
        for _ in range(2):  # asked twice about one batch, it says the same
            found, is_remembered = memory.recalled(values, category)
            for index in range(3):
                assert found[is_remembered[:, index], index, 0].tolist() == list(kept[index])
                assert (found[~is_remembered[:, index], index] == 0).all()
        for row, belongs_here in zip(values[..., 0].tolist(), batch, strict=True):
            for index in range(3):
                if belongs_here[index]:
                    kept[index].append(row[index])


def test_what_a_filter_saw_of_another_category_is_not_recalled() -> None:
    memory, values, belongs = CategoryMemory(2), [torch.ones(1, 2, 1) for _ in range(3)], torch.ones(1, 2).bool()
    before, after = torch.tensor([0, 1]), torch.tensor([0, 2])
    memory.remember(values[0], belongs, before)
    memory.remember(values[1], belongs, before)
    memory.remember(values[2], belongs, after)
    _, is_remembered = memory.recalled(values[2], after)
    assert is_remembered.sum(dim=0).tolist() == [2, 0]


@pytest.mark.parametrize("changed", [torch.ones(1, 2, 5), torch.ones(1, 3, 4), torch.ones(1, 2, 4).half()], ids=str)
def test_values_of_another_kind_are_forgotten(changed: Tensor) -> None:
    memory = CategoryMemory(2)
    for values in (torch.ones(1, 2, 4), torch.ones(1, 2, 4)):
        memory.remember(values, torch.ones(1, 2, dtype=torch.bool), torch.tensor([0, 1]))
    num_filters = changed.shape[1]
    category, belongs = torch.zeros(num_filters, dtype=torch.long), torch.ones(1, num_filters, dtype=torch.bool)
    for remember in (lambda *_: None, memory.remember):  # not recalled as they are, and gone when others come
        remember(changed, belongs, category)
        found, is_remembered = memory.recalled(changed, category)
        assert not is_remembered.any()
        assert found.shape == (2, *changed.shape[1:])
        assert found.dtype == changed.dtype


def mean_gradient(loss, values: Tensor, num_in_batch: int) -> Tensor:  # type: ignore[no-untyped-def]
    """Of loss(batch, remembered), over all choices of a batch of these values; the others are remembered."""
    total, choices = torch.zeros_like(values), list(combinations(range(len(values)), num_in_batch))
    for chosen in choices:
        others = [index for index in range(len(values)) if index not in chosen]
        batch = values[list(chosen)].clone().requires_grad_()
        total[list(chosen)] += torch.autograd.grad(loss(batch, values[others]).sum(), batch)[0]
    return total / len(choices)


@pytest.mark.parametrize("num_in_batch", [1, 2, 4])
def test_the_variance_between_pictures_has_the_gradient_of_all_of_them(num_in_batch: int) -> None:
    places = random_maps(5, 2, seed=1)[:, :, 0, :2]

    def loss(batch: Tensor, remembered: Tensor) -> Tensor:  # both views alike: nothing varies within a picture
        is_own = (torch.ones(len(one), 2, dtype=torch.bool) for one in (batch, remembered))
        return variance_ratio(batch, batch, next(is_own), remembered, next(is_own))

    whole = places.clone().requires_grad_()
    (expected,) = torch.autograd.grad(variance_ratio(whole, whole, torch.ones(5, 2, dtype=torch.bool)).sum(), whole)
    torch.testing.assert_close(mean_gradient(loss, places, num_in_batch), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("num_in_batch", [1, 3])
def test_labelled_has_the_gradient_of_all_pictures_of_the_category(num_in_batch: int) -> None:
    maps, others = random_maps(4, 2, seed=2), random_maps(3, 2, seed=3)

    def value(own: Tensor, is_own: Tensor) -> Tensor:
        belongs = torch.cat([is_own, torch.zeros(3, 2, dtype=torch.bool)])
        return labelled(torch.cat([own, others]), belongs, tau=2.0).loss

    def loss(batch: Tensor, remembered: Tensor) -> Tensor:
        in_batch, is_remembered = (torch.ones(len(one), 2, dtype=torch.bool) for one in (batch, remembered))
        own = torch.cat([counted_for_all(batch, in_batch, is_remembered), remembered])
        return value(own, torch.cat([in_batch, is_remembered]))

    whole = maps.clone().requires_grad_()
    (expected,) = torch.autograd.grad(value(whole, torch.ones(4, 2, dtype=torch.bool)).sum(), whole)
    torch.testing.assert_close(mean_gradient(loss, maps, num_in_batch), expected, atol=1e-12, rtol=0)


@given(seed=st.integers(0, 1000))
def test_counting_for_all_leaves_values_as_they_are(seed: int) -> None:
    values = random_maps(4, 2, seed).float()
    belongs = torch.rand(4, 2, generator=torch.Generator().manual_seed(seed)) < 0.5
    assert torch.equal(counted_for_all(values, belongs, torch.ones(7, 2, dtype=torch.bool)), values)


def masks(**settings: object) -> PartMask:
    return PartMask(4, 3, background=0, enabled=False, **settings).train().double()  # type: ignore[arg-type]


def twin_of_counted(maps: Tensor, belongs: Tensor, counted: Tensor, tau: float) -> tuple[list[float], Tensor]:
    """The twins' loss and gradient of `labelled`, of each filter on the images that are counted for it."""
    losses, gradient = [], torch.zeros_like(maps)
    for index in range(maps.shape[1]):
        there = counted[:, index]
        arguments = maps[there][:, [index]].numpy(), belongs[there][:, [index]].numpy()
        losses.append(float(objectives_twin.labelled(*arguments, tau=tau)["loss"][0]))
        gradient[there, index] = torch.from_numpy(objectives_twin.labelled_gradient(*arguments, tau=tau))[:, 0]
    return losses, gradient


def test_images_that_are_not_counted_are_nothing_to_labelled() -> None:
    maps = random_maps(6, 3, seed=11).requires_grad_()
    counted = torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0]], dtype=torch.bool)
    belongs = counted & torch.tensor([[1, 0, 1], [1, 1, 0], [1, 1, 1], [0, 1, 1], [1, 1, 1], [0, 0, 1]]).bool()
    found = labelled(maps, belongs, tau=2.0, counted=counted).loss
    losses, gradient = twin_of_counted(maps.detach(), belongs, counted, 2.0)
    torch.testing.assert_close(found, torch.tensor(losses, dtype=float64), atol=1e-10, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(found.sum(), maps)[0], gradient, atol=1e-10, rtol=0)
    with pytest.raises(ShapeError, match="counted: expected the shape of belongs"):
        labelled(maps, belongs, tau=2.0, counted=counted[:2])


def test_a_masks_loss_counts_the_batches_before_once_and_no_empty_slot() -> None:
    mask = masks(objective="labelled", memory=3)
    earlier: list[list[Tensor]] = [[] for _ in range(4)]
    for seed, labels in enumerate([torch.tensor([0, 1, 2, 1]), torch.tensor([2, 0, 1, 2]), torch.tensor([0, 0, 0, 2])]):
        maps = random_maps(4, 4, seed)
        mask(maps)
        own = labels[:, None] == mask.filter_category
        before = torch.zeros(3, 4, 2, 3, dtype=float64)
        is_there = torch.zeros(3, 4, dtype=torch.bool)
        for index, values in enumerate(earlier):
            for slot, value in enumerate(values):
                before[slot, index], is_there[slot, index] = value, True
        everything = torch.cat([maps, before])
        belongs, counted = torch.cat([own, is_there]), torch.cat([torch.ones_like(own), is_there])
        for _ in range(2):  # asked twice about one batch, it does not count it twice
            found = mask.filter_objective(labels).loss
            tau = float(mask.fitness_scale / 6 / mask.mean_peak)
            losses, _ = twin_of_counted(everything, belongs, counted, tau)
            torch.testing.assert_close(found, torch.tensor(losses, dtype=float64), atol=1e-10, rtol=0)
        for index in range(4):
            earlier[index] = [*earlier[index], *maps[own[:, index], index]][-3:]


def test_a_masks_equivariance_agrees_with_its_twin_over_both_batches() -> None:
    mask = masks(memory=4)
    frames = torch.rand(2, 8, 2, 3, generator=torch.Generator().manual_seed(6), dtype=float64)
    batches = [random_maps(8, 4, seed) for seed in (7, 8)]
    labels = [torch.tensor([0, 1, 2, 1] * 2), torch.tensor([2, 0, 0, 2] * 2)]
    mask.mean_peak.fill_(0.8)
    for maps, of_maps, of_views in zip(batches, labels, frames, strict=True):
        mask(maps)
        first, found = (mask.equivariance(of_maps, of_views, CENTERS) for _ in range(2))
        assert torch.equal(first, found)  # asked twice about one batch, it does not count it twice
    expected = twin.equivariance(
        batches[1].tolist(),
        (labels[1][:, None] == mask.filter_category).tolist(),
        frames[1].tolist(),
        [center.to(float64).tolist() for center in CENTERS],
        mask.fitness_scale / 6 / 0.8,
        4.0,
        remembered=(
            batches[0].tolist(),
            (labels[0][:, None] == mask.filter_category).tolist(),
            frames[0].tolist(),
        ),
    )
    torch.testing.assert_close(found, torch.tensor(expected, dtype=float64), atol=1e-10, rtol=0)
    assert expected[0] == 0 != expected[1]  # of class 1, which the second batch lacks, though it is remembered


@pytest.mark.parametrize(
    ("settings", "is_training"),
    [
        ({"objective": "labelled"}, False),
        ({"objective": "exact"}, True),
        ({"objective": "assigned"}, True),
        ({"objective": "official"}, True),
    ],
    ids=["evaluation", "exact", "assigned", "official"],
)
def test_elsewhere_memory_changes_nothing(settings: dict[str, str], is_training: bool) -> None:
    with_memory, without = (masks(memory=memory, **settings).train(is_training) for memory in (8, 0))
    for seed in range(3):
        maps, labels = random_maps(4, 4, seed), torch.tensor([0, 1, 2, 1])
        losses = []
        for mask in (with_memory, without):
            mask(maps)
            losses.append(mask.filter_objective(labels).loss)
        assert torch.equal(*losses)


def test_one_category_alone_needs_no_memory() -> None:
    losses = []
    for memory in (8, 0):
        mask = PartMask(2, 2, background=0, enabled=False, memory=memory).train().double()
        for seed in range(2):
            mask(random_maps(4, 2, seed))
            loss = mask.filter_objective(torch.tensor([0, 1, 1, 0])).loss
        losses.append(loss)
    assert torch.equal(*losses)


def of_two_batches(mask: PartMask, seed: int) -> Tensor:
    for one in (seed, seed + 1):
        mask(random_maps(4, 4, one))
        loss = mask.filter_objective(torch.tensor([0, 1, 2, 1])).loss
    return loss


@pytest.mark.parametrize("anew", [copy.deepcopy, lambda mask: pickle.loads(pickle.dumps(mask)), None])
def test_memory_is_no_part_of_the_state_nor_of_a_copy_and_can_be_forgotten(anew) -> None:  # type: ignore[no-untyped-def]
    mask, fresh = masks(memory=4), masks(memory=4)
    of_two_batches(mask, 9)
    assert mask.state_dict().keys() == fresh.state_dict().keys()
    fresh.load_state_dict(mask.state_dict())
    if anew is None:
        mask.forget()
    else:
        remembering, mask = mask, anew(mask)
        maps, labels = random_maps(4, 4, 20), torch.tensor([0, 1, 2, 1])
        remembering(maps)
        mask(maps)
        assert not torch.equal(remembering.filter_objective(labels).loss, mask.filter_objective(labels).loss)
        mask = anew(remembering)
        fresh.load_state_dict(remembering.state_dict())
    assert torch.equal(of_two_batches(mask, 30), of_two_batches(fresh, 30))


def test_no_images_give_0_also_where_something_is_remembered() -> None:
    mask = masks(memory=4)
    of_two_batches(mask, 12)
    mask(random_maps(0, 4, 1))
    none = torch.zeros(0, dtype=torch.long)
    assert mask.filter_objective(none).loss.tolist() == [0, 0, 0, 0]
    assert mask.equivariance(none, torch.zeros(0, 2, 3), CENTERS).tolist() == [0, 0, 0, 0]


def test_a_memory_of_fewer_than_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="memory: expected at least 0 maps, got -1"):
        PartMask(2, 2, memory=-1)
