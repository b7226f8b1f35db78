"""Directories that a stranger wrote to do harm: each is refused in a word, runs nothing, and takes no memory."""

import importlib
import json
import pickle
import re
import socket
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from partcnn.foundation.errors import ConfigError, LayerError, PartCNNError, RunError, WeightsError
from partcnn.model.conversion import convert
from partcnn.model.saving.checkpoint import load, save
from partcnn.model.saving.checkpoint_files import CONFIG_FILE, FORMAT, WEIGHTS_FILE
from partcnn.networks.demo_net import DemoNet

SIZE = [64, 64]
MOST_BYTES = 64 * 2**20  # of the process while it refuses; the network itself is below 1 MiB
HUGE = 2**60


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By objective."""
    directories = {}
    for objective in ("competing", "labelled"):
        torch.manual_seed(0)
        settings = {"num_classes": 2, "filters": 4, "objective": objective, "input_size": (64, 64)}
        model = convert(DemoNet(num_classes=2), "features.block3", **settings)
        directories[objective] = save(model, tmp_path_factory.mktemp(objective))
    return directories


@pytest.fixture
def objective() -> str:
    """Of the saved network; a test may ask for another."""
    return "competing"


@pytest.fixture
def saved(clean: dict[str, Path], objective: str, tmp_path: Path) -> Path:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        (tmp_path / name).write_bytes((clean[objective] / name).read_bytes())
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_is_unpickled_and_nobody_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    for target, name in ((pickle, "load"), (pickle, "loads"), (torch, "load"), (socket.socket, "connect")):
        monkeypatch.setattr(target, name, lambda *_, name=name, **__: pytest.fail(f"{name} was called"))


@pytest.fixture(autouse=True)
def memory_stays_small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors are counted where they are made, Python's own memory by tracemalloc."""
    largest = 0

    class Counted(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for one in torch.utils._pytree.tree_leaves(result):
                if isinstance(one, torch.Tensor):
                    largest = max(largest, one.untyped_storage().nbytes())
            return result

    tracemalloc.start()
    with Counted():
        yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert largest < MOST_BYTES
    assert peak < MOST_BYTES


def write_header(directory: Path, length: int, header: bytes = b"{}", data: bytes = b"") -> None:
    (directory / WEIGHTS_FILE).write_bytes(struct.pack("<Q", length) + header + data)


def describe(directory: Path, tensors: dict[str, Any], data: bytes = b"") -> None:
    header = json.dumps(tensors).encode()
    write_header(directory, len(header), header, data)


def edit(directory: Path, **changes: Any) -> None:
    config = json.loads((directory / CONFIG_FILE).read_text())
    for path, value in changes.items():
        *outer, last = path.split("__")
        entry = config
        for key in outer:
            entry = entry[key]
        entry[last] = value
    (directory / CONFIG_FILE).write_text(json.dumps(config))


def change_tensor(directory: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    tensors = load_file(directory / WEIGHTS_FILE)
    tensors[name] = change(tensors[name]).contiguous()
    save_file(tensors, directory / WEIGHTS_FILE)


@pytest.mark.parametrize("objective", ["competing", "labelled"])
def test_the_clean_directory_loads_under_the_same_watch(saved: Path) -> None:
    assert load(saved)(torch.zeros(1, 3, *SIZE)).shape == (1, 2)


class _Alarm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_renamed_to_safetensors(saved: Path) -> None:
    (saved / WEIGHTS_FILE).write_bytes(pickle.dumps(_Alarm(saved / "alarm")))
    with pytest.raises(RunError, match="expected a safetensors file"):
        load(saved)
    assert not (saved / "alarm").exists()


@pytest.mark.parametrize("length", [HUGE, 2**64 - 1, 99_000_000, 3])
def test_a_header_that_claims_more_bytes_than_there_are(saved: Path, length: int) -> None:
    write_header(saved, length)
    with pytest.raises(RunError, match="expected a safetensors file"):
        load(saved)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]},
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        {"dtype": "PICKLE", "shape": [1], "data_offsets": [0, 4]},
    ],
    ids=["2^62 bytes", "overflow", "negative", "beyond the end", "unknown type"],
)
def test_a_tensor_that_is_larger_than_its_file(saved: Path, entry: dict[str, Any]) -> None:
    describe(saved, {"head.weight": entry}, b"0000")
    with pytest.raises(RunError, match="expected a safetensors file"):
        load(saved)


@pytest.mark.parametrize("name", ["filters", "num_classes", "grid", "hidden", "new_layers"])
@pytest.mark.parametrize("size", [HUGE, 3000])
@pytest.mark.parametrize("objective", ["competing", "labelled"])
def test_a_config_that_asks_for_layers_which_the_weights_do_not_hold(saved: Path, name: str, size: int) -> None:
    edit(saved, **{f"arguments__{name}": size})
    refused = (
        r"do not fit the network|config\.json: .*(expected \d+ names|new_layers: expected 1 where filters compete)"
    )
    with pytest.raises((RunError, WeightsError), match=refused):
        load(saved)


@pytest.mark.parametrize(
    ("name", "value"), [("masks", True), ("places", "peak"), ("objective", "auto"), ("objective", "exact")]
)
def test_a_config_that_says_of_filters_which_compete_what_they_are_not(saved: Path, name: str, value: Any) -> None:
    edit(saved, **{f"arguments__{name}": value})
    with pytest.raises(WeightsError, match="do not fit the network"):
        load(saved)


def test_a_claim_that_config_and_header_share_without_the_bytes(saved: Path) -> None:
    """An empty tensor may claim any second size; it costs nothing and fits nothing."""
    edit(saved, arguments__filters=HUGE, arguments__grid=0)
    describe(saved, {"head.weight": {"dtype": "F32", "shape": [2, HUGE, 0, 0], "data_offsets": [0, 0]}})
    with pytest.raises(PartCNNError):
        load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"network__num_classes": HUGE},
        {"network__num_classes": True},
        {"network__num_classes": -1},
        {"arguments__input_size": [2**20, 2**20]},
        {"preprocessing__input_size": [HUGE, 1]},
        {"preprocessing__mean": ["__import__('os')", 0, 0]},
        {"preprocessing__std": [1e999, 1, 1]},
        {"preprocessing__mean": 3},
        {"arguments__filters": "many"},
        {"arguments__filters": 4.5},
        {"arguments__layers": "features.block3"},
        {"arguments__layers": [7]},
        {"arguments__dropout": "half"},
        {"arguments__inplace": True},
        {"arguments__cnn": "os.system"},
        {"classes": ["cat", 3]},
        {"classes": ["cat"]},
    ],
    ids=str,
)
def test_a_config_with_an_absurd_entry(saved: Path, changes: dict[str, Any]) -> None:
    edit(saved, **changes)
    with pytest.raises(RunError, match=r"config\.json"):
        load(saved)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "evil_module",
        "evil_module:Network",
        "timm:evil_module.Network",
        "timm:hf-hub:stranger/network",
        "timm:local-dir:/tmp",
        "../../etc/passwd",
        "timm:../../etc/passwd",
        "resnet18/../../evil_module",
        "__import__('evil_module')",
    ],
)
def test_a_config_that_names_a_module_or_a_path_in_place_of_a_network(
    saved: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (saved / "evil_module.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(saved)
    importlib.invalidate_caches()
    edit(saved, network__name=name)
    with pytest.raises(ConfigError, match="backbone: expected"):
        load(saved)


@pytest.mark.parametrize("layer", ["../features", "features/../classifier", "__class__", "features.__init__", ""])
def test_a_config_whose_layer_is_a_path_or_an_attribute(saved: Path, layer: str) -> None:
    edit(saved, arguments__layers=[layer])
    with pytest.raises(LayerError, match="layers: expected names of layers that give a map"):
        load(saved)


def test_files_that_lead_out_of_the_directory_are_read_as_what_they_are(saved: Path) -> None:
    outside = saved.parent / "outside.txt"
    outside.write_text("secret")
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        (saved / name).unlink()
        (saved / name).symlink_to(f"../{outside.name}")
        with pytest.raises(RunError) as error:
            load(saved)
        assert "secret" not in str(error.value)
    with pytest.raises(RunError, match="without"):
        load(saved / ".." / ".." / "nowhere")


def test_a_missing_tensor(saved: Path) -> None:
    tensors = load_file(saved / WEIGHTS_FILE)
    del tensors["part_layers.0.mask.mean_peak"]
    save_file(tensors, saved / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match=r"missing part_layers\.0\.mask\.mean_peak"):
        load(saved)


@pytest.mark.parametrize(
    ("objective", "name", "told"),
    [
        ("competing", "part_layers.0.scores.context.bias", "has [4], expected [5]"),
        ("competing", "head.value.bias", "has [47], expected [48]"),
        ("competing", "part_layers.0.mask.identities", "has [3, 64], and config.json says [4]"),
        ("labelled", "part_layers.0.bias", "has [3], expected [4]"),
    ],
)
def test_a_wrong_shape(saved: Path, name: str, told: str) -> None:
    change_tensor(saved, name, lambda value: value[:-1])
    with pytest.raises(WeightsError, match=re.escape(f"{name} {told}")):
        load(saved)


@pytest.mark.parametrize(
    ("name", "dtype", "told"),
    [
        ("head.weight", torch.int64, "head.weight is I64, expected float32"),
        ("head.weight", torch.uint8, "head.weight is U8, expected float32"),
        ("head.weight", torch.complex64, "head.weight is C64, expected float32"),
        ("head.weight", torch.float8_e4m3fn, "head.weight is F8_E4M3, expected float32"),
        ("part_layers.0.mask.filter_category", torch.float32, "filter_category is F32, expected int64"),
        ("part_layers.0.mask.filter_category", torch.bool, "filter_category is BOOL, expected int64"),
    ],
    ids=str,
)
def test_a_wrong_type(saved: Path, name: str, dtype: torch.dtype, told: str) -> None:
    change_tensor(saved, name, lambda value: value.to(dtype))
    with pytest.raises(WeightsError) as error:
        load(saved)
    assert told in str(error.value)


def test_two_narrow_types_at_once(saved: Path) -> None:
    change_tensor(saved, "head.weight", lambda value: value.half())
    change_tensor(saved, "head.bias", lambda value: value.bfloat16())
    with pytest.raises(WeightsError, match="expected one floating type beside F32, got BF16, F16"):
        load(saved)


@pytest.mark.parametrize("category", [-1, 2, HUGE])
def test_a_filter_of_a_class_that_does_not_exist(saved: Path, category: int) -> None:
    change_tensor(saved, "part_layers.0.mask.filter_category", lambda value: value.fill_(category))
    with pytest.raises(WeightsError, match="filter_category: expected classes from 0 to 1"):
        load(saved)


@pytest.mark.fault("file", "config.json holds a number that no float can hold", "one sentence names the entry")
@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf")], ids=["10^400", "-10^400", "infinity"])
def test_a_number_that_no_float_can_hold(saved: Path, value: float) -> None:
    config = json.loads((saved / "config.json").read_text())
    edit(saved, preprocessing=config["preprocessing"] | {"mean": [value, 0.0, 0.0]})
    with pytest.raises(RunError, match="mean"):
        load(saved)
    edit(saved, preprocessing=config["preprocessing"], answer=config["answer"] | {"tolerance": value})
    with pytest.raises(RunError, match="answer"):
        load(saved)


@pytest.mark.fault("file", "weights that are not finite", "`load` refuses them by name")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(saved: Path, value: float) -> None:
    change_tensor(saved, "head.weight", lambda weight: weight.index_fill(1, torch.tensor([0]), value))
    with pytest.raises(WeightsError, match=r"head\.weight: expected finite weights, got \d+ of .* lower learning rate"):
        load(saved)


@pytest.mark.parametrize("version", [FORMAT + 1, HUGE, 10**400], ids=["next", "2^60", "10^400"])
def test_a_future_version(saved: Path, version: int) -> None:
    edit(saved, format=version)
    with pytest.raises(RunError, match=rf"is newer than {FORMAT}, .*update partcnn"):
        load(saved)


@pytest.mark.parametrize("version", [0, -1, 1.0, True, None, "1", [1]], ids=repr)
def test_a_version_that_is_none(saved: Path, version: Any) -> None:
    edit(saved, format=version)
    with pytest.raises(RunError, match="format: expected a whole number"):
        load(saved)


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"9" * 5000, b'{"format": 1' + b"0" * 5000 + b"}", b" " * (16 * 2**20 + 1)],
    ids=["deep", "long number", "long version", "large"],
)  # fmt: skip
def test_a_config_made_to_exhaust_its_reader(saved: Path, content: bytes) -> None:
    (saved / CONFIG_FILE).write_bytes(content)
    with pytest.raises(RunError, match=r"config\.json"):
        load(saved)
