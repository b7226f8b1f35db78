"""The fast paths of the objectives against slow ones: maps of any size and memory layout, chunks, halves, compilers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from partcnn.model.mask import PartMask
from partcnn.objectives import OBJECTIVES, exact, fused, labelled, mutual_information, template_fitness
from partcnn.objectives.fitness import TransformedCones, cones
from partcnn.objectives.templates import peak_templates
from tests.random_maps import random_belongs, random_maps
from tests.reference import naive_torch as naive
from tests.reference import objectives as twin

float64 = torch.float64
FUSED = {"labelled": (labelled, naive.labelled), "exact": (exact, naive.exact)}
each_fused = pytest.mark.parametrize("name", FUSED)
examples = settings(max_examples=15, deadline=None, derandomize=True)
LAYOUTS = ["contiguous", "channels last", "filters first", "every second column", "expanded"]
SIZES = [(1, 1), (1, 7), (6, 1), (3, 4), (5, 3), (16, 16), (1, 300), (300, 1), (17, 16), (13, 21)]
TRANSFORMED = [(1, 300), (300, 1), (17, 16), (16, 17), (13, 21), (19, 19)]


def laid_out(maps: Tensor, layout: str) -> Tensor:
    """The same values (one image's, if expanded), another memory layout."""
    if layout == "channels last":
        return maps.contiguous(memory_format=torch.channels_last)
    if layout == "filters first":
        return maps.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "every second column":
        return maps.repeat_interleave(2, dim=3)[..., ::2]
    return maps[:1].expand_as(maps) if layout == "expanded" else maps


def value_and_gradient(objective, maps: Tensor, belongs: Tensor, *, weights: Tensor | None = None, **constants):
    maps = maps.detach().requires_grad_()
    value = objective(maps, belongs, **constants)
    loss = getattr(value, "loss", value)
    (gradient,) = torch.autograd.grad(loss, maps, weights if weights is not None else torch.ones_like(loss))
    return loss.detach(), gradient


def assert_agrees(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("beta", [0.7, 4.0, 11.0, [4.0, 0.9, 7.3]], ids=str)
@pytest.mark.parametrize("size", TRANSFORMED, ids=str)
def test_the_fitness_of_large_maps_is_that_of_the_bank(size: tuple[int, int], beta: float | list[float]) -> None:
    maps = random_maps(2, 3, *size)
    slopes = torch.tensor(beta, dtype=float64) if isinstance(beta, list) else beta
    assert isinstance(cones(size, slopes, like=maps), TransformedCones)
    fitness = template_fitness(maps, tau=0.3, beta=slopes)
    for f in range(3):
        beta_f = beta[f] if isinstance(beta, list) else beta
        assert_agrees(fitness[:, [f]], naive.template_fitness(maps[:, [f]], tau=0.3, beta=beta_f))


def test_the_fitness_of_a_large_map_is_the_twins() -> None:
    maps = random_maps(1, 1, 17, 16)
    assert_agrees(template_fitness(maps, tau=0.3), torch.from_numpy(twin.template_fitness(maps.numpy(), tau=0.3)))


@pytest.mark.parametrize("beta", [0.7, 4.0, 11.0])
@pytest.mark.parametrize("side", [1, 2, 7, 13, 14, 16, 17, 28, 41, 56])
def test_rounding_in_float32_stays_within_its_bound(side: int, beta: float) -> None:
    """A sum of m products errs by u √m times its size where rounding errors are random (Higham & Mary 2019), and by the
    orthogonal transform, which keeps sizes, no error grows: rms(δ) ≤ u √m ‖k‖₁ rms(x) with m = n² by the bank and
    m = n + n + L ≤ 4n by the transform. The sum of all cells, less than 2n sums one after another, adds u √(2n) Σ x."""
    maps = random_maps(1, 1, side, side, dtype=torch.float32)
    fitness = template_fitness(maps, tau=1.0, beta=beta).double()
    expected = naive.template_fitness(maps.double(), tau=1.0, beta=beta)
    gaps = torch.arange(1 - side, side).abs()
    mass = float((2 - beta * (gaps[:, None] + gaps) / side).clamp(min=0).sum())
    num_sums = side * side if side <= 16 else 4 * side
    total, rms = float(maps.double().sum()), float(maps.double().square().mean().sqrt())
    bound = 2**-24 * (math.sqrt(num_sums) * mass * rms + math.sqrt(2 * side) * total)
    assert float((fitness - expected).square().mean().sqrt()) <= bound


@each_fused
@examples
@given(
    size=st.sampled_from(SIZES),
    num_images=st.integers(1, 5),
    num_filters=st.integers(1, 4),
    layout=st.sampled_from(LAYOUTS),
    seed=st.integers(0, 99),
    scale=st.sampled_from([0.01, 1.0, 30.0]),
    belonging=st.sampled_from(["some", "none", "all"]),
)
def test_value_and_gradient_are_those_of_autograd_with_the_bank(
    name: str,
    size: tuple[int, int],
    num_images: int,
    num_filters: int,
    layout: str,
    seed: int,
    scale: float,
    belonging: str,
) -> None:
    maps = laid_out(scale * random_maps(num_images, num_filters, *size, seed=seed), layout)
    belongs = {
        "some": random_belongs(num_images, num_filters, seed),
        "none": torch.zeros(num_images, num_filters, dtype=torch.bool),
        "all": torch.ones(num_images, num_filters, dtype=torch.bool),
    }[belonging]
    weights = torch.linspace(-1, 2, num_filters, dtype=float64)
    fast, slow = FUSED[name]
    found = value_and_gradient(fast, maps, belongs, weights=weights, tau=0.2)
    expected = value_and_gradient(slow, maps, belongs, weights=weights, tau=0.2)
    for actual, wanted in zip(found, expected, strict=True):
        assert_agrees(actual, wanted, 1e-9)


@each_fused
@pytest.mark.parametrize("beta", [4.0, [4.0, 2.5, 3.1, 6.0, 1.2]], ids=["one slope", "slope per filter"])
@pytest.mark.parametrize("size", [(3, 4), (17, 16)], ids=str)
@pytest.mark.parametrize("cells", [1, 4 * 12 * 2, 4 * 272 * 3], ids=str)
def test_chunks_of_filters_change_nothing(
    name: str, beta: float | list[float], size: tuple[int, int], cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, belongs = random_maps(4, 5, *size), random_belongs(4, 5)
    slopes = torch.tensor(beta, dtype=float64) if isinstance(beta, list) else beta
    whole = value_and_gradient(OBJECTIVES[name], maps, belongs, tau=0.2, beta=slopes)
    monkeypatch.setattr(fused, "_CHUNK", cells)
    for actual, wanted in zip(
        value_and_gradient(OBJECTIVES[name], maps, belongs, tau=0.2, beta=slopes), whole, strict=True
    ):
        assert_agrees(actual, wanted)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_of_exact_is_that_of_mutual_information(layout: str) -> None:
    maps, belongs = laid_out(random_maps(5, 3, 4, 6), layout), random_belongs(5, 3)
    found = value_and_gradient(exact, maps, belongs, tau=0.3)
    expected = value_and_gradient(lambda x, _, **c: mutual_information(x, **c), maps, belongs, tau=0.3)
    for actual, wanted in zip(found, expected, strict=True):
        assert_agrees(actual, wanted)


@each_fused
def test_finite_differences_confirm_the_gradient_on_large_maps(name: str) -> None:
    maps, belongs = random_maps(3, 2, 17, 16).requires_grad_(), random_belongs(3, 2)
    assert torch.autograd.gradcheck(lambda x: OBJECTIVES[name](x, belongs, tau=0.1).loss, (maps,), fast_mode=True)


def test_finite_differences_confirm_both_derivatives_of_the_fitness_of_large_maps() -> None:
    maps = random_maps(1, 2, 17, 16).requires_grad_()
    beta = torch.tensor([4.0, 1.3], dtype=float64)
    for slope in (4.0, beta):
        assert torch.autograd.gradcheck(
            lambda x, b=slope: template_fitness(x, tau=0.1, beta=b), (maps,), fast_mode=True
        )
        assert torch.autograd.gradgradcheck(
            lambda x, b=slope: template_fitness(x, tau=0.1, beta=b).square(), (maps,), fast_mode=True
        )


def assert_a_second_pass_gives_the_same_gradient(name: str, maps: Tensor) -> None:
    maps, belongs = maps.requires_grad_(), random_belongs(*maps.shape[:2])
    loss = OBJECTIVES[name](maps, belongs, tau=0.3).loss.mean()
    first, second = (torch.autograd.grad(loss, maps, retain_graph=True)[0] for _ in range(2))
    torch.testing.assert_close(first, second)


@each_fused
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_second_pass_backwards_gives_the_same_gradient(name: str, dtype: torch.dtype) -> None:
    assert_a_second_pass_gives_the_same_gradient(name, random_maps(4, 3, 5, 5, dtype=dtype))


@each_fused
def test_a_second_derivative_is_refused(name: str) -> None:
    maps, belongs = random_maps(4, 3, 5, 5).requires_grad_(), random_belongs(4, 3)
    (gradient,) = torch.autograd.grad(OBJECTIVES[name](maps, belongs, tau=0.3).loss.sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        gradient.sum().backward()


@pytest.mark.parametrize(("name", "tau"), [("labelled", 1e-6), ("exact", 2e-3)])
def test_gradients_of_half_precision_are_scaled_before_they_are_rounded(name: str, tau: float) -> None:
    maps, belongs = random_maps(4, 3, 5, 5, dtype=torch.float16), random_belongs(4, 3)
    _, unscaled = value_and_gradient(OBJECTIVES[name], maps.double(), belongs, tau=tau)
    largest = float(unscaled.abs().max())
    assert (unscaled.half() - unscaled).abs().max() > 0.01 * largest  # float16 cannot hold it as it is
    weights = torch.full((3,), 1 / largest)
    _, gradient = value_and_gradient(OBJECTIVES[name], maps, belongs, weights=weights, tau=tau)
    torch.testing.assert_close(gradient.double(), unscaled / largest, rtol=0, atol=2e-3)


@each_fused
@pytest.mark.parametrize("size", [(5, 5), (17, 17)], ids=str)
def test_autocast_leaves_the_objectives_in_float32(name: str, size: tuple[int, int]) -> None:
    maps, belongs = random_maps(4, 3, *size, dtype=torch.float32), random_belongs(4, 3)
    plain = value_and_gradient(OBJECTIVES[name], maps, belongs, tau=0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = value_and_gradient(OBJECTIVES[name], maps, belongs, tau=0.3)
        fitness = template_fitness(maps, tau=0.3)
    assert all(torch.equal(a, b) for a, b in zip(plain, within, strict=True))
    assert torch.equal(fitness, template_fitness(maps, tau=0.3))


@each_fused
def test_channels_last_maps_have_a_channels_last_gradient(name: str) -> None:
    maps, belongs = laid_out(random_maps(4, 3, 5, 5), "channels last"), random_belongs(4, 3)
    _, gradient = value_and_gradient(OBJECTIVES[name], maps, belongs, tau=0.3)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("is_signed", [False, True], ids=["part_mask", "signed"])
def test_the_mask_keeps_values_and_layout(layout: str, is_signed: bool) -> None:
    values = random_maps(4, 3, 5, 7) + (random_maps(4, 3, 5, 7, seed=1) - 1 if is_signed else 0)
    maps = laid_out(values, layout)
    mask = PartMask(3, 2, is_signed=is_signed)
    masked = mask.masked(maps)
    assert torch.equal(masked, mask.masked(maps.contiguous()))
    if layout == "channels last":
        assert masked.is_contiguous(memory_format=torch.channels_last)
        assert peak_templates(maps).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_tau_may_be_a_tensor_so_that_nothing_waits_for_a_device(name: str) -> None:
    maps, belongs = random_maps(4, 3, 5, 5), random_belongs(4, 3)
    number = value_and_gradient(OBJECTIVES[name], maps, belongs, tau=0.3)
    tensor = value_and_gradient(OBJECTIVES[name], maps, belongs, tau=torch.tensor(0.3, dtype=float64))
    for actual, wanted in zip(tensor, number, strict=True):
        assert_agrees(actual, wanted)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own, of its tracing
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_compiler_sees_one_graph_of_each_objective(name: str) -> None:
    maps, belongs = random_maps(4, 3, 5, 5), random_belongs(4, 3)

    def loss(maps: Tensor, belongs: Tensor) -> Tensor:
        return OBJECTIVES[name](maps, belongs, tau=0.3).loss

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for actual, wanted in zip(
        value_and_gradient(compiled, maps, belongs), value_and_gradient(loss, maps, belongs), strict=True
    ):
        assert_agrees(actual, wanted)


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_compiler_sees_one_graph_of_a_masked_network(channels_last: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), PartMask(4, 2))
    images = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    if channels_last:
        network, images = network.to(memory_format=torch.channels_last), laid_out(images, "channels last")
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(images), network(images))
