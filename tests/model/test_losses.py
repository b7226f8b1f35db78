"""What the losses refuse, so that none of them teaches nothing in silence; and what one bad batch leaves as it was."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.model.competing_mask import CompetingMask
from partcnn.model.conversion import convert
from partcnn.model.losses import diversity_loss, equivariance_loss, filter_loss
from partcnn.model.mask import PartMask, part_masks, top_mask
from partcnn.objectives import OBJECTIVES
from partcnn.objectives.category_memory import CategoryMemory
from partcnn.training.fitting import fit
from tests.own_net import OwnNet

SIZE = (32, 32)
LABELS = torch.tensor([0, 1, 0, 1])
KINDS: dict[str, dict[str, Any]] = {
    "competing": {},
    **{name: {"objective": name} for name in OBJECTIVES},
    "original": {"head": "original"},
}


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 3, *SIZE, generator=generator)


def frozen_statistics(model: nn.Module) -> nn.Module:
    """In training but for the network's own running means."""
    for module in model.train().modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    return model


def kind_of(value: object) -> str:
    return type(value).__name__


def small(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    return convert(OwnNet(), "stem", num_classes=2, input_size=SIZE, dropout=0.0, erasing=0.0, **settings)


# --- a graph


def without_gradients(model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        model(images)


def in_inference(model: nn.Module, images: Tensor) -> None:
    with torch.inference_mode():
        model(images)


def reentrant(model: nn.Module, images: Tensor) -> None:
    checkpoint(model, images.clone().requires_grad_(), use_reentrant=True)


def all_frozen(model: nn.Module, images: Tensor) -> None:
    model.requires_grad_(False)
    model(images)


@pytest.mark.parametrize("run", [without_gradients, in_inference, reentrant, all_frozen])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_without_a_graph_are_an_error_in_training(
    kind: str, run: Callable[[nn.Module, Tensor], None], images: Tensor
) -> None:
    model = small(**KINDS[kind]).train()
    run(model, images)
    frames, centers = torch.eye(2, 3).expand(4, 2, 3), {}
    for name, mask in part_masks(model):
        centers[name] = tuple(torch.linspace(0, 1, side) for side in mask.feature_maps.shape[2:])
    for loss in (
        lambda: filter_loss(model, LABELS),
        lambda: equivariance_loss(model, LABELS, frames, centers),
        lambda: diversity_loss(model, LABELS),
    ):
        with pytest.raises(ConfigError, match=r"expected maps with a graph in training.*teach nothing"):
            loss()
    assert top_mask(model)[1].mean_peak == 0  # nothing was observed


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_without_gradients_is_a_figure_where_none_are_asked_for(kind: str, images: Tensor) -> None:
    model = small(**KINDS[kind]).train()
    with torch.no_grad():
        model(images)
        assert not filter_loss(model, LABELS).requires_grad
    without_gradients(model.eval(), images)
    assert not filter_loss(model, LABELS).requires_grad
    model.train()(images)
    assert filter_loss(model, LABELS).requires_grad


def test_a_mask_below_which_all_is_frozen_on_purpose_is_left_out_by_its_weight(images: Tensor) -> None:
    model = small(head="original").train()
    model.stem.requires_grad_(False)
    model(images)
    with pytest.raises(ConfigError, match="loss_weight to 0"):
        filter_loss(model, LABELS)
    top_mask(model)[1].loss_weight = 0.0
    assert filter_loss(model, LABELS) == 0


# --- a bad batch


def spoiled(images: Tensor, value: float) -> Tensor:
    images = images.clone()
    images[1, :, 3, 3] = value
    return images


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("kind", KINDS)
def test_one_bad_batch_spoils_no_statistic(kind: str, value: float, images: Tensor) -> None:
    model = frozen_statistics(small(**KINDS[kind]))
    for _ in range(2):
        model(images)
        filter_loss(model, LABELS)
        model(spoiled(images, value))
        filter_loss(model, LABELS)
    for name, mask in part_masks(model):
        for key, buffer in mask.named_buffers():
            assert buffer.isfinite().all(), f"{name}.{key}"
        assert mask.mean_peak > 0
    model(images)
    assert filter_loss(model, LABELS).isfinite()


def test_what_is_finite_of_a_bad_batch_still_counts(images: Tensor) -> None:
    mask = PartMask(2, 2, objective="exact").train()
    maps = torch.ones(4, 2, 3, 3, requires_grad=True)
    mask(maps)
    filter_loss(mask, LABELS)
    before = mask.class_activation.clone()
    bad = torch.full((4, 2, 3, 3), 2.0)
    bad[0, 0] = torch.nan  # of filter 0, class 0
    mask(bad.requires_grad_())
    filter_loss(mask, LABELS)
    assert torch.equal(mask.class_activation[0], before[0])
    assert (mask.class_activation[1] > before[1]).all()


def test_a_memory_keeps_nothing_that_is_not_finite() -> None:
    memory, category = CategoryMemory(4), torch.tensor([0, 0])
    belongs = torch.ones(2, 2, dtype=torch.bool)
    values = torch.ones(2, 2, 3, 3)
    values[0, 0, 1, 1] = torch.nan
    memory.remember(values, belongs, category)
    memory.remember(torch.ones(2, 2, 3, 3), belongs, category)
    recalled, is_remembered = memory.recalled(values, category)
    assert recalled.isfinite().all()
    assert is_remembered.sum(dim=0).tolist() == [1, 2]


# --- other arguments


@pytest.mark.parametrize("labels", [[0, 1, 0, 1], LABELS.numpy(), 1, (0, 1, 0, 1), None], ids=kind_of)
def test_labels_that_are_no_tensor_are_refused_by_name(labels: Any, images: Tensor) -> None:
    model = small()
    model(images)
    frames = torch.eye(2, 3).expand(4, 2, 3)
    for loss in (
        lambda: filter_loss(model, labels),
        lambda: equivariance_loss(model, labels, frames, {}),
        lambda: diversity_loss(model, labels),
        lambda: top_mask(model)[1].filter_objective(labels),
    ):
        with pytest.raises(ShapeError, match=f"^labels: expected a tensor .*got a {type(labels).__name__}"):
            loss()
    with pytest.raises(ShapeError, match=r"^frames: expected a tensor"):
        equivariance_loss(model, LABELS, [frames], {})  # type: ignore[arg-type]
    with pytest.raises(LayerError, match="got a str"):
        filter_loss("model", LABELS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "image",
    [torch.zeros(3, *SIZE).numpy(), [torch.zeros(3, *SIZE)], 3, None, b"photo"],
    ids=kind_of,
)
def test_an_image_of_another_kind_is_refused_by_name(image: Any) -> None:
    with pytest.raises(ConfigError, match=f"^image: expected a path, .* got a {type(image).__name__}"):
        explain(small(), image)


def test_pixels_that_were_not_preprocessed_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"^image: expected a preprocessed tensor of floats, got torch\.uint8"):
        explain(small(), torch.zeros(3, *SIZE, dtype=torch.uint8))


@pytest.mark.parametrize("images", [torch.zeros(1, 3, *SIZE).numpy(), [[0.0]], 3, None], ids=kind_of)
def test_the_network_itself_refuses_what_is_no_tensor_by_name(images: Any) -> None:
    with pytest.raises(ShapeError, match=f"^images: expected a tensor .* got a {type(images).__name__}"):
        small()(images)


@pytest.mark.parametrize("dataset", ["folder:pictures", [1, 2], None], ids=kind_of)
def test_a_data_set_of_another_kind_is_refused_by_name(dataset: Any) -> None:
    from partcnn.evaluation.measurement import evaluate
    from partcnn.foundation.errors import DataError
    from partcnn.reporting.writing import report
    from partcnn.training.pruning import prune

    model = small()
    for use in (fit, evaluate, lambda *given: prune(*given, keep=0.5), lambda *given: report(*given, "page.html")):
        with pytest.raises(DataError, match=f"^dataset: expected one of .*{type(dataset).__name__}"):
            use(model, dataset)


def test_the_missing_forward_pass_is_told_by_what_was_done(images: Tensor) -> None:
    model = small()
    with pytest.raises(ConfigError, match=r"got none .*call model\(images\) first"):
        filter_loss(model, LABELS)
    model(images)
    explain(model, images[0])
    with pytest.raises(ConfigError, match=r"were let go, as explain and evaluate do"):
        filter_loss(model, LABELS)
    torch.vmap(lambda image: model.eval()(image[None]))(images)
    with pytest.raises(ConfigError, match=r"got one within torch\.func"):
        filter_loss(model, LABELS)
    model(images)
    assert filter_loss(model, LABELS).isfinite()


# --- torch.func


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*is deprecated:DeprecationWarning")  # torch's jvp asks for it
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_runs_within_torch_func_in_evaluation_mode(kind: str, images: Tensor) -> None:
    model = small(**KINDS[kind]).eval()
    head = model.classifier if kind == "original" else model.head
    nn.init.normal_(head.shared_weight if kind == "competing" else head.weight)
    weights = dict(model.named_parameters())

    def total(values: dict[str, Tensor], pictures: Tensor) -> Tensor:
        return torch.func.functional_call(model, values, (pictures,)).square().sum()

    expected = model(images)
    torch.testing.assert_close(torch.vmap(lambda image: model(image[None])[0])(images), expected)
    found = torch.func.grad(total)(weights, images)
    expected.square().sum().backward()
    for name, weight in weights.items():
        if weight.grad is not None:
            torch.testing.assert_close(found[name], weight.grad, atol=1e-3, rtol=1e-4)
    of_each = torch.vmap(torch.func.grad(lambda values, image: total(values, image[None])), (None, 0))(weights, images)
    summed = {name: values.sum(dim=0) for name, values in of_each.items()}
    torch.testing.assert_close(summed, found, atol=1e-3, rtol=1e-4)
    _, along = torch.func.jvp(lambda pictures: total(weights, pictures), (images,), (images,))
    assert along.isfinite()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_refused_within_torch_func(kind: str, images: Tensor) -> None:
    model = frozen_statistics(small(**KINDS[kind]))
    weights = dict(model.named_parameters())
    before = {key: value.clone() for key, value in model.state_dict().items() if "mask" in key}

    def loss(values: dict[str, Tensor]) -> Tensor:
        torch.func.functional_call(model, values, (images,))
        return filter_loss(model, LABELS)

    with pytest.raises(ConfigError, match=r"^filter_loss: expected a call outside of torch\.func.*autograd\.grad"):
        torch.func.grad(loss)(weights)
    model(images)
    with pytest.raises(ConfigError, match=r"outside of torch\.func"):
        torch.vmap(lambda image: image.sum() + filter_loss(model, LABELS))(images)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())
    torch.func.functional_call(model, weights, (images,))  # of itself no transform
    assert filter_loss(model, LABELS).requires_grad


def test_a_competing_mask_keeps_nothing_of_a_transform(images: Tensor) -> None:
    model = small().eval()
    torch.vmap(lambda image: model(image[None]))(images)
    _, mask = top_mask(model)
    assert isinstance(mask, CompetingMask)
    assert mask.feature_maps is None
    assert mask.last_features is None
