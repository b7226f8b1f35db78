"""What the objectives do with batches at the edge: silent, tiny, huge, one-sided, half precision, misshapen."""

import pytest
import torch

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.objectives import OBJECTIVES, labelled, mutual_information, template_fitness

Batch = tuple[torch.Tensor, torch.Tensor]


def random_batch(*shape: int, scale: float = 1.0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    maps = scale * torch.randn(shape, generator=generator).relu()
    return maps, torch.rand(shape[:2], generator=generator) < 0.5


def edge_batch(name: str) -> Batch:
    maps, belongs = random_batch(6, 3, 5, 5)
    lone = torch.arange(6)[:, None].expand(6, 3) == 2
    return {
        "no image belongs": (maps, torch.zeros_like(belongs)),
        "every image belongs": (maps, torch.ones_like(belongs)),
        "one image belongs": (maps, lone),
        "all but one image belong": (maps, ~lone),
        "one image": (maps[:1], belongs[:1]),
        "silent": (torch.zeros_like(maps), belongs),
        "constant": (torch.ones_like(maps), belongs),
        "equal images": (maps[:1].expand(6, 3, 5, 5), belongs),
        "one filter silent": (maps * torch.tensor([1.0, 0.0, 1.0])[:, None, None], belongs),
        "one cell": random_batch(6, 3, 1, 1),
        "one silent cell": (torch.zeros(6, 3, 1, 1), belongs),
        "huge": (1e4 * maps, belongs),
        "one huge image": (maps * torch.where(lone, 1e4, 1.0)[:, :, None, None], belongs),
        "huge constant": (1e4 * torch.ones_like(maps), belongs),
        "huge maps of 14 by 14": random_batch(4, 2, 14, 14, scale=1e4),
        "tiny": (1e-30 * maps, belongs),
        "no filters": (maps[:, :0], belongs[:, :0]),
        "no images": (maps[:0], belongs[:0]),
    }[name]


EDGES = [
    *("no image belongs", "every image belongs", "one image belongs", "all but one image belong", "one image"),
    *("silent", "constant", "equal images", "one filter silent", "one cell", "one silent cell", "huge"),
    *("one huge image", "huge constant", "huge maps of 14 by 14", "tiny", "no filters", "no images"),
]
each_objective = pytest.mark.parametrize("objective", OBJECTIVES)


@each_objective
@pytest.mark.parametrize("name", EDGES)
def test_values_and_gradients_stay_finite_in_float32(objective: str, name: str) -> None:
    maps, belongs = edge_batch(name)
    maps = maps.clone().requires_grad_()
    value = OBJECTIVES[objective](maps, belongs, tau=1.0)
    (gradient,) = torch.autograd.grad(value.loss.sum(), maps)
    assert value.loss.shape == (maps.shape[1],)
    assert value.loss.isfinite().all()
    assert gradient.isfinite().all()
    for term, numbers in value.terms.items():
        assert numbers.shape == value.loss.shape, term
        assert numbers.isfinite().all(), term


@each_objective
@pytest.mark.parametrize("tau", [1e-6, 0.5 / 25, 100.0])
def test_values_and_gradients_stay_finite_for_any_tau(objective: str, tau: float) -> None:
    maps, belongs = random_batch(6, 3, 5, 5, scale=50.0)
    maps = maps.clone().requires_grad_()
    value = OBJECTIVES[objective](maps, belongs, tau=tau)
    (gradient,) = torch.autograd.grad(value.loss.sum(), maps)
    assert value.loss.isfinite().all()
    assert gradient.isfinite().all()


@each_objective
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_half_precision_is_computed_in_float32(objective: str, dtype: torch.dtype, scale: float) -> None:
    maps, belongs = random_batch(5, 2, 4, 4, scale=scale)
    half = maps.to(dtype).requires_grad_()
    value = OBJECTIVES[objective](half, belongs, tau=0.3)
    same = OBJECTIVES[objective](half.detach().float(), belongs, tau=0.3)
    (gradient,) = torch.autograd.grad(value.loss.sum(), half)
    assert value.loss.dtype == torch.float32
    torch.testing.assert_close(value.loss.detach(), same.loss)
    assert gradient.dtype == dtype
    assert gradient.isfinite().all()


@each_objective
def test_the_maps_and_labels_given_are_left_as_they_were(objective: str) -> None:
    maps, belongs = random_batch(5, 2, 4, 4)
    before = maps.clone(), belongs.clone()
    OBJECTIVES[objective](maps, belongs, tau=0.3)
    assert torch.equal(maps, before[0])
    assert torch.equal(belongs, before[1])


@pytest.mark.parametrize("members", [0, 1])
def test_fewer_than_two_images_of_the_category_tell_no_place(members: int) -> None:
    maps, _ = random_batch(5, 2, 4, 4)
    belongs = (torch.arange(5) < members)[:, None].expand(5, 2)
    terms = labelled(maps, belongs, tau=1.0).terms
    torch.testing.assert_close(terms["spatial_entropy"], terms["prior_entropy"])


def test_no_image_tells_nothing() -> None:
    assert mutual_information(torch.zeros(0, 3, 4, 4), tau=1.0).loss.tolist() == [0.0, 0.0, 0.0]


@each_objective
def test_no_image_has_the_terms_of_any_batch(objective: str) -> None:
    maps, belongs = random_batch(5, 2, 4, 4)
    terms = OBJECTIVES[objective](maps, belongs, tau=1.0).terms
    assert set(OBJECTIVES[objective](maps[:0], belongs[:0], tau=1.0).terms) == set(terms)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (1, 2, 3, 4, 5), (2, 3, 0, 4), (2, 3, 4, 0)], ids=str)
def test_misshapen_maps_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    pattern = ", ".join(map(str, shape))
    maps, belongs = torch.zeros(shape), torch.zeros(shape[:2], dtype=torch.bool)
    with pytest.raises(ShapeError, match=pattern):
        mutual_information(maps, tau=1.0)
    with pytest.raises(ShapeError, match=pattern):
        template_fitness(maps, tau=1.0)
    for objective in OBJECTIVES.values():
        with pytest.raises(ShapeError, match=pattern):
            objective(maps, belongs, tau=1.0)


@pytest.mark.parametrize("objective", ["labelled", "assigned", "official"])  # `exact` does not read the labels
@pytest.mark.parametrize("shape", [(5,), (5, 1), (1, 2), (2, 5), (5, 2, 1)], ids=str)
def test_labels_that_do_not_fit_the_maps_are_refused_with_both_shapes(objective: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"5, 2") as refusal:
        OBJECTIVES[objective](torch.zeros(5, 2, 4, 4), torch.zeros(shape, dtype=torch.bool), tau=1.0)
    assert ", ".join(map(str, shape)) in str(refusal.value)


@each_objective
def test_slopes_that_do_not_fit_the_filters_are_refused(objective: str) -> None:
    maps, belongs = random_batch(5, 2, 4, 4)
    with pytest.raises(ShapeError, match="3"):
        OBJECTIVES[objective](maps, belongs, tau=1.0, beta=torch.full((3,), 4.0))


@each_objective
@pytest.mark.parametrize("constants", [{"tau": 0.0}, {"tau": -1.0}, {"tau": 1.0, "beta": 0.0}], ids=str)
def test_impossible_templates_are_refused(objective: str, constants: dict[str, float]) -> None:
    maps, belongs = random_batch(5, 2, 4, 4)
    with pytest.raises(ConfigError):
        OBJECTIVES[objective](maps, belongs, **constants)


def test_an_alpha_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ConfigError, match="alpha"):
        mutual_information(torch.zeros(2, 2, 3, 3), tau=1.0, alpha=1.5)
