"""Masks, part layers and the filter loss as modules: their state, copies, precisions, and what they refuse."""

import copy
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.model.competing_mask import competing_masks
from partcnn.model.conversion import convert
from partcnn.model.losses import filter_loss, filter_loss_terms
from partcnn.model.mask import PartMask, part_masks
from partcnn.model.modules import AdditiveHead, PartConv2d
from partcnn.model.network import PartNetwork
from partcnn.networks.demo_net import DemoNet
from partcnn.objectives import OBJECTIVES, Objective, ObjectiveValue
from partcnn.objectives.templates import part_mask

SIZE = (64, 64)
LABELS = torch.tensor([0, 1, 0, 1])


@pytest.fixture
def maps(generator: torch.Generator) -> Tensor:
    """[image, filter, row, col], as a ReLU leaves them."""
    return torch.randn(4, 6, 7, 5, generator=generator).relu()


@pytest.fixture
def pictures(generator: torch.Generator) -> Tensor:
    return torch.randn(4, 3, *SIZE, generator=generator)


@pytest.fixture(params=["competing", "labelled"])
def resnet(request: pytest.FixtureRequest) -> PartNetwork:
    torch.manual_seed(0)
    settings = {"objective": request.param, "filters": 8, "dropout": 0.0, "erasing": 0.0, "input_size": SIZE}
    model = convert(torchvision.models.resnet18(), "layer2", num_classes=2, **settings)
    assert isinstance(model, PartNetwork)
    nn.init.normal_(model.head.weight, std=0.01)  # that of filters that compete starts at zero
    return model


@pytest.fixture
def masked_demo_net() -> nn.Module:
    torch.manual_seed(0)
    return convert(DemoNet(num_classes=2), "features", num_classes=2, head="original", input_size=SIZE)


def buffers(model: nn.Module) -> dict[str, Tensor]:
    """The state of all part masks, copied."""
    return {f"{name}.{key}": value.clone() for name, mask in part_masks(model) for key, value in mask.named_buffers()}


# --- the mask


def test_a_mask_passes_on_the_masked_maps_and_keeps_the_maps_as_they_came(maps: Tensor) -> None:
    mask = PartMask(6, 2)
    assert torch.equal(mask(maps), part_mask(maps))
    assert mask.feature_maps is maps


def test_a_mask_that_is_not_enabled_passes_the_maps_on_unchanged_but_records_them(maps: Tensor) -> None:
    mask = PartMask(6, 2, enabled=False)
    assert torch.equal(mask(maps), maps)
    assert mask.feature_maps is maps


def test_masking_for_a_look_records_nothing(maps: Tensor) -> None:
    mask = PartMask(6, 2)
    assert torch.equal(mask.masked(maps), part_mask(maps))
    assert mask.feature_maps is None


def test_the_official_mask_uses_its_learned_slopes(maps: Tensor) -> None:
    mask = PartMask(6, 2, objective="official")
    mask.slopes.copy_(torch.linspace(1.5, 3, 6))
    assert torch.equal(mask(maps), part_mask(maps, beta=mask.slopes))
    assert not torch.equal(mask(maps), part_mask(maps))


def test_a_part_layer_is_a_convolution_of_the_same_size_a_relu_and_a_mask(generator: torch.Generator) -> None:
    layer = PartConv2d(3, 6, 2, kernel_size=5)
    nn.init.normal_(layer.bias)
    images = torch.randn(2, 3, 9, 7, generator=generator)
    expected = F.conv2d(images, layer.weight, layer.bias, padding=2).relu()
    assert torch.equal(layer(images), part_mask(expected))
    assert torch.equal(layer.mask.feature_maps, expected)


@pytest.mark.parametrize("grid", [1, 3, 9])
def test_the_head_is_linear_in_the_maps_pooled_to_its_grid(maps: Tensor, grid: int) -> None:
    head = AdditiveHead(6, 3, grid=grid)
    nn.init.normal_(head.bias)
    pooled = F.adaptive_avg_pool2d(maps, grid)
    by_hand = (pooled[:, None] * head.weight[None]).sum(dim=(3, 4))  # [image, class, filter]
    torch.testing.assert_close(head.contributions(maps), by_hand)
    torch.testing.assert_close(head(maps), by_hand.sum(dim=2) + head.bias)


@pytest.mark.parametrize(
    ("build", "argument"),
    [
        (lambda: PartMask(4, 2, objective="mutual"), "objective"),
        (lambda: PartMask(4, 2, assignment="fair"), "assignment"),
        (lambda: PartMask(4, 2, loss_weight=-1.0), "loss_weight"),
        (lambda: PartMask(4, 2, fitness_scale=0.0), "fitness_scale"),
        (lambda: PartMask(4, 2, beta=float("nan")), "beta"),
        (lambda: PartMask(4, 1, background=0), "num_classes"),
        (lambda: PartConv2d(3, 4, 2, kernel_size=2), "kernel_size"),
        (lambda: AdditiveHead(4, 2, grid=0), "grid"),
    ],
    ids=["objective", "assignment", "weight", "scale", "slope", "background", "kernel", "grid"],
)
def test_a_setting_outside_what_it_may_be_is_named(build: object, argument: str) -> None:
    with pytest.raises(ConfigError, match=argument):
        build()  # type: ignore[operator]


# --- categories


@pytest.mark.parametrize("background", [None, 0, 2])
def test_even_assignment_shares_the_filters_out_and_leaves_the_background_none(background: int | None) -> None:
    counts = PartMask(10, 4, background=background).filter_category.bincount(minlength=4).tolist()
    owners = [count for label, count in enumerate(counts) if label != background]
    assert max(owners) - min(owners) <= 1
    assert sum(owners) == 10
    assert background is None or counts[background] == 0


@pytest.mark.parametrize(
    ("objective", "expected"),
    [("labelled", "even"), ("exact", "activation"), ("assigned", "activation"), ("official", "activation")],
)
def test_only_the_labelled_objective_shares_filters_out_from_the_start(objective: str, expected: str) -> None:
    assert PartMask(4, 2, objective=objective).assignment == expected


def firing_on(filters_by_class: list[list[int]], labels: Tensor, num_filters: int) -> Tensor:
    """Maps that are 1 in one cell where the filter belongs to the image's class, else 0.1."""
    maps = torch.zeros(len(labels), num_filters, 4, 4)
    maps[:, :, 1, 2] = 0.1
    for image, label in enumerate(labels.tolist()):
        maps[image, filters_by_class[label], 1, 2] = 1.0
    return maps


def test_assignment_by_activation_follows_the_class_a_filter_fires_on() -> None:
    mask = PartMask(3, 3, assignment="activation")
    labels = torch.tensor([0, 1, 2, 2])
    mask(firing_on([[2], [0], [1]], labels, 3))
    mask.filter_objective(labels)
    assert mask.filter_category.tolist() == [1, 2, 0]
    for _ in range(20):  # the running means turn round
        mask(firing_on([[0], [1], [2]], labels, 3))
        mask.filter_objective(labels)
    assert mask.filter_category.tolist() == [0, 1, 2]


def test_assignment_by_activation_never_gives_a_filter_to_the_background() -> None:
    mask = PartMask(2, 3, assignment="activation", background=0)
    labels = torch.tensor([0, 1, 2])
    mask(firing_on([[0, 1], [], []], labels, 2))
    mask.filter_objective(labels)
    assert 0 not in mask.filter_category.tolist()


def test_even_assignment_does_not_follow_the_data() -> None:
    mask = PartMask(2, 2)
    mask(firing_on([[1], [0]], torch.tensor([0, 1]), 2))
    mask.filter_objective(torch.tensor([0, 1]))
    assert mask.filter_category.tolist() == [0, 1]
    torch.testing.assert_close(mask.class_activation, torch.tensor([[0.1, 1.0], [1.0, 0.1]]))


def test_a_class_absent_from_the_batch_keeps_its_mean_activation() -> None:
    mask = PartMask(1, 2)
    mask(torch.full((2, 1, 2, 2), 1.0))
    mask.filter_objective(torch.tensor([0, 1]))
    mask(torch.full((2, 1, 2, 2), 2.0))
    mask.filter_objective(torch.tensor([1, 1]))
    torch.testing.assert_close(mask.class_activation, torch.tensor([[4.0, 0.9 * 4 + 0.1 * 8]]))


# --- state


def test_mean_peak_is_a_running_mean_of_the_maps_peaks_that_starts_at_the_first(maps: Tensor) -> None:
    mask = PartMask(6, 2)
    first = maps.amax(dim=(2, 3)).mean()
    mask(maps)
    mask.filter_objective(LABELS)
    torch.testing.assert_close(mask.mean_peak, first)
    mask(3 * maps)
    mask.filter_objective(LABELS)
    torch.testing.assert_close(mask.mean_peak, 0.9 * first + 0.1 * 3 * first)


def test_the_loss_does_not_depend_on_the_scale_of_the_first_activations(maps: Tensor) -> None:
    losses = []
    for scale in (1.0, 1000.0):
        mask = PartMask(6, 2)
        mask(maps * scale)
        losses.append(mask.filter_objective(LABELS).loss)
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_objective_gets_maps_of_mean_peak_one_and_tau_per_cell(maps: Tensor, objective: str) -> None:
    mask = PartMask(6, 2, objective=objective, fitness_scale=30.0).eval()
    mask(maps)
    scaled = maps / maps.amax(dim=(2, 3)).mean()
    belongs = LABELS[:, None] == mask.filter_category
    expected = OBJECTIVES[objective](scaled, belongs, tau=30.0 / 35, beta=mask.template_slope).loss
    torch.testing.assert_close(mask.filter_objective(LABELS).loss, expected)


@pytest.mark.parametrize("objective", ["labelled", "official"])
def test_buffers_stay_as_they_are_in_evaluation_mode(maps: Tensor, objective: str) -> None:
    mask = PartMask(6, 2, objective=objective, assignment="activation")
    mask(maps)
    mask.filter_objective(LABELS)
    before = {name: value.clone() for name, value in mask.named_buffers()}
    mask.eval()
    mask(5 * maps.flip(0))
    mask.filter_objective(LABELS)
    assert all(torch.equal(value, before[name]) for name, value in mask.named_buffers())


def test_a_forward_pass_alone_changes_no_state_in_training_mode_either(
    masked_demo_net: nn.Module, pictures: Tensor
) -> None:
    before = buffers(masked_demo_net)
    masked_demo_net.train()(pictures)
    assert all(torch.equal(value, before[name]) for name, value in buffers(masked_demo_net).items())


def test_the_official_objective_learns_its_slopes_in_training(maps: Tensor) -> None:
    mask = PartMask(6, 2, objective="official")
    mask(maps)
    mask.filter_objective(LABELS)
    assert (mask.slopes != 4.0).all()
    assert ((mask.slopes > 1.5) & (mask.slopes < 4.0)).all()  # their bounds are 1.5 and 3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_any_objective_can_be_asked_for_in_place_of_the_networks_own(maps: Tensor, objective: str) -> None:
    mask = PartMask(6, 2)
    mask(maps)
    value = filter_loss(mask, LABELS, objective)
    assert value.isfinite()
    reference = PartMask(6, 2, objective=objective, assignment="even")
    reference(maps)
    if objective != "official":  # which has slopes of its own
        torch.testing.assert_close(value, filter_loss(reference, LABELS))


def test_all_state_is_saved_and_loaded(masked_demo_net: nn.Module, pictures: Tensor) -> None:
    fresh = copy.deepcopy(masked_demo_net)
    masked_demo_net.train()(pictures)
    filter_loss(masked_demo_net, LABELS)
    state = masked_demo_net.state_dict()
    mask = "features.block4.relu.part_mask"
    assert state[f"{mask}.mean_peak"] > 0
    assert {f"{mask}.{name}" for name in ("mean_peak", "filter_category", "class_activation")} <= state.keys()
    fresh.load_state_dict(state)
    assert all(torch.equal(value, state[key]) for key, value in fresh.state_dict().items())
    masked_demo_net.eval()
    fresh.eval()
    assert torch.equal(fresh(pictures), masked_demo_net(pictures))
    assert filter_loss(fresh, LABELS) == filter_loss(masked_demo_net, LABELS)


# --- the loss


def test_the_filter_loss_is_the_weighted_mean_over_filters_summed_over_layers(maps: Tensor) -> None:
    model = nn.Sequential(PartMask(6, 2, loss_weight=0.5), PartMask(6, 2, loss_weight=2.0)).eval()
    model(maps)
    values = [mask.filter_objective(LABELS) for mask in model]
    loss, terms = filter_loss_terms(model, LABELS)
    torch.testing.assert_close(loss, 0.5 * values[0].loss.mean() + 2.0 * values[1].loss.mean())
    for name, term in terms.items():
        torch.testing.assert_close(term, values[0].terms[name].mean() + values[1].terms[name].mean())


def test_without_an_objective_the_loss_is_zero_and_has_a_graph() -> None:
    maps = torch.rand(2, 3, 4, 4, requires_grad=True)
    mask = PartMask(3, 2, objective=None)
    mask(maps)
    loss = filter_loss(mask, torch.tensor([0, 1]))
    loss.backward()
    assert loss == 0
    assert maps.grad is not None
    assert not maps.grad.any()


@pytest.mark.parametrize("objective", [*OBJECTIVES, None])
def test_no_images_give_a_loss_of_zero_with_a_graph_and_leave_the_state(objective: str | None) -> None:
    maps = torch.rand(0, 3, 4, 4, requires_grad=True)
    mask = PartMask(3, 2, objective=objective)
    mask(maps)
    loss = filter_loss(mask, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert mask.mean_peak == 0


def test_a_loss_before_the_first_forward_pass_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match="forward pass"):
        filter_loss(PartMask(3, 2), LABELS)


@pytest.mark.parametrize(
    "labels", [LABELS[:3], LABELS.repeat(2), LABELS[:, None], LABELS.float()], ids=["few", "many", "column", "floats"]
)
def test_labels_that_are_not_one_class_index_per_image_are_refused(maps: Tensor, labels: Tensor) -> None:
    mask = PartMask(6, 2)
    mask(maps)
    with pytest.raises(ShapeError, match="expected 4 class indices"):
        filter_loss(mask, labels)
    assert mask.mean_peak == 0


def test_an_unknown_objective_is_answered_with_those_there_are(maps: Tensor) -> None:
    mask = PartMask(6, 2)
    mask(maps)
    with pytest.raises(ConfigError, match=r"labelled.*got 'mutual'"):
        filter_loss(mask, LABELS, "mutual")


def test_a_network_without_part_masks_has_no_filter_loss() -> None:
    with pytest.raises(LayerError, match=r"partcnn\.convert"):
        filter_loss(nn.ReLU(), LABELS)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_reaches_every_part_layer_and_the_trunk(pictures: Tensor, objective: str) -> None:
    torch.manual_seed(0)
    model = convert(DemoNet(), "features", num_classes=2, filters=6, new_layers=2, objective=objective, input_size=SIZE)
    model(pictures)
    filter_loss(model, LABELS).backward()
    assert model.part_layers[0].weight.grad.any()
    assert model.part_layers[1].weight.grad.any()
    assert model.trunk.network.features.block1.conv.weight.grad.any()
    assert model.head.weight.grad is None


# --- observing


def statistics(mask: PartMask) -> dict[str, Tensor]:
    """All that a mask has learned from the passes so far, copied."""
    found = {name: value.clone() for name, value in mask.named_buffers()}
    for name, memory in mask._remembered.items():
        for index, batch in enumerate(memory._state or ()):
            found |= {f"{name}.{index}.values": batch.values.clone(), f"{name}.{index}.labels": batch.labels.clone()}
    return found


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def after_passes(mask: PartMask, *passes: Tensor, num_requests: int = 1) -> list[Tensor]:
    """The losses of passes of maps, each asked for several times; the last answer of each."""
    losses = []
    for maps in passes:
        mask(maps)
        for _ in range(num_requests):
            loss = filter_loss(mask, LABELS)
        losses.append(loss)
    return losses


@pytest.mark.parametrize("objective", [*OBJECTIVES, None])
def test_asking_twice_for_a_loss_changes_nothing(maps: Tensor, objective: str | None) -> None:
    once, twice = (PartMask(6, 2, objective=objective, memory=5) for _ in range(2))
    passes = (maps, 2 * maps.flip(0), maps.flip(2))
    expected = after_passes(once, *passes)
    assert after_passes(twice, *passes, num_requests=3) == expected
    assert_same(statistics(twice), statistics(once))
    if objective is not None:
        assert expected[0] != expected[1]


@pytest.mark.parametrize("other", OBJECTIVES)
def test_asking_for_another_objective_first_leaves_the_masks_own_as_it_is(maps: Tensor, other: str) -> None:
    asked, unasked = (PartMask(6, 2, objective="official") for _ in range(2))
    for mask in (asked, unasked):
        mask(maps)
    filter_loss(asked, LABELS, other)
    assert filter_loss(asked, LABELS) == filter_loss(unasked, LABELS)
    assert_same(statistics(asked), statistics(unasked))


def test_every_pass_is_observed_once_also_one_of_the_very_same_maps(maps: Tensor) -> None:
    mask = PartMask(6, 2, objective="official", memory=3)
    first, second, third = after_passes(mask, maps, maps, maps)
    other = PartMask(6, 2, objective="official", memory=3)
    assert after_passes(other, maps.clone(), maps.clone(), maps.clone()) == [first, second, third]
    assert_same(statistics(mask), statistics(other))
    assert first != second != third  # its slopes have moved


def test_passes_whose_gradients_add_up_are_each_observed(resnet: PartNetwork, pictures: Tensor) -> None:
    resnet.train()
    peaks = []
    for part in pictures.split(2):
        (resnet(part).sum() + filter_loss(resnet, LABELS[:2])).backward()
        peaks.append(resnet.part_layers[-1].mask.feature_maps.detach().amax(dim=(2, 3)).mean())
    torch.testing.assert_close(resnet.part_layers[-1].mask.mean_peak, peaks[0].lerp(peaks[1], 0.1))


def test_the_official_loss_is_of_the_slopes_that_its_pass_was_masked_with(maps: Tensor) -> None:
    mask = PartMask(6, 2, objective="official")
    mask.slopes.copy_(torch.linspace(2, 5, 6))
    before = mask.slopes.clone()
    mask(maps)
    found = mask.filter_objective(LABELS).loss
    belongs = LABELS[:, None] == mask.filter_category
    tau = mask.fitness_scale / 35 / mask.mean_peak
    assert torch.equal(found, OBJECTIVES["official"](maps, belongs, tau=tau, beta=before).loss)
    assert (mask.slopes != before).all()


def test_a_pass_that_was_observed_by_hand_is_not_observed_again(maps: Tensor) -> None:
    by_hand, by_loss = (PartMask(6, 2, objective="official", memory=3) for _ in range(2))
    for mask in (by_hand, by_loss):
        mask(maps)
    by_hand.observe(by_hand.feature_maps, LABELS)
    assert filter_loss(by_hand, LABELS) == filter_loss(by_loss, LABELS)
    assert_same(statistics(by_hand), statistics(by_loss))


def test_a_look_in_evaluation_mode_does_not_count_as_an_observation(maps: Tensor) -> None:
    mask = PartMask(6, 2).eval()
    mask(maps)
    filter_loss(mask, LABELS)
    assert mask.mean_peak == 0
    filter_loss(mask.train(), LABELS)
    assert mask.mean_peak > 0


def test_observing_is_in_full_precision_under_autocast_too(maps: Tensor) -> None:
    inside, outside = PartMask(6, 2), PartMask(6, 2)
    inside(maps)
    outside(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside.filter_objective(LABELS)
    outside.filter_objective(LABELS)
    assert_same(statistics(inside), statistics(outside))


def test_what_an_activation_checkpoint_runs_again_is_no_pass_of_its_own(resnet: PartNetwork, pictures: Tensor) -> None:
    resnet(3 * pictures)  # else the running means would be those of one batch, however often it is seen
    filter_loss(resnet, LABELS)
    twin = copy.deepcopy(resnet)
    share = torch.rand(4, 8, 8)
    logits = checkpoint(resnet, pictures, use_reentrant=False)
    expected_logits = twin(pictures)
    for mask in [*competing_masks(resnet), *competing_masks(twin)]:
        mask.object_share = share  # of this pass too
    loss = filter_loss(resnet, LABELS)
    (logits.sum() + loss).backward()
    (expected_logits.sum() + filter_loss(twin, LABELS)).backward()
    before = buffers(resnet)
    assert filter_loss(resnet, LABELS) == loss
    assert_same(buffers(resnet), before)
    assert_same(buffers(resnet), buffers(twin))
    for ours, theirs in zip(resnet.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_network_observes_every_pass(masked_demo_net: nn.Module, pictures: Tensor, backend: str) -> None:
    twin = copy.deepcopy(masked_demo_net.train())
    compiled = torch.compile(masked_demo_net, backend=backend, fullgraph=True)
    for scale in (1, 2, 3):
        for model in (compiled, twin):
            model(scale * pictures)
            filter_loss(model, LABELS)
            filter_loss(model, LABELS)
    for name, value in buffers(masked_demo_net).items():
        torch.testing.assert_close(value, buffers(twin)[name], atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


def test_a_copy_has_seen_no_pass(maps: Tensor) -> None:
    mask = PartMask(6, 2, objective="official")
    after_passes(mask, maps)
    copied = copy.deepcopy(mask)
    with pytest.raises(ConfigError, match="forward pass"):
        filter_loss(copied, LABELS)
    assert after_passes(copied, 2 * maps) == after_passes(mask, 2 * maps)
    assert_same(statistics(copied), statistics(mask))


def test_an_objective_of_ones_own_is_a_row_of_the_table(maps: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    def quiet(maps: Tensor, belongs: Tensor, *, tau: object, beta: object = 4.0) -> ObjectiveValue:
        return ObjectiveValue(maps.mean(dim=(0, 2, 3)), {})

    def narrower(maps: Tensor, belongs: Tensor, *, beta: Tensor) -> Tensor:
        return torch.full_like(beta, 2.0)

    monkeypatch.setitem(OBJECTIVES, "quiet", quiet)  # type: ignore[call-overload]
    monkeypatch.setitem(OBJECTIVES, "narrowing", Objective(quiet, "even", slope_target=narrower))  # type: ignore[call-overload]
    for name, assignment in (("quiet", "activation"), ("narrowing", "even")):
        mask = PartMask(6, 2, objective=name)
        mask(maps)
        torch.testing.assert_close(mask.filter_objective(LABELS).loss, maps.mean(dim=(0, 2, 3)))
        assert mask.assignment == assignment
    torch.testing.assert_close(mask.slopes, torch.full((6,), 4.0).lerp(torch.tensor(2.0), 0.02))


def test_an_objective_that_counts_earlier_maps_is_given_them(maps: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counting(
        maps: Tensor, belongs: Tensor, *, tau: object, beta: object = 4.0, counted: Tensor | None = None
    ) -> ObjectiveValue:
        counts.append(None if counted is None else (len(maps), counted.sum(dim=0).tolist()))
        return ObjectiveValue(maps.sum(dim=(0, 2, 3)), {})

    monkeypatch.setitem(OBJECTIVES, "counting", Objective(counting, "even", counts_earlier=True))  # type: ignore[call-overload]
    mask = PartMask(6, 2, objective="counting", memory=3)
    after_passes(mask, maps, maps, num_requests=2)
    after_passes(mask.eval(), maps)
    assert counts == [(7, [4] * 6)] * 2 + [(7, [6] * 6)] * 2 + [None]


# --- copies, compilers, precisions


@pytest.mark.parametrize("head", ["additive", "original"])
def test_a_copy_records_in_its_own_masks(pictures: Tensor, head: str) -> None:
    torch.manual_seed(0)
    model = convert(DemoNet(num_classes=2), "features", num_classes=2, head=head, input_size=SIZE)
    model(pictures)
    recorded = [mask.feature_maps for _, mask in part_masks(model)]
    assert all(maps is not None and maps.grad_fn is not None for maps in recorded)
    copied = copy.deepcopy(model)
    assert all(mask.feature_maps is None for _, mask in part_masks(copied))
    with torch.no_grad():
        copied(2 * pictures[:3])
    assert all(mask.feature_maps is maps for (_, mask), maps in zip(part_masks(model), recorded, strict=True))
    assert all(mask.feature_maps.shape[0] == 3 for _, mask in part_masks(copied))


def test_the_hook_of_a_copy_masks_with_the_copys_mask(masked_demo_net: nn.Module, pictures: Tensor) -> None:
    masked_demo_net.eval()
    copied = copy.deepcopy(masked_demo_net)
    before = copied(pictures)
    for _, mask in part_masks(masked_demo_net):
        mask.enabled = False
    assert torch.equal(copied(pictures), before)
    for _, mask in part_masks(copied):
        mask.enabled = False
    assert not torch.equal(copied(pictures), before)


@pytest.mark.parametrize("is_training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_network_has_no_graph_break_and_the_same_losses_and_gradients(
    resnet: PartNetwork, pictures: Tensor, backend: str, is_training: bool
) -> None:
    resnet.train(is_training)
    twin = copy.deepcopy(resnet)
    compiled = torch.compile(resnet, backend=backend, fullgraph=True)
    losses = []
    for model in (compiled, twin):
        logits = model(pictures)
        loss = filter_loss(model, LABELS)
        (F.cross_entropy(logits, LABELS) + loss).backward()
        losses.append((logits.detach(), loss.detach()))
    torch.testing.assert_close(losses[0], losses[1], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(resnet.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


def test_a_compiled_masked_network_answers_as_without_compiling(masked_demo_net: nn.Module, pictures: Tensor) -> None:
    masked_demo_net.eval()
    compiled = torch.compile(masked_demo_net, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(pictures), masked_demo_net(pictures))
    compiled(pictures)
    torch.testing.assert_close(filter_loss(compiled, LABELS), filter_loss(masked_demo_net, LABELS))
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's inductor
@pytest.mark.parametrize("objective", ["competing", "labelled"])
def test_a_network_compiled_to_machine_code_answers_as_without_compiling(
    objective: str, pictures: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU())
    model = convert(trunk, "1", num_classes=2, filters=4, objective=objective, input_size=SIZE).eval()
    with torch.no_grad():
        logits = model(pictures)
        loss = filter_loss(model, LABELS)
        compiled = torch.compile(model, fullgraph=True)
        torch.testing.assert_close(compiled(pictures), logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(filter_loss(compiled, LABELS), loss, atol=1e-5, rtol=1e-4)
    torch._dynamo.reset()


def test_under_autocast_the_filter_loss_is_computed_in_float32(resnet: PartNetwork, pictures: Tensor) -> None:
    resnet.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = resnet(pictures)
        loss = filter_loss(resnet, LABELS)
        task_loss = F.cross_entropy(logits.float(), LABELS)
    assert loss.dtype == torch.float32
    if not competing_masks(resnet):  # whose loss by hand is in test_competing_network
        assert resnet.part_layers[-1].mask.feature_maps.dtype == torch.bfloat16
        by_hand = sum(
            0.2
            * OBJECTIVES["labelled"](
                mask.feature_maps.float() / mask.mean_peak, LABELS[:, None] == mask.filter_category, tau=60 / 64
            ).loss.mean()
            for _, mask in part_masks(resnet)
        )
        torch.testing.assert_close(loss, by_hand, atol=1e-6, rtol=1e-6)
    (task_loss + loss).backward()
    gradients = [parameter.grad for parameter in resnet.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert all(parameter.grad.any() for parameter in resnet.part_layers.parameters())


@pytest.mark.parametrize("head", ["additive", "original"])
def test_a_network_in_double_precision_works_in_double_precision(pictures: Tensor, head: str) -> None:
    torch.manual_seed(0)
    network = DemoNet(num_classes=2).double()
    model = convert(network, "features", num_classes=2, head=head, input_size=SIZE)
    logits = model(pictures.double())
    loss = filter_loss(model, LABELS)
    assert (logits.dtype, loss.dtype) == (torch.float64, torch.float64)
    (logits.sum() + loss).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_channels_last_pictures_give_the_same_logits_and_loss(resnet: PartNetwork, pictures: Tensor) -> None:
    resnet.eval()
    expected = resnet(pictures), filter_loss(resnet, LABELS)
    resnet.to(memory_format=torch.channels_last)
    seen: list[Tensor] = []
    resnet.projection.register_forward_hook(lambda _, __, output: seen.append(output))
    found = resnet(pictures.to(memory_format=torch.channels_last)), filter_loss(resnet, LABELS)
    if not competing_masks(resnet):  # torch's softmax lays the maps out anew
        seen.append(resnet.part_layers[-1].mask.feature_maps)
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in seen)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_forward_pass_needs_no_labels_and_warns_of_nothing(resnet: PartNetwork, pictures: Tensor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resnet.eval()(pictures).shape == (4, 2)
