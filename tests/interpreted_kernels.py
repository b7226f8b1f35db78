"""The Triton kernels against the slow twins and the torch path, by Triton's interpreter on the CPU.

Not collected by itself: Triton reads `TRITON_INTERPRET` when it is imported, and torch's compiler imports it too. So
`test_kernels.py` runs this file in a process of its own. By hand:

    TRITON_INTERPRET=1 pytest tests/interpreted_kernels.py
"""

import itertools
import math

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.objectives import OBJECTIVES, ObjectiveValue, information, kernel_choice, kernel_rules, kernels
from reference import objectives as twin
from test_fast_objectives import (
    LAYOUTS,
    assert_a_second_pass_gives_the_same_gradient,
    laid_out,
    random_belongs,
    random_maps,
)
from test_objectives import BATCHES, GRADIENTS, batch_named

NAMES = ("exact", "labelled")
ONE_MAP = torch.zeros(1, 1, 1, 1)
TWINS = {
    "exact": lambda maps, _, **constants: twin.mutual_information(maps, **constants),
    "labelled": twin.labelled,
}
each_objective = pytest.mark.parametrize("name", NAMES)
HALF_ROUNDING = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.float32: 0.0, torch.float64: 0.0}
SMALLEST_HALF = {torch.float16: 2.0**-25, torch.bfloat16: 0.0, torch.float32: 0.0, torch.float64: 0.0}


@pytest.fixture(autouse=True)
def _kernels_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """And run: otherwise torch would be compared with itself."""
    monkeypatch.setenv("PARTCNN_TRITON", "1")
    monkeypatch.setattr(kernel_rules, "_MOST_IMAGES", 4)  # several blocks, the last of them ragged
    monkeypatch.setattr(kernel_rules, "_MOST_CELLS", 32)
    assert kernel_choice.kernel_rule("exact", ONE_MAP) is kernel_rules.exact_of_fitness


def by_kernels(
    name: str, maps: Tensor, belongs: Tensor, *, weights: Tensor | None = None, **constants: object
) -> tuple[ObjectiveValue, Tensor]:
    maps = maps.detach().requires_grad_()
    value = OBJECTIVES[name](maps, belongs, **constants)
    upstream = torch.ones_like(value.loss) if weights is None else weights.to(value.loss)
    return value, torch.autograd.grad(value.loss, maps, upstream)[0]


def by_torch(*arguments: object, **constants: object) -> tuple[ObjectiveValue, Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PARTCNN_TRITON", "0")
        assert kernel_choice.kernel_rule("exact", ONE_MAP) is None
        return by_kernels(*arguments, **constants)


def assert_agrees(actual: Tensor, expected: object, tolerance: float = 1e-10) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().double(), expected, atol=tolerance, rtol=tolerance)


def rounding_bounds(maps: Tensor, tau: float, type_: torch.dtype) -> tuple[float, float]:
    """How far rounding takes loss and terms, and the gradient, to first order in the unit u.

    A sum of m numbers errs by m u times the sum of their sizes. With N images, C cells, mass M = max_x Σ_ij x_ij and
    cones of height 2, fitness is at most τM and errs by e_s = 6 (C + 4) u τM. A log-sum-exp errs by what it is of and
    (N + C + 8) u (1 + τM), so r_T(x) errs by e_r = 2 (e_s + (N + C + 8) u (1 + τM)). The loss is Σ p r with
    Σ_x p |r| ≤ 1 + log N, and a logistic loss of slope 1 of the log-odds centred: 6 + log N errors e_r, and those of
    the sums. The slopes by fitness are at most 2 + 2 log N in sum, err by 8 + 2 log N errors e_r, and go through
    templates of height τ and C + 4 sums.
    """
    num_images, _, height, width = maps.shape
    unit = torch.finfo(type_).eps / 2
    cells, log_n = height * width, math.log(num_images)
    most = tau * float(maps.double().sum(dim=(2, 3)).max())
    of_fitness = 6 * (cells + 4) * unit * most
    of_ratio = 2 * (of_fitness + (num_images + cells + 8) * unit * (1 + most))
    of_loss = (6 + log_n) * of_ratio + (num_images * cells + 8) * unit * (3 + log_n + math.log(cells) + most)
    return of_loss, 3 * tau * ((8 + 2 * log_n) * of_ratio + (cells + 4) * unit * (2 + 2 * log_n))


@each_objective
@pytest.mark.parametrize("batch", BATCHES)
def test_loss_terms_and_gradient_are_the_twins(batch: str, name: str) -> None:
    maps, belongs = batch_named(batch)
    beta = [4.0, 2.5, 3.1]
    value, gradient = by_kernels(name, maps, belongs, tau=0.2, beta=torch.tensor(beta, dtype=torch.float64))
    expected = TWINS[name](maps.numpy(), belongs.numpy(), tau=0.2, beta=beta)
    assert_agrees(value.loss, expected.pop("loss"))
    assert set(value.terms) == set(expected)
    for term, numbers in expected.items():
        assert_agrees(value.terms[term], numbers)
    assert_agrees(gradient, GRADIENTS[name](maps.numpy(), belongs.numpy(), tau=0.2, beta=beta))


@each_objective
@settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.generate])  # to shrink takes minutes
@given(
    size=st.sampled_from([(1, 1), (1, 7), (6, 1), (3, 4), (5, 3), (5, 7), (17, 16)]),
    num_images=st.integers(1, 6),
    num_filters=st.integers(1, 2),
    layout=st.sampled_from(LAYOUTS),
    dtype=st.sampled_from(list(HALF_ROUNDING)),
    seed=st.integers(0, 99),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    belonging=st.sampled_from(["some", "none", "all"]),
    with_slopes=st.booleans(),
    tau_is_tensor=st.booleans(),
)
def test_they_are_those_of_torch_in_float64_within_the_rounding(
    name: str,
    size: tuple[int, int],
    num_images: int,
    num_filters: int,
    layout: str,
    dtype: torch.dtype,
    seed: int,
    scale: float,
    belonging: str,
    with_slopes: bool,
    tau_is_tensor: bool,
) -> None:
    maps = laid_out((scale * random_maps(num_images, num_filters, *size, seed=seed)).to(dtype), layout)
    belongs = {
        "some": random_belongs(num_images, num_filters, seed),
        "none": torch.zeros(num_images, num_filters, dtype=torch.bool),
        "all": torch.ones(num_images, num_filters, dtype=torch.bool),
    }[belonging]
    beta = torch.linspace(2.0, 5.0, num_filters, dtype=torch.float64) if with_slopes else 4.0
    weights = torch.linspace(-1, 2, num_filters, dtype=torch.float64)
    tau = torch.tensor(0.2, dtype=torch.float64) if tau_is_tensor else 0.2
    value, gradient = by_kernels(name, maps, belongs, weights=weights, tau=tau, beta=beta)
    expected, slow_gradient = by_torch(name, maps.double(), belongs, weights=weights, tau=tau, beta=beta)

    assert gradient.dtype == dtype
    assert value.loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    of_loss, of_gradient = rounding_bounds(maps, 0.2, value.loss.dtype)
    torch.testing.assert_close(value.loss.double(), expected.loss, rtol=0, atol=of_loss)
    assert value.terms.keys() == expected.terms.keys()
    for term, numbers in expected.terms.items():
        torch.testing.assert_close(value.terms[term].double(), numbers, rtol=0, atol=of_loss)
    atol = 2 * of_gradient + SMALLEST_HALF[dtype]  # the largest weight is 2
    torch.testing.assert_close(gradient.double(), slow_gradient, rtol=HALF_ROUNDING[dtype], atol=atol)


@each_objective
@pytest.mark.parametrize("shape", [(6, 3, 5, 7), (16, 2, 14, 14)], ids=str)
def test_in_float32_they_err_no_more_than_torch_does(name: str, shape: tuple[int, ...]) -> None:
    """Up to a factor, both errors being random: the bounds above hold for the worst of all maps and are far."""
    maps, belongs = random_maps(*shape, dtype=torch.float32), random_belongs(*shape[:2])
    tau = 20 / (shape[2] * shape[3])
    right, right_gradient = by_torch(name, maps.double(), belongs, tau=tau)
    errors, of_gradients = [], []
    for way in (by_kernels, by_torch):
        value, gradient = way(name, maps, belongs, tau=tau)
        errors.append(float((value.loss - right.loss).detach().abs().max()))
        of_gradients.append(float((gradient - right_gradient).square().mean().sqrt()))
    assert errors[0] <= 3 * errors[1] + 2**-22
    assert of_gradients[0] <= 3 * of_gradients[1]


@each_objective
@pytest.mark.parametrize("blocks", [(1, 4), (2, 16), (8, 2)], ids=str)
def test_blocks_of_other_sizes_change_nothing(
    name: str, blocks: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, belongs = random_maps(5, 2, 3, 4), random_belongs(5, 2)
    monkeypatch.setattr(kernel_rules, "_MOST_IMAGES", blocks[0])
    monkeypatch.setattr(kernel_rules, "_MOST_CELLS", blocks[1])
    value, gradient = by_kernels(name, maps, belongs, tau=0.3)
    expected, slow_gradient = by_torch(name, maps, belongs, tau=0.3)
    assert_agrees(value.loss, expected.loss.detach())
    assert_agrees(gradient, slow_gradient)


@each_objective
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_fitness_may_lie_in_memory_in_any_order(name: str, order: tuple[int, ...]) -> None:
    values = 3 * random_maps(5, 2, 7, 1).squeeze(3)
    negative, belongs = -random_maps(2, 5, 1, 1)[..., 0, 0].T, random_belongs(2, 5).T
    inverse = [order.index(axis) for axis in range(3)]
    fitness = values.permute(order).repeat_interleave(2, dim=2)[..., ::2].permute(inverse)
    assert torch.equal(fitness, values)
    found = kernel_rules.RULES[name](fitness, negative, belongs)
    rule = {"exact": information._exact_of_fitness, "labelled": information._labelled_of_fitness}[name]
    expected = rule(values, negative, belongs)
    assert_agrees(found.loss, expected.loss)
    assert_agrees(found.by_positive, expected.by_positive)
    assert_agrees(found.by_negative, expected.by_negative)
    for ours, wanted in zip(found.terms, expected.terms, strict=True):
        assert_agrees(ours, wanted)


@each_objective
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (4, 0, 4, 4), (0, 0, 1, 1)], ids=str)
def test_for_no_image_and_no_filter_nothing_is_launched(
    name: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kernel in ("log_partition", "sum_over_templates", "information_of_templates", "slopes"):
        monkeypatch.setattr(kernels, kernel, None)  # a GPU refuses a launch of no programs, the interpreter does not
    belongs = torch.ones(shape[:2], dtype=torch.bool)
    value, gradient = by_kernels(name, random_maps(*shape), belongs, tau=0.3)
    assert torch.equal(value.loss, torch.zeros(shape[1], dtype=torch.float64))
    assert gradient.shape == shape


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str)
def test_images_that_do_not_belong_may_be_louder_than_exp_can_hold(dtype: torch.dtype, tolerance: float) -> None:
    maps, belongs = random_maps(6, 2, 3, 4, dtype=dtype), random_belongs(6, 2)
    maps = torch.where(belongs[..., None, None], maps, 1e4 * maps)
    value, gradient = by_kernels("labelled", maps, belongs, tau=0.3)
    expected, slow_gradient = by_torch("labelled", maps.double(), belongs, tau=0.3)
    assert_agrees(value.loss, expected.loss.detach(), tolerance)
    assert_agrees(gradient, slow_gradient, tolerance)


@pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")  # the interpreter's, of its maximum
@each_objective
def test_a_map_that_is_nan_is_not_hidden_and_spoils_no_other_filter(name: str) -> None:
    maps, belongs = random_maps(5, 2, 3, 4), torch.ones(5, 2, dtype=torch.bool)
    expected, _ = by_kernels(name, maps, belongs, tau=0.3)
    maps[3, 1, 1, 2] = math.nan
    value, gradient = by_kernels(name, maps, belongs, tau=0.3)
    assert value.loss[1].isnan()
    assert gradient[:, 1].isnan().all()
    assert_agrees(value.loss[0], expected.loss[0].item())


@each_objective
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_a_second_pass_backwards_gives_the_same_gradient(name: str, dtype: torch.dtype) -> None:
    assert_a_second_pass_gives_the_same_gradient(name, random_maps(4, 2, 3, 5, dtype=dtype))


@pytest.mark.parametrize(("name", "tau"), [("labelled", 1e-6), ("exact", 2e-3)])
def test_gradients_of_half_precision_are_scaled_before_they_are_rounded(name: str, tau: float) -> None:
    maps, belongs = random_maps(4, 3, 5, 5, dtype=torch.float16), random_belongs(4, 3)
    _, unscaled = by_torch(name, maps.double(), belongs, tau=tau)
    largest = float(unscaled.abs().max())
    assert (unscaled.half() - unscaled).abs().max() > 0.01 * largest  # float16 cannot hold it as it is
    _, gradient = by_kernels(name, maps, belongs, weights=torch.full((3,), 1 / largest), tau=tau)
    torch.testing.assert_close(gradient.double(), unscaled / largest, rtol=0, atol=2e-3)


@each_objective
def test_a_second_derivative_is_refused(name: str) -> None:
    maps, belongs = random_maps(3, 2, 2, 3).requires_grad_(), random_belongs(3, 2)
    (gradient,) = torch.autograd.grad(OBJECTIVES[name](maps, belongs, tau=0.3).loss.sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        gradient.sum().backward()


@each_objective
def test_channels_last_maps_have_a_channels_last_gradient(name: str) -> None:
    maps = laid_out(random_maps(4, 3, 3, 5), "channels last")
    _, gradient = by_kernels(name, maps, random_belongs(4, 3), tau=0.3)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@each_objective
def test_maps_without_a_gradient_have_the_same_value(name: str) -> None:
    maps, belongs = random_maps(4, 2, 3, 5), random_belongs(4, 2)
    expected, _ = by_kernels(name, maps, belongs, tau=0.3)
    value = OBJECTIVES[name](maps, belongs, tau=0.3)
    assert not value.loss.requires_grad
    assert torch.equal(value.loss, expected.loss)


@pytest.mark.parametrize("wish", ["0", "", None])
def test_who_does_not_ask_has_torch(wish: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if wish is None:
        monkeypatch.delenv("PARTCNN_TRITON")
    else:
        monkeypatch.setenv("PARTCNN_TRITON", wish)
    assert kernel_choice.kernel_rule("exact", ONE_MAP) is None


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, of its tracing
@each_objective
def test_a_compiler_sees_one_graph_of_torch(name: str) -> None:
    maps, belongs = random_maps(4, 2, 3, 5), random_belongs(4, 2)
    compiled = torch.compile(
        lambda maps: OBJECTIVES[name](maps, belongs, tau=0.3).loss, backend="aot_eager", fullgraph=True
    )
    expected, _ = by_torch(name, maps, belongs, tau=0.3)
    assert_agrees(compiled(maps), expected.loss.detach())
