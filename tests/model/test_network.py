"""The record of a network: found through wrappers, and what is remembered in it."""

import copy
import pickle
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

from partcnn.explanation.explanation import explain
from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.model.conversion import convert, remove_masks
from partcnn.model.mask import part_masks, top_mask
from partcnn.model.network import conversion_of, layer_field, unwrapped
from partcnn.model.saving.checkpoint import load, save
from partcnn.networks.probing import field_memory
from partcnn.networks.probing.receptive_field import receptive_field

SIZE = (32, 40)
Wrap = Callable[[nn.Module], nn.Module]


class Holder(nn.Module):
    """Looks like a wrapper, and computes something else."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return self.module(images).softmax(dim=1)  # type: ignore[no-any-return]


class DataParallel(Holder):
    """Is called as torch's wrapper."""


class Net(nn.Module):
    """A network whose layers are called as wrappers call what they hold."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU())
        self._orig_mod = nn.Linear(6, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self._orig_mod(self.module(images).mean(dim=(2, 3)))  # type: ignore[no-any-return]


class Bare(nn.Module):
    """Nothing but a child called `module`."""

    def __init__(self) -> None:
        super().__init__()
        self.module = Net()

    def forward(self, images: Tensor) -> Tensor:
        return self.module(images)  # type: ignore[no-any-return]


def compiled(model: nn.Module) -> nn.Module:
    return torch.compile(model, backend="eager")  # type: ignore[return-value]


def compiled_twice() -> object:
    return torch.compile(compiled(small()), backend="eager")


def distributed(model: nn.Module) -> nn.Module:
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)


@pytest.fixture(scope="module")
def process_group(tmp_path_factory: pytest.TempPathFactory) -> object:
    """Of this process alone."""
    file = tmp_path_factory.mktemp("group") / "store"
    torch.distributed.init_process_group("gloo", store=torch.distributed.FileStore(str(file), 1), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


WRAPPERS: dict[str, Wrap] = {
    "DataParallel": nn.DataParallel,
    "compile": compiled,
    "AveragedModel": AveragedModel,
    "checkpoint": checkpoint_wrapper,
    "distributed": distributed,
}
PAIRS = [pair for pair in product(WRAPPERS, repeat=2) if pair != ("compile", "compile")]  # torch gives a function then


def small(head: str = "additive", network: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    network = network or Net()
    layer = "module.module.1" if isinstance(network, Bare) else "module.1"
    model = convert(network, layer, num_classes=2, head=head, input_size=SIZE).eval()
    if head == "additive":
        nn.init.normal_(model.head.weight)  # it starts at 0, and logits of 0 are any network's
    return model


@pytest.mark.parametrize("head", ["additive", "original"])
@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_two_wrappers_are_both_taken_off(outer: str, inner: str, head: str, process_group: object) -> None:
    model = small(head)
    wrapped = WRAPPERS[outer](WRAPPERS[inner](model))
    if "AveragedModel" in (outer, inner):  # which copies what it holds
        assert type(unwrapped(wrapped)) is type(model)
        assert unwrapped(wrapped).state_dict().keys() == model.state_dict().keys()
        assert conversion_of(wrapped) == conversion_of(model)
    else:
        assert unwrapped(wrapped) is model
        assert conversion_of(wrapped) is conversion_of(model)


def test_a_network_wrapped_twice_is_saved_and_explained_as_the_network(tmp_path: Path) -> None:
    model, images = small(), torch.randn(2, 3, *SIZE)
    wrapped = AveragedModel(compiled(model))
    assert explain(wrapped, images[0]).is_exact
    with torch.no_grad():
        torch.testing.assert_close(load(save(wrapped, tmp_path), model=Net())(images), model(images))


@pytest.mark.parametrize("network", [Net, Bare])
def test_children_of_a_converted_network_are_not_taken_for_what_it_wraps(network: type[nn.Module]) -> None:
    model = small("original", network())
    assert unwrapped(model) is model
    assert unwrapped(nn.DataParallel(model)) is model


def test_another_network_has_no_record_and_is_given_back_as_it_is() -> None:
    net = Net()
    assert unwrapped(net) is net
    with pytest.raises(LayerError, match=r"made by partcnn\.convert, got a Net that was not"):
        conversion_of(net)


@pytest.mark.parametrize(
    ("holder", "within"),
    [
        (lambda: Holder(small()), "a Holder .* pass its module"),
        (lambda: DataParallel(small()), "a DataParallel .* pass its module"),
        (lambda: nn.Sequential(small(), nn.Softmax(dim=1)), "a Sequential .* pass its 0"),
        (lambda: nn.ModuleDict({"_orig_mod": small()}), "a ModuleDict .* pass its _orig_mod"),
        (lambda: nn.DataParallel(Holder(small())), "a Holder .* pass its module"),
    ],
    ids=["module", "a wrapper's name", "a sequence", "_orig_mod", "within a wrapper"],
)
def test_what_only_looks_like_a_wrapper_is_not_taken_off(
    holder: Callable[[], nn.Module], within: str, tmp_path: Path
) -> None:
    model = holder()
    for use in (conversion_of, lambda m: save(m, tmp_path / "run"), lambda m: explain(m, torch.randn(3, *SIZE))):
        with pytest.raises(LayerError, match=f"got {within}"):
            use(model)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["ModelEmaV2", "ModelEmaV3"])
def test_timms_averages_are_wrappers(name: str) -> None:
    timm = pytest.importorskip("timm", reason="pip install 'partcnn[timm]'")
    average = getattr(timm.utils, name)(small())
    assert unwrapped(average) is average.module


@pytest.mark.parametrize("value", ["model", None, 3, compiled_twice], ids=["text", "None", "number", "function"])
def test_what_is_no_network_is_named(value: object) -> None:
    given = value() if callable(value) else value
    with pytest.raises(LayerError, match=f"made by partcnn.convert, got a {type(given).__name__}"):
        conversion_of(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrap", [nn.DataParallel, compiled, AveragedModel, lambda net: nn.DataParallel(compiled(net))])
@pytest.mark.parametrize("layers", ["auto", "module.1"])
def test_a_wrapped_network_is_converted_without_its_wrapper(wrap: Wrap, layers: str, tmp_path: Path) -> None:
    model = convert(wrap(Net()), layers, num_classes=2, input_size=SIZE)
    bare = convert(Net(), layers, num_classes=2, input_size=SIZE)
    assert conversion_of(model).settings.layers == conversion_of(bare).settings.layers
    loaded, images = load(save(model, tmp_path), model=Net()), torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        torch.testing.assert_close(loaded.features(images), model.eval().features(images))
    named = convert(nn.DataParallel(Net()), "module.module.1", num_classes=2, input_size=SIZE)
    assert conversion_of(named).settings.layers == ("module.module.1",)  # as it was asked for


@pytest.mark.parametrize(
    ("images", "what"),
    [
        (torch.zeros(3, *SIZE), r"got one of shape \(3, .*images\[None\]"),
        (torch.zeros(1, 1, 3, *SIZE), r"\[image, channel, row, col\], got one of shape \(1, 1, 3"),
        (torch.zeros(2, 1, *SIZE), r"\[image, 3, row, col\], got one of shape \(2, 1"),
        (torch.zeros(2, 3, *SIZE, dtype=torch.uint8), "torch.float32, as the weights are, got torch.uint8"),
        (torch.zeros(2, 3, *SIZE, dtype=torch.float64), "got torch.float64"),
    ],
    ids=["one picture", "five axes", "grey", "bytes", "double"],
)
def test_pictures_that_do_not_fit_are_told_in_a_sentence(images: Tensor, what: str) -> None:
    with pytest.raises(ShapeError, match=f"images: expected .*{what}"):
        small()(images)


def test_a_network_that_makes_colours_of_grey_itself_takes_grey_tensors() -> None:
    class Colouring(Net):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.expand(-1, 3, -1, -1))

    assert small(network=Colouring())(torch.zeros(2, 1, *SIZE)).shape == (2, 2)


@pytest.mark.parametrize("hold", [nn.Sequential, lambda net: nn.Sequential(nn.Identity(), net)])
def test_a_module_that_holds_a_converted_network_is_not_converted(hold: Wrap) -> None:
    with pytest.raises(ConfigError, match=r"a Sequential with a converted one in it, [01]; give the one"):
        convert(hold(small()), num_classes=2, input_size=SIZE)


def test_masks_are_taken_off_within_a_wrapper_with_the_record() -> None:
    model = small("original")
    remove_masks(nn.DataParallel(model))
    with pytest.raises(LayerError, match="that was not"):
        conversion_of(model)


@pytest.mark.parametrize("value", ["text", None])
def test_masks_of_what_is_no_network_cannot_be_taken_off(value: Any) -> None:
    with pytest.raises(ConfigError, match=f"model: expected a torch.nn.Module, got {value!r}"):
        remove_masks(value)


def test_the_top_mask_is_the_last_one() -> None:
    model = convert(Net(), "module.1", num_classes=2, new_layers=3, input_size=SIZE)
    assert top_mask(model) == list(part_masks(model))[-1]
    assert top_mask(model)[0] == "part_layers.2.mask"
    with pytest.raises(LayerError, match=r"partcnn\.convert"):
        top_mask(Net())


# --- receptive fields


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def counted(network: nn.Module, layer: str, input_size: tuple[int, int]) -> object:
        found.append(layer)
        return receptive_field(network, layer, input_size)

    monkeypatch.setattr(field_memory, "receptive_field", counted)
    return found


@pytest.mark.parametrize("head", ["additive", "original"])
def test_the_field_of_a_layer_is_traced_once_whoever_asks(head: str, traced: list[str]) -> None:
    model = small(head)
    name, mask = top_mask(model)
    expected = receptive_field(model, name, SIZE)
    mask.loss_weight, mask.memory = 0.7, 3  # as a training sets them
    with torch.no_grad():
        model.train()(torch.randn(2, 3, *SIZE))
    for wrapped in (model, nn.DataParallel(model), compiled(model)):
        assert layer_field(wrapped, top_mask(wrapped)[0]) == expected
    explain(model, torch.randn(3, *SIZE))
    assert traced == [name]
    assert layer_field(model, name, (64, 64)).input_size == (64, 64)
    assert traced == [name, name]


def test_a_copy_and_a_network_that_was_converted_anew_trace_their_own(traced: list[str]) -> None:
    model = small("original")
    name, _ = top_mask(model)
    layer_field(model, name)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        layer_field(other, name)
    again = convert(remove_masks(model), "module.1", num_classes=2, head="original", input_size=SIZE, inplace=True)
    layer_field(again, name)
    assert traced == [name] * 4


def test_an_unknown_layer_and_another_network_are_told() -> None:
    with pytest.raises(LayerError, match="expected the dotted name of a module, got 'nowhere'"):
        layer_field(nn.DataParallel(small()), "nowhere")
    with pytest.raises(LayerError, match=r"partcnn\.convert"):
        layer_field(Net(), "module.1")
