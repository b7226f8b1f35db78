"""Terms of filters that compete for cells: against their twins, their gradients, bounds and invariances."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from partcnn.foundation.errors import ShapeError
from partcnn.objectives import competing
from tests.reference import competing as twin

float64 = torch.float64
WHOLE = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
PROTOTYPES = torch.randn(8, 5, generator=torch.Generator().manual_seed(7), dtype=float64)


def even_centers(height: int, width: int) -> tuple[Tensor, Tensor]:
    return (torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=float64)


def drawn_frames(num: int, seed: int = 0) -> Tensor:
    return torch.rand(num, 2, 3, generator=torch.Generator().manual_seed(seed), dtype=float64)


def drawn_object(scores: Tensor) -> Tensor:
    return drawn(len(scores), *scores.shape[2:], seed=3).sigmoid().to(scores)


def drawn_features(scores: Tensor) -> Tensor:
    return drawn(len(scores), 5, *scores.shape[2:], seed=4).to(scores)


# Every term of scores [image, K + 1, row, col] whose other arguments are drawn.


def rest(scores: Tensor) -> Tensor:
    return competing.rest_loss(scores.log_softmax(dim=1))


def object_map(scores: Tensor) -> Tensor:
    return competing.object_loss(scores.log_softmax(dim=1), drawn_object(scores))


def use_in_batch(scores: Tensor) -> Tensor:
    return competing.use_losses(scores.softmax(dim=1)[:, :-1])[0]


def use_in_picture(scores: Tensor) -> Tensor:
    return competing.use_losses(scores.softmax(dim=1)[:, :-1])[1]


def certainty(scores: Tensor) -> Tensor:
    return competing.certainty_loss(*competing.shares_of_cells(scores))


def presence(scores: Tensor) -> Tensor:
    return competing.presence_loss(scores.softmax(dim=1)[:, :-1])


def compactness(scores: Tensor) -> Tensor:
    return competing.compactness_loss(scores.softmax(dim=1)[:, :-1], even_centers(*scores.shape[2:]))


def steadiness(scores: Tensor) -> Tensor:
    return competing.steadiness_loss(
        scores.softmax(dim=1)[:, :-1], drawn_frames(len(scores)), even_centers(*scores.shape[2:])
    )


def identity(scores: Tensor) -> Tensor:
    found = competing.mean_features(scores.softmax(dim=1)[:, :-1], drawn_features(scores))
    return competing.identity_loss(found, PROTOTYPES[: scores.shape[1] - 1].to(scores))


TERMS: list[Callable[[Tensor], Tensor]] = [
    rest,
    object_map,
    use_in_batch,
    use_in_picture,
    certainty,
    presence,
    compactness,
    steadiness,
    identity,
]


def by_twin(term: Callable[[Tensor], Tensor], scores: Tensor) -> float:
    """The same term in Python floats."""
    shares = twin.shares_of_cells(scores.tolist())
    of_filters = [image[:-1] for image in shares]
    centers = [center.to(float64).tolist() for center in even_centers(*scores.shape[2:])]
    if term is rest:
        return twin.rest_loss(shares)
    if term is object_map:
        return twin.object_loss(shares, drawn_object(scores).tolist())
    if term is certainty:
        return twin.certainty_loss(shares)
    if term is compactness:
        return twin.compactness_loss(of_filters, centers)
    if term is steadiness:
        return twin.steadiness_loss(of_filters, drawn_frames(len(scores)).tolist(), centers)
    if term is identity:
        features = drawn_features(scores).tolist()
        found = [
            [twin.mean_feature(feature_map, z) for feature_map in image]
            for image, z in zip(of_filters, features, strict=True)
        ]
        return twin.identity_loss(found, PROTOTYPES[: scores.shape[1] - 1].tolist())
    of_shares = {
        use_in_batch: twin.use_in_batch,
        use_in_picture: twin.use_in_picture,
        presence: twin.presence_loss,
    }
    return of_shares[term](of_filters)


every_term = pytest.mark.parametrize("term", TERMS, ids=lambda term: term.__name__)
sizes = st.tuples(st.sampled_from([2, 4]), st.integers(2, 5), st.integers(1, 5), st.integers(1, 5))


@every_term
@given(size=sizes, seed=st.integers(0, 2**31), sharpness=st.sampled_from([0.0, 1.0, 8.0]))
def test_a_term_agrees_with_its_twin(
    term: Callable[[Tensor], Tensor], size: tuple[int, int, int, int], seed: int, sharpness: float
) -> None:
    scores = sharpness * drawn(*size, seed=seed)
    assert term(scores).item() == pytest.approx(by_twin(term, scores), abs=1e-9)


def test_shares_are_those_of_the_twin_and_their_logs_are_logs() -> None:
    scores = 3 * drawn(2, 4, 3, 2)
    shares, log_shares = competing.shares_of_cells(scores)
    torch.testing.assert_close(shares, torch.tensor(twin.shares_of_cells(scores.tolist()), dtype=float64))
    torch.testing.assert_close(log_shares.exp(), shares)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 3, 2, dtype=float64))


def test_maps_per_unit_mass_sum_to_1_and_to_less_where_nearly_nothing_is_held() -> None:
    shares = torch.full((1, 3, 2, 2), 0.25, dtype=float64)
    shares[0, 1], shares[0, 2] = 1e-6, 0
    sums = competing.per_unit_mass(shares).sum(dim=(2, 3))
    torch.testing.assert_close(sums, torch.tensor([[1, 0.04, 0]], dtype=float64))
    expected = [twin.per_unit_mass(feature_map) for feature_map in shares[0].tolist()]
    torch.testing.assert_close(competing.per_unit_mass(shares)[0], torch.tensor(expected, dtype=float64))


# --- gradients


@every_term
def test_the_gradient_is_that_of_the_value(term: Callable[[Tensor], Tensor]) -> None:
    scores = drawn(4, 4, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(term, (scores,), fast_mode=False)


@pytest.mark.parametrize("wanted", [0.0, 0.5, 1.0])
def test_the_object_loss_pulls_the_share_of_the_filters_to_the_map(wanted: float) -> None:
    scores = torch.zeros(1, 4, 1, 1, dtype=float64, requires_grad=True)  # the filters hold 3/4
    competing.object_loss(scores.log_softmax(dim=1), torch.full((1, 1, 1), wanted)).backward()
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad[0, 3, 0, 0].item(), 0.25 - (1 - wanted))


def without_mass(dtype: torch.dtype, height: float) -> Tensor:
    """One filter nowhere, one at a cell alone, the rest all over: shares of exactly 0 and 1."""
    scores = torch.zeros(2, 4, 3, 3, dtype=dtype)
    scores[:, 0] = -height
    scores[:, 3] = height
    scores[:, 1, 1, 1] = 2 * height
    return scores


def of_the_rest_alone(dtype: torch.dtype, height: float) -> Tensor:
    scores = torch.zeros(2, 4, 3, 3, dtype=dtype)
    scores[:, 3] = height
    return scores


def of_a_filter_alone(dtype: torch.dtype, height: float) -> Tensor:
    scores = torch.zeros(2, 4, 3, 3, dtype=dtype)
    scores[:, 0] = height
    return scores


@every_term
@pytest.mark.parametrize("height", [88.0, 104.0, 1000.0, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, float64], ids=str)
@pytest.mark.parametrize("extreme", [without_mass, of_the_rest_alone, of_a_filter_alone])
def test_value_and_gradient_are_finite_at_the_extremes(
    term: Callable[[Tensor], Tensor],
    extreme: Callable[[torch.dtype, float], Tensor],
    dtype: torch.dtype,
    height: float,
) -> None:
    scores = extreme(dtype, height).requires_grad_()
    value = term(scores)
    (gradient,) = torch.autograd.grad(value, scores)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_shares_of_exactly_0_have_finite_gradients_of_their_own() -> None:
    """Not only through the softmax, whose factor of 0 would make nan of an infinite one."""
    shares = torch.zeros(2, 3, 3, 3, requires_grad=True)
    frames, centers = torch.tensor([WHOLE, WHOLE]), even_centers(3, 3)
    total = (
        sum(competing.use_losses(shares))
        + competing.presence_loss(shares)
        + competing.compactness_loss(shares, centers)
        + competing.steadiness_loss(shares, frames, centers)
        + competing.mean_features(shares, torch.rand(2, 5, 3, 3)).sum()
    )
    (gradient,) = torch.autograd.grad(total, shares)
    assert total.isfinite()
    assert gradient.isfinite().all()


@every_term
def test_no_image_is_0_with_a_graph(term: Callable[[Tensor], Tensor]) -> None:
    scores = torch.zeros(0, 4, 3, 3, requires_grad=True)
    value = term(scores)
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value, scores)
    assert gradient.shape == scores.shape


@every_term
def test_one_picture_is_finite(term: Callable[[Tensor], Tensor]) -> None:
    scores = drawn(2 if term is steadiness else 1, 4, 3, 3).requires_grad_()
    value = term(scores)
    (gradient,) = torch.autograd.grad(value, scores)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("term", [use_in_batch, use_in_picture, identity], ids=lambda term: term.__name__)
def test_a_filter_without_a_rival_is_used_and_known(term: Callable[[Tensor], Tensor]) -> None:
    scores = drawn(2, 2, 3, 3).requires_grad_()
    value = term(scores)
    (gradient,) = torch.autograd.grad(value, scores)
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-12


# --- bounds


@given(size=sizes, seed=st.integers(0, 2**31), sharpness=st.floats(0, 300))
def test_terms_lie_within_their_bounds(size: tuple[int, int, int, int], seed: int, sharpness: float) -> None:
    scores = sharpness * drawn(*size, seed=seed)
    num_filters = size[1] - 1
    slack = 1e-9
    for use in (use_in_batch, use_in_picture):
        assert -slack <= use(scores).item() <= math.log(num_filters) + slack
    assert use_in_batch(scores) <= use_in_picture(scores) + math.log(num_filters)
    assert -slack <= certainty(scores).item() <= math.log(num_filters + 1) + slack
    assert 0 <= presence(scores).item() <= math.log(50) + slack
    assert 0 <= compactness(scores).item() <= 10 * 2 * 0.25 + slack  # half of the cells in each of two corners
    assert rest(scores).item() >= -slack
    assert object_map(scores).item() >= -slack
    assert -slack <= identity(scores).item() <= 20 + math.log(num_filters) + slack


def at_cells(points: list[tuple[int, int]], size: int = 4) -> Tensor:
    """One image, one filter a point, each holding that cell alone: [1, filter, size, size]."""
    shares = torch.zeros(1, len(points), size, size, dtype=float64)
    for index, (row, col) in enumerate(points):
        shares[0, index, row, col] = 1
    return shares


def test_a_filter_at_one_cell_is_compact_there_and_sure() -> None:
    shares = at_cells([(0, 0), (3, 1), (2, 2)])
    assert competing.compactness_loss(shares, even_centers(4, 4)).item() == pytest.approx(0, abs=1e-12)
    assert competing.presence_loss(shares).item() == 0
    assert [use.item() for use in competing.use_losses(shares)] == pytest.approx([0, 0], abs=1e-12)


def test_two_far_cells_cost_the_variance_between_them() -> None:
    shares = at_cells([(0, 0)]) + at_cells([(3, 3)])
    assert competing.compactness_loss(shares, even_centers(4, 4)).item() == pytest.approx(10 * 2 * (3 / 8) ** 2)


def test_a_filter_that_takes_all_costs_the_log_of_their_number_and_equal_ones_nothing() -> None:
    alone, equal = torch.zeros(2, 5, 3, 3), torch.full((2, 5, 3, 3), 0.1)
    alone[:, 2] = 0.7
    for value in competing.use_losses(alone):
        assert value.item() == pytest.approx(math.log(5), abs=1e-6)
    for value in competing.use_losses(equal):
        assert value.item() == pytest.approx(0, abs=1e-6)


def test_pictures_that_each_use_another_filter_use_all_over_the_batch_and_one_within() -> None:
    shares = torch.cat([at_cells([(1, 1), (1, 1)]) * torch.tensor(keep)[:, None, None] for keep in ([1, 0], [0, 1])])
    batch, picture = competing.use_losses(shares)
    assert batch.item() == pytest.approx(0, abs=1e-12)
    assert picture.item() == pytest.approx(math.log(2))


def test_pictures_whose_filters_hold_nothing_cost_no_use() -> None:
    assert [value.item() for value in competing.use_losses(torch.zeros(2, 3, 4, 4))] == [0, 0]


def test_a_filter_that_is_known_costs_little_and_one_taken_for_another_much() -> None:
    prototypes = torch.eye(4, dtype=float64)
    known = competing.identity_loss(prototypes[None], prototypes)
    swapped = competing.identity_loss(prototypes[None, [1, 0, 3, 2]], prototypes)
    assert known.item() < 1e-4
    assert swapped.item() > 10


# --- invariances


@every_term
@given(seed=st.integers(0, 2**31))
def test_the_order_of_the_filters_does_not_matter(term: Callable[[Tensor], Tensor], seed: int) -> None:
    scores = 2 * drawn(4, 5, 3, 4, seed=seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    if term is identity:
        shares, features = scores.softmax(dim=1)[:, :-1], drawn_features(scores)
        found = competing.mean_features(shares, features)
        permuted = competing.identity_loss(found[:, order], PROTOTYPES[:4][order])
    else:
        permuted = term(scores[:, [*order.tolist(), 4]])
    torch.testing.assert_close(permuted, term(scores))


@given(factor=st.floats(0.01, 1.0))
def test_how_much_a_filter_holds_changes_neither_its_spread_nor_its_point_nor_its_feature(factor: float) -> None:
    shares = drawn(4, 3, 3, 4).sigmoid()
    centers, frames = even_centers(3, 4), drawn_frames(4)
    for term in (
        lambda maps: competing.compactness_loss(maps, centers),
        lambda maps: competing.steadiness_loss(maps, frames, centers),
        lambda maps: competing.mean_features(maps, drawn(4, 5, 3, 4)),
    ):
        torch.testing.assert_close(term(shares * factor), term(shares))


@given(x=st.floats(-3, 3), y=st.floats(-3, 3))
def test_steadiness_does_not_know_where_the_origin_of_a_picture_is(x: float, y: float) -> None:
    shares, frames, centers = drawn(4, 3, 3, 4).sigmoid(), drawn_frames(4), even_centers(3, 4)
    moved = frames.clone()
    moved[:, :, 2] += torch.tensor([x, y], dtype=float64)
    before, after = (competing.steadiness_loss(shares, frame, centers) for frame in (frames, moved))
    torch.testing.assert_close(after, before)


def test_a_filter_that_moves_with_its_picture_is_steadier_than_one_at_a_fixed_point_of_the_view() -> None:
    points = [(0, 1), (3, 0), (2, 3)]
    first = torch.cat([at_cells([point]) for point in points])
    follows = torch.cat([first, first.flip(-1)])
    stays = torch.cat([first, first])
    frames = torch.tensor([WHOLE] * 3 + [[[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]] * 3)
    good, bad = (competing.steadiness_loss(maps, frames, even_centers(4, 4)) for maps in (follows, stays))
    assert good < -2
    assert bad > good + 1


def test_one_picture_cannot_tell_places_of_pictures_apart() -> None:
    steady = at_cells([(1, 1)]).repeat(2, 1, 1, 1)
    assert competing.steadiness_loss(steady, torch.tensor([WHOLE, WHOLE]), even_centers(4, 4)).item() == 0


# --- precision and errors


@every_term
def test_under_autocast_terms_keep_three_digits(term: Callable[[Tensor], Tensor]) -> None:
    """The products alone are rounded to bfloat16; `partcnn.model.losses` turns autocast off all the same."""
    scores = drawn(4, 5, 6, 6).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = term(scores)
    torch.testing.assert_close(found.float(), term(scores), rtol=2e-2, atol=2e-2)


def test_shapes_that_do_not_fit_are_named() -> None:
    shares, centers = torch.rand(4, 3, 5, 6), even_centers(5, 6)
    with pytest.raises(ShapeError, match=r"object_share: expected \[image, row, col\] = \[4, 5, 6\]"):
        competing.object_loss(shares.log(), torch.rand(4, 6, 5))
    for frames in (torch.rand(3, 2, 3), torch.rand(4, 3, 3)):
        with pytest.raises(ShapeError, match="shares, frames: expected two views of each picture"):
            competing.steadiness_loss(shares, frames, centers)
    with pytest.raises(ShapeError, match="shares, frames: expected two views of each picture"):
        competing.steadiness_loss(shares[:3], torch.rand(3, 2, 3), centers)
    for wrong in (even_centers(6, 5), even_centers(1, 6)):
        with pytest.raises(ShapeError, match=r"centers: expected \(5, 6\) rows and columns as the maps"):
            competing.compactness_loss(shares, wrong)
        with pytest.raises(ShapeError, match=r"centers: expected \(5, 6\) rows and columns as the maps"):
            competing.steadiness_loss(shares, torch.rand(4, 2, 3), wrong)
    for features in (torch.rand(3, 7, 5, 6), torch.rand(4, 7, 6, 5), torch.rand(4, 5, 6)):
        with pytest.raises(ShapeError, match=r"features: expected \[image, channel, row, col\]"):
            competing.mean_features(shares, features)
    for found in (torch.rand(4, 2, 7), torch.rand(4, 3, 6), torch.rand(3, 7)):
        with pytest.raises(ShapeError, match="found, prototypes: expected"):
            competing.identity_loss(found, torch.rand(3, 7))


@pytest.mark.parametrize(("held", "expected"), [(0.05, 25 * 0.1**2), (0.15, 0.0), (0.3, 0.0), (0.6, 25 * 0.2**2)])
def test_an_object_of_unusual_size_costs_the_square_of_what_it_lacks_or_has_too_much(
    held: float, expected: float
) -> None:
    shares = torch.full((3, 2, 4, 5), held / 2, dtype=torch.float64, requires_grad=True)
    loss = competing.size_loss(shares)
    assert loss.item() == pytest.approx(expected, abs=1e-9)
    assert torch.autograd.gradcheck(competing.size_loss, shares)
    assert competing.size_loss(torch.zeros(0, 2, 4, 5, requires_grad=True)).requires_grad
