"""What holds for any batch: bounds, symmetries, scale."""

import math

import hypothesis.extra.numpy as arrays
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from partcnn.objectives import OBJECTIVES, labelled, mutual_information, template_fitness
from partcnn.objectives.templates import map_peaks, part_mask, template_bank

Batch = tuple[torch.Tensor, torch.Tensor]
examples = settings(max_examples=30, deadline=None, derandomize=True)
# `official` is left out where the order of images or filters matters: its Z pairs each map with another's template
per_filter = pytest.mark.parametrize("objective", ["exact", "labelled", "assigned"])
every_objective = pytest.mark.parametrize("objective", OBJECTIVES)
activations = st.floats(0, 16, allow_subnormal=False).map(lambda v: round(v * 64) / 64)  # exact under scaling by 2^k


@st.composite
def batches(draw: st.DrawFn, min_images: int = 1, max_images: int = 5) -> Batch:
    num_images, num_filters = draw(st.integers(min_images, max_images)), draw(st.integers(1, 3))
    shape = (num_images, num_filters, draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    maps = draw(arrays.arrays("float64", shape, elements=activations))
    belongs = draw(arrays.arrays("bool", shape[:2]))
    return torch.from_numpy(maps), torch.from_numpy(belongs)


def assert_equal_to_rounding(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=1e-9)


@examples
@given(batches(), st.sampled_from([0.01, 0.3, 1.0]), st.sampled_from([None, 0.0, 0.5, 1.0]))
def test_information_lies_between_zero_and_what_templates_and_images_can_tell(
    batch: Batch, tau: float, alpha: float | None
) -> None:
    maps, _ = batch
    value = mutual_information(maps, tau=tau, alpha=alpha)
    information = -value.loss
    assert (information >= -1e-9).all()
    assert (information <= value.prior_entropy.clamp(max=math.log(len(maps))) + 1e-9).all()


@examples
@given(batches())
def test_the_entropies_are_within_their_bounds(batch: Batch) -> None:
    maps, _ = batch
    value = mutual_information(maps, tau=0.3)
    num_cells = maps.shape[2] * maps.shape[3]
    assert (value.inter_category_entropy >= -1e-9).all()
    assert (value.inter_category_entropy <= math.log(2) + 1e-9).all()
    assert (value.spatial_entropy >= -1e-9).all()
    assert (value.spatial_entropy <= num_cells / (1 + num_cells) * math.log(num_cells) + 1e-9).all()


@examples
@given(batches())
def test_the_labelled_place_lies_between_nothing_and_what_cells_and_images_can_tell(batch: Batch) -> None:
    maps, belongs = batch
    terms = labelled(maps, belongs, tau=0.3).terms
    information = terms["prior_entropy"] - terms["spatial_entropy"]
    assert (information >= -1e-9).all()
    assert (information <= terms["prior_entropy"] + 1e-9).all()
    assert (information <= belongs.sum(0).clamp(min=1).log() + 1e-9).all()
    assert (terms["inter_category_entropy"] >= 0).all()


@examples
@given(batches(max_images=1))
def test_one_image_carries_no_information(batch: Batch) -> None:
    maps, _ = batch
    loss = mutual_information(maps.requires_grad_(), tau=1.0).loss
    (gradient,) = torch.autograd.grad(loss.sum(), maps)
    assert_equal_to_rounding(loss.detach(), torch.zeros_like(loss))
    assert_equal_to_rounding(gradient, torch.zeros_like(gradient))


@per_filter
@examples
@given(data=st.data())
def test_the_order_of_the_images_does_not_matter(objective: str, data: st.DataObject) -> None:
    maps, belongs = data.draw(batches())
    order = data.draw(st.permutations(range(len(maps))))
    loss = OBJECTIVES[objective](maps, belongs, tau=0.3).loss
    assert_equal_to_rounding(OBJECTIVES[objective](maps[order], belongs[order], tau=0.3).loss, loss)


@per_filter
@examples
@given(data=st.data())
def test_the_order_of_the_filters_orders_the_losses(objective: str, data: st.DataObject) -> None:
    maps, belongs = data.draw(batches())
    order = data.draw(st.permutations(range(maps.shape[1])))
    loss = OBJECTIVES[objective](maps, belongs, tau=0.3).loss
    assert_equal_to_rounding(OBJECTIVES[objective](maps[:, order], belongs[:, order], tau=0.3).loss, loss[order])


@per_filter
@examples
@given(batch=batches())
def test_a_filter_alone_has_the_loss_it_has_among_others(objective: str, batch: Batch) -> None:
    maps, belongs = batch
    loss = OBJECTIVES[objective](maps, belongs, tau=0.3).loss
    assert_equal_to_rounding(OBJECTIVES[objective](maps[:, :1], belongs[:, :1], tau=0.3).loss, loss[:1])


@per_filter
@examples
@given(batch=batches(), times=st.integers(2, 3))
def test_seeing_every_image_again_changes_nothing(objective: str, batch: Batch, times: int) -> None:
    maps, belongs = batch
    loss = OBJECTIVES[objective](maps, belongs, tau=0.3).loss
    repeated = OBJECTIVES[objective](maps.repeat(times, 1, 1, 1), belongs.repeat(times, 1), tau=0.3).loss
    assert_equal_to_rounding(repeated, loss)


@pytest.mark.parametrize("turn", [lambda x: x.flip(2), lambda x: x.flip(3), lambda x: x.mT], ids=["rows", "cols", "T"])
@pytest.mark.parametrize("objective", ["exact", "labelled"])
@examples
@given(batch=batches())
def test_mirrored_maps_tell_as_much(objective: str, turn: object, batch: Batch) -> None:
    maps, belongs = batch
    loss = OBJECTIVES[objective](maps, belongs, tau=0.3).loss
    assert_equal_to_rounding(OBJECTIVES[objective](turn(maps), belongs, tau=0.3).loss, loss)


@every_objective
@examples
@given(batch=batches(), factor=st.sampled_from([0.25, 0.5, 2.0]))
def test_scaling_the_maps_is_scaling_tau(objective: str, batch: Batch, factor: float) -> None:
    maps, belongs = batch
    louder = OBJECTIVES[objective](factor * maps, belongs, tau=0.5)
    taller = OBJECTIVES[objective](maps, belongs, tau=0.5 * factor)
    assert_equal_to_rounding(louder.loss, taller.loss)


@examples
@given(batches(), batches())
def test_fitness_is_linear_in_the_maps(batch: Batch, other: Batch) -> None:
    maps = batch[0]
    second = maps.flip(0).roll(1, dims=3) * float(other[0].mean())
    total = template_fitness(2 * maps + second, tau=0.7)
    assert_equal_to_rounding(total, 2 * template_fitness(maps, tau=0.7) + template_fitness(second, tau=0.7))


@examples
@given(batches(), st.sampled_from([0.5, 2.0, 4.0, 9.0]))
def test_the_mask_lies_between_nothing_and_the_map(batch: Batch, beta: float) -> None:
    maps, _ = batch
    masked = part_mask(maps, beta=beta)
    assert (masked >= 0).all()
    assert (masked <= maps).all()


@examples
@given(batches())
def test_the_mask_leaves_the_peak_in_its_place_and_at_its_height(batch: Batch) -> None:
    maps, _ = batch
    masked = part_mask(maps)
    assert torch.equal(masked.amax((2, 3)), maps.amax((2, 3)))
    assert torch.equal(map_peaks(masked), map_peaks(maps))


@examples
@given(batches(), st.sampled_from([0.25, 4.0]))
def test_louder_maps_have_louder_masked_maps(batch: Batch, factor: float) -> None:
    maps, _ = batch
    assert_equal_to_rounding(part_mask(factor * maps), factor * part_mask(maps))


@examples
@given(st.integers(1, 5), st.integers(1, 5), st.sampled_from(["l1", "l2"]), st.data())
def test_a_shifted_peak_shifts_its_template(height: int, width: int, norm: str, data: st.DataObject) -> None:
    bank = template_bank((height, width), tau=1.0, norm=norm)[1:].reshape(height, width, height, width)
    row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    down, right = data.draw(st.integers(0, height - 1 - row)), data.draw(st.integers(0, width - 1 - col))
    shifted = bank[row + down, col + right, down:, right:]
    assert torch.equal(shifted, bank[row, col, : height - down, : width - right])


@examples
@given(arrays.arrays("float64", (3, 3), elements=activations), st.integers(0, 4), st.integers(0, 2))
def test_a_shifted_map_has_its_masked_map_shifted(content: object, down: int, right: int) -> None:
    first = torch.zeros(1, 1, 7, 5, dtype=torch.float64)
    first[0, 0, :3, :3] = torch.as_tensor(content)
    second = first.roll((down, right), dims=(2, 3))  # the content stays within the frame
    if first.any():
        assert_equal_to_rounding(part_mask(second), part_mask(first).roll((down, right), dims=(2, 3)))
