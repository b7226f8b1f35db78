"""The objectives' values and gradients against their slow twins, and cases worked by hand."""

import math
from collections.abc import Callable

import pytest
import torch

from partcnn.objectives import OBJECTIVES, centroid_slopes, exact, labelled, mutual_information, template_fitness
from tests.reference import objectives as twin

float64 = torch.float64
Batch = tuple[torch.Tensor, torch.Tensor]
GRADIENTS = {
    "exact": lambda maps, _, **constants: twin.mutual_information_gradient(maps, **constants),
    "labelled": twin.labelled_gradient,
    "assigned": twin.assigned_gradient,
    "official": twin.official_gradient,
}
TEMPLATES = [(1.0, 4.0), (0.2, [4.0, 2.5, 3.1])]


def random_batch(*shape: int, seed: int = 0, scale: float = 1.0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    maps = scale * torch.randn(shape, generator=generator, dtype=float64).relu()
    return maps, torch.rand(shape[:2], generator=generator) < 0.5


def batch_named(name: str) -> Batch:
    maps, belongs = random_batch(5, 3, 3, 4)
    batches = {
        "square": random_batch(5, 3, 4, 4, seed=1),
        "wide": (maps, belongs),
        "one category": (maps, belongs[:, :1].expand(5, 3)),
        "tall": random_batch(4, 3, 5, 2, seed=2),
        "one cell": random_batch(4, 3, 1, 1, seed=3),
        "one row": random_batch(4, 3, 1, 5, seed=4),
        "one image": (maps[:1], torch.tensor([[True, False, True]])),
        "silent": (torch.zeros_like(maps), belongs),
        "some silent": (maps * (torch.arange(5) % 2)[:, None, None, None], belongs),
        "no positives": (maps, torch.zeros_like(belongs)),
        "all positives": (maps, torch.ones_like(belongs)),
        "one filter without positives": (maps, belongs & torch.tensor([True, False, True])),
        "ties": (maps.round(), belongs),
        "strong": (20 * maps, belongs),
        "faint": (1e-3 * maps, belongs),
    }
    return batches[name]


BATCHES = [
    *("square", "wide", "one category", "tall", "one cell", "one row", "one image", "silent", "some silent"),
    *("no positives", "all positives", "one filter without positives", "ties", "strong", "faint"),
]


def slope(beta: float | list[float]) -> float | torch.Tensor:
    return torch.tensor(beta, dtype=float64) if isinstance(beta, list) else beta


def assert_agrees(actual: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(actual.detach(), torch.as_tensor(expected, dtype=float64), atol=1e-10, rtol=1e-10)


def gradient_of(
    objective: Callable[..., object], maps: torch.Tensor, *args: object, **constants: object
) -> torch.Tensor:
    maps = maps.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(objective(maps, *args, **constants).loss.sum(), maps)
    return gradient


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0, eps=0.0))


@pytest.mark.parametrize(("tau", "beta"), TEMPLATES, ids=["one slope", "slope per filter"])
@pytest.mark.parametrize("name", BATCHES)
class TestAgainstTheTwins:
    def test_fitness(self, name: str, tau: float, beta: float | list[float]) -> None:
        maps, _ = batch_named(name)
        fitness = template_fitness(maps, tau=tau, beta=slope(beta))
        assert_agrees(fitness, twin.template_fitness(maps.numpy(), tau=tau, beta=beta))

    @pytest.mark.parametrize("alpha", [None, 0.4], ids=["paper's alpha", "alpha 0.4"])
    def test_mutual_information(self, name: str, tau: float, beta: float | list[float], alpha: float | None) -> None:
        maps, _ = batch_named(name)
        value = mutual_information(maps, tau=tau, beta=slope(beta), alpha=alpha)
        expected = twin.mutual_information(maps.numpy(), tau=tau, beta=beta, alpha=alpha)
        for term, numbers in expected.items():
            assert_agrees(getattr(value, term), numbers)
        assert_agrees(value.loss, -value.prior_entropy + value.inter_category_entropy + value.spatial_entropy)

    @pytest.mark.parametrize("objective", ["exact", "labelled"])
    def test_loss_is_the_sum_of_its_three_terms(
        self, name: str, tau: float, beta: float | list[float], objective: str
    ) -> None:
        maps, belongs = batch_named(name)
        value = OBJECTIVES[objective](maps, belongs, tau=tau, beta=slope(beta))
        terms = value.terms
        assert_agrees(value.loss, -terms["prior_entropy"] + terms["inter_category_entropy"] + terms["spatial_entropy"])

    @pytest.mark.parametrize("objective", ["labelled", "assigned", "official"])
    def test_value_and_terms(self, name: str, tau: float, beta: float | list[float], objective: str) -> None:
        maps, belongs = batch_named(name)
        value = OBJECTIVES[objective](maps, belongs, tau=tau, beta=slope(beta))
        expected = getattr(twin, objective)(maps.numpy(), belongs.numpy(), tau=tau, beta=beta)
        assert_agrees(value.loss, expected.pop("loss"))
        assert set(value.terms) == set(expected)
        for term, numbers in expected.items():
            assert_agrees(value.terms[term], numbers)

    @pytest.mark.parametrize("objective", GRADIENTS)
    def test_gradient(self, name: str, tau: float, beta: float | list[float], objective: str) -> None:
        maps, belongs = batch_named(name)
        gradient = gradient_of(OBJECTIVES[objective], maps, belongs, tau=tau, beta=slope(beta))
        assert_agrees(gradient, GRADIENTS[objective](maps.numpy(), belongs.numpy(), tau=tau, beta=beta))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_templates_without_a_chance_leave_the_information(alpha: float) -> None:
    maps, _ = random_batch(4, 2, 3, 3)
    value = mutual_information(maps, tau=1.0, alpha=alpha)
    for term, expected in twin.mutual_information(maps.numpy(), tau=1.0, alpha=alpha).items():
        assert_agrees(getattr(value, term), expected)
    gradient = gradient_of(mutual_information, maps, tau=1.0, alpha=alpha)
    assert_agrees(gradient, twin.mutual_information_gradient(maps.numpy(), tau=1.0, alpha=alpha))


def test_the_likelihood_of_each_template_sums_to_one_over_the_images() -> None:
    maps, _ = random_batch(6, 2, 3, 4)
    fitness = template_fitness(maps, tau=1.0).numpy()
    for f in range(2):
        assert_agrees(torch.from_numpy(twin.log_likelihood(fitness[:, f])).exp().sum(0), [1.0] * 13)


def perfect_filter(activation: float) -> Batch:
    """Two images of the category with the part at different places of a 1 × 2 map, and one without it."""
    maps = torch.tensor([[activation, 0.0], [0.0, activation], [0.0, 0.0]], dtype=float64).reshape(3, 1, 1, 2)
    return maps, torch.tensor([[True], [True], [False]])


def test_a_perfect_filter_tells_all_there_is_to_tell() -> None:
    value = mutual_information(perfect_filter(50.0)[0], tau=1.0)
    assert_agrees(value.loss, [-math.log(3)])
    assert_agrees(value.prior_entropy, [math.log(3)])
    assert_agrees(value.inter_category_entropy, [0.0])
    assert_agrees(value.spatial_entropy, [0.0])


def test_a_perfect_filter_tells_the_place_and_the_label() -> None:
    value = labelled(*perfect_filter(50.0), tau=1.0)
    assert_agrees(value.loss, [-math.log(2)])
    assert_agrees(value.terms["inter_category_entropy"], [0.0])


@pytest.mark.parametrize(("objective", "told"), [("exact", 3), ("labelled", 2), ("assigned", 3)])
def test_a_saturated_filter_loses_no_digits_in_float32(objective: str, told: int) -> None:
    maps, belongs = perfect_filter(1e6)
    loss = OBJECTIVES[objective](maps.float(), belongs, tau=1.0).loss
    torch.testing.assert_close(loss, torch.tensor([-math.log(told)]))


@pytest.mark.parametrize("objective", GRADIENTS)
def test_float32_follows_the_twin(objective: str) -> None:
    maps, belongs = random_batch(6, 3, 4, 4)
    maps = maps.float()  # the twin sees the same rounded activations
    gradient = gradient_of(OBJECTIVES[objective], maps, belongs, tau=0.5)
    expected = GRADIENTS[objective](maps.double().numpy(), belongs.numpy(), tau=0.5)
    torch.testing.assert_close(gradient.double(), torch.from_numpy(expected), rtol=1e-3, atol=1e-6)


def test_silent_maps_tell_nothing() -> None:
    value = mutual_information(torch.zeros(5, 1, 2, 4, dtype=float64), tau=1.0)
    assert_agrees(value.loss, [0.0])
    assert_agrees(value.prior_entropy, [math.log(9)])
    assert_agrees(value.spatial_entropy, [8 / 9 * math.log(8)])


def test_silent_maps_leave_the_label_at_even_odds() -> None:
    _, belongs = random_batch(6, 2, 3, 3)
    value = labelled(torch.zeros(6, 2, 3, 3, dtype=float64), belongs, tau=1.0)
    assert_agrees(value.loss, [math.log(2)] * 2)


@pytest.mark.parametrize("term", ["loss", "inter_category_entropy", "spatial_entropy"])
def test_finite_differences_confirm_the_gradient_of_the_exact_terms(term: str) -> None:
    maps, _ = random_batch(3, 2, 3, 4)
    check = torch.autograd.gradcheck
    beta = torch.tensor([4.0, 2.2], dtype=float64)
    assert check(lambda x: getattr(mutual_information(x, tau=0.7, beta=beta), term), (maps.requires_grad_(),))


def test_finite_differences_confirm_the_gradient_of_exact() -> None:
    maps, belongs = random_batch(3, 2, 3, 4, seed=5)
    assert torch.autograd.gradcheck(lambda x: exact(x, belongs, tau=0.7).loss, (maps.requires_grad_(),))


def test_finite_differences_confirm_the_gradient_of_labelled() -> None:
    maps, _ = random_batch(4, 2, 3, 4, seed=6)
    belongs = torch.tensor([[True, False], [True, True], [False, True], [True, False]])
    assert torch.autograd.gradcheck(lambda x: labelled(x, belongs, tau=0.7).loss, (maps.requires_grad_(),))


def test_finite_differences_confirm_the_gradient_of_the_fitness() -> None:
    maps, _ = random_batch(3, 2, 3, 4)
    assert torch.autograd.gradcheck(lambda x: template_fitness(x, tau=0.7), (maps.requires_grad_(),))


def test_the_assigned_rule_goes_against_the_papers_printed_sign() -> None:
    maps, belongs = random_batch(6, 3, 4, 4, scale=3.0)
    gradient = gradient_of(OBJECTIVES["assigned"], maps, belongs, tau=0.3)
    printed = twin.printed_one_template_gradient(maps.numpy(), belongs.numpy(), tau=0.3)
    assert cosine(gradient, torch.from_numpy(printed)) == pytest.approx(-1.0, abs=1e-10)


def information_with_constant_partition(maps: torch.Tensor, *, tau: float) -> torch.Tensor:
    """Eq. 1 with Z_T held constant, as the paper differentiates it; summed over filters."""
    fitness = template_fitness(maps, tau=tau)
    log_p = fitness - fitness.logsumexp(0).detach()
    log_px = log_p.logsumexp(2) - math.log(log_p.shape[2])
    return -(log_p.exp() * (log_p - log_px[:, :, None])).sum() / log_p.shape[2]


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_the_papers_printed_gradient_is_its_own_loss_with_the_wrong_sign(scale: float) -> None:
    maps, _ = random_batch(6, 3, 4, 4, scale=scale)
    leaf = maps.clone().requires_grad_()
    (right,) = torch.autograd.grad(information_with_constant_partition(leaf, tau=0.3), leaf)
    printed = torch.from_numpy(twin.printed_all_templates_gradient(maps.numpy(), tau=0.3))
    assert cosine(right, printed) == pytest.approx(-1.0, abs=1e-10)


def test_where_one_template_explains_each_image_the_assigned_rule_is_eq_1_with_z_constant() -> None:
    maps, belongs = perfect_filter(40.0)
    leaf = maps.clone().requires_grad_()
    (right,) = torch.autograd.grad(information_with_constant_partition(leaf, tau=1.0), leaf)
    assert_agrees(gradient_of(OBJECTIVES["assigned"], maps, belongs, tau=1.0), right)


def test_the_official_centroid_rounds_halves_up_as_matlab_does() -> None:
    maps = torch.zeros(1, 1, 3, 4, dtype=float64)
    maps[0, 0, 0, :2] = maps[0, 0, 1, :2] = 1.0  # centroid half way between rows 0 and 1 and columns 0 and 1
    belongs = torch.tensor([[True]])
    gradient = gradient_of(OBJECTIVES["official"], maps, belongs, tau=1.0)
    assert divmod(int((-gradient).argmax()), 4) == (1, 1)
    assert_agrees(gradient, twin.official_gradient(maps.numpy(), belongs.numpy(), tau=1.0))


@pytest.mark.parametrize("loud_belong", [True, False], ids=["loud belong", "silent belong"])
def test_the_official_strengths_of_quiet_images_survive_loud_ones_of_the_other_kind(loud_belong: bool) -> None:
    maps, _ = random_batch(6, 2, 3, 3)
    loud = torch.tensor([[True, True], [False, True], [True, False], [False, False], [True, False], [False, True]])
    maps = torch.where(loud[:, :, None, None], 2e3 * maps, 0.1 * maps)
    belongs = loud == loud_belong
    gradient = gradient_of(OBJECTIVES["official"], maps, belongs, tau=1.0)
    assert_agrees(gradient, twin.official_gradient(maps.numpy(), belongs.numpy(), tau=1.0))


@pytest.mark.parametrize("name", ["square", "wide", "tall", "no positives", "one filter without positives", "ties"])
def test_the_slopes_of_the_official_code_are_the_twins(name: str) -> None:
    maps, belongs = batch_named(name)
    beta = torch.tensor([4.0, 5.0, 6.0], dtype=float64)
    slopes = centroid_slopes(maps, belongs, beta=beta)
    assert_agrees(slopes, twin.centroid_slope(maps.numpy(), belongs.numpy(), beta=beta.tolist()))
