"""The settings of a run: what `partcnn train` asks for, and what run.yaml keeps of it.

Reading them costs no torch: the command line shows every option before anything is trained.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.plain_yaml import read_plain_yaml
from partcnn.foundation.processors import usable_processors
from partcnn.training.recipe import Recipe

SETTINGS_FILE = "run.yaml"
TRAINING = "training"  # its entry that is no setting: how far the run came, see `app.runs.state`
DEFAULT_WORKERS = min(8, usable_processors())  # more than 8 wait for the network, also where a GPU runs it


@dataclass(frozen=True)
class NetworkSettings:
    """What `partcnn.convert` puts on the trunk. Where filters compete, hidden, grid, masks and places are not read.

    Args:
        new_layers: part layers; above 1 objective=auto is exact or labelled.
        filters: per part layer; None takes 8 that compete for one category and 16 for several, more for more than 24,
            else 32 a category.
            auto, where they compete: 16 for one and 32 for several, of which those that are parts stay.
        projection: principal components that the trunk's maps are projected to; 0 for none.
        hidden: filters of the ordinary layer below the part layers; None takes twice `filters`, at most 128.
        grid: cells per side that the head pools each map to.
        dropout: share of the projected channels dropped in training.
        erasing: share of the projected maps that lose a rectangle in training.
        masks: keep of each map only what lies around its peak, as in the paper. Off: in trials masks
            cost accuracy and filters followed parts no better (docs/results/objectives.md has a row).
        places: how a filter's place is read from its map: peak, as in the paper, or expected, the mean over all
            templates. None takes peak with masks, which are about it, else expected.
        mask_skip: with head=original, whether masks cover what a residual block's skip connection carries, or its
            branch alone.
        input_size: side of the square input in pixels; None takes the backbone's own, and with head=additive 320 where
            the backbone's is smaller and it runs on that.
    """

    new_layers: int = 1
    filters: int | str | None = None
    projection: int = 128
    hidden: int | None = None
    grid: int = 7
    dropout: float = 0.2
    erasing: float = 0.5
    masks: bool = False
    places: str | None = None
    mask_skip: bool = True
    input_size: int | None = None


@dataclass(frozen=True)
class RunSettings:
    """One training run.

    Args:
        data: pictures, KIND:PLACE: folder:PATH, animalpart:PATH, cub:PATH, pascal-part:PATH, coco:IMAGES,JSON,
            coco-multilabel:IMAGES,JSON, multilabel:LABELS.csv, webdataset:SHARDS.tar, demo:
        out: the run directory, which must not exist.
        category: one category against background, by name or identifier; without it all are told apart.
        backbone: a torchvision network, timm:NAME, demo or wide_field.
        weights: of the backbone: PATH, default (the library's, downloaded) or none. Without it: default, none for ours.
        layers: dotted name of the trunk's last layer, or of several with commas between them, whose maps are joined; or
            auto.
        head: additive (a logit is a sum of parts) or original (masks in place, the network above stays).
        objective: competing (filters share every cell among them, and tile the object), or labelled, exact, assigned,
            official, whose filters are trained each for itself; auto takes competing with head=additive, else exact for
            one category and labelled for several.
        plain: a plain network with as many filters, an ordinary layer and no filter loss, to compare with.
        trunk: frozen or finetune. Without it: frozen where the backbone has weights.
        seed: of weights, views, order and dropout.
        epochs: short for recipe.epochs.
        workers: processes that decode pictures; by default one per processor, at most 8.
        devices: of a host, that share every batch: GPUs where there are any, else processes; under torchrun its number.
        num_nodes: hosts that train together, each started with the same command (by torchrun or SLURM).
        strategy: how devices train together, auto, ddp or ddp_find_unused_parameters_true, see Lightning's Trainer.
        logger: where curves go beside log/metrics.csv: tensorboard (log/ too), wandb, mlflow, several
            with commas between them, or csv: nowhere.
        max_bad: unreadable pictures that may be left out.
        crop: object cuts each picture to its object box; without it pictures stay as the files are.
        margin: of that cut on each side, as a share of the box.
        cache: keep a frozen trunk's features for later runs, in PARTCNN_CACHE or ~/.cache/partcnn, up to
            PARTCNN_CACHE_GIB (20); a run that finds its own there skips the trunk.
        force: replace an existing run.
        network: what is put on the trunk.
        recipe: how it is trained.
        pruned: of a run that `partcnn prune` made: the run it was cut from ("from"), `keep` and `finetune`.
        unread: entries of the record that this version has no setting for, such as "recipe.pictures_per_class".
    """

    data: str
    out: str
    category: str | None = None
    backbone: str = "resnet18"
    weights: str | None = None
    layers: str = "auto"
    head: str = "additive"
    objective: str = "auto"
    plain: bool = False
    trunk: str | None = None
    seed: int = 0
    epochs: int | None = None
    workers: int = DEFAULT_WORKERS
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    logger: str = "tensorboard"
    max_bad: int = 10
    crop: str | None = None
    margin: float = 0.1
    cache: bool = True
    force: bool = False
    network: NetworkSettings = field(default_factory=NetworkSettings)
    recipe: Recipe = field(default_factory=Recipe)
    pruned: Mapping[str, Any] | None = None
    unread: tuple[str, ...] = ()

    @classmethod
    def from_record(cls, record: Any, file: str | Path = SETTINGS_FILE) -> "RunSettings":
        """The settings that run.yaml holds, also that of an earlier version, which lacks what came later.

        Args:
            record: as YAML gives it, the inverse of `to_record`.
            file: it came from, for errors.

        Raises:
            RunError: it is no record of a run, or an entry is missing or not what it may be.
        """
        if not isinstance(record, Mapping):
            raise RunError(f"run: expected {file} to hold settings by name, got {type(record).__name__}")
        missing = sorted(_ALWAYS - record.keys())
        if missing:
            raise RunError(f"run: {file} lacks {', '.join(missing)}")
        unread: list[str] = []
        own = {name: value for name, value in record.items() if name not in _NESTED and name != TRAINING}
        values = _read(cls, {"out": str(Path(file).parent)} | _BEFORE | own, file, "", unread)
        for name, of in _NESTED.items():
            nested = record.get(name, {})
            if not isinstance(nested, Mapping):
                raise RunError(f"run: {name} in {file}: expected settings by name, got {nested!r}")
            entries = _read(of, _NESTED_BEFORE[name] | dict(nested), file, f"{name}.", unread)
            try:
                values[name] = of(**entries)
            except ConfigError as error:
                raise RunError(f"run: {name} in {file}: {error}") from error
        return cls(**values | {"unread": tuple(unread)})

    def to_record(self) -> dict[str, Any]:
        """Plain values for run.yaml."""
        record = asdict(self)
        del record["unread"]
        if self.pruned is None:
            del record["pruned"]
        return record


_MOST_BYTES = 2**20
_LARGEST = 2**31 - 1
_ALWAYS = {"data", "category", "max_bad"}  # stand in the record of every version
_NESTED: dict[str, type[NetworkSettings] | type[Recipe]] = {"network": NetworkSettings, "recipe": Recipe}
# What was done before there was a setting for it.
_BEFORE: dict[str, Any] = {"trunk": "frozen", "cache": False}
_NESTED_BEFORE: dict[str, dict[str, Any]] = {
    "network": {"projection": 0, "erasing": 0.0, "places": "peak"},
    "recipe": {"equivariance": 0.0, "diversity": 0.0, "memory": 0, "head_epochs": 0},
}


def read_settings(directory: Path) -> RunSettings:
    """The settings of a run directory.

    Raises:
        RunError: the directory holds no settings, or malformed ones.
    """
    return RunSettings.from_record(read_record(directory), directory / SETTINGS_FILE)


def read_record(directory: Path) -> Any:
    """What run.yaml holds, as YAML gives it.

    Raises:
        RunError: there is none, or it is no YAML.
    """
    file = directory / SETTINGS_FILE
    if not file.is_file():
        raise RunError(f"run: expected a directory of partcnn train, got {directory} without {SETTINGS_FILE}")
    if file.stat().st_size > _MOST_BYTES:
        raise RunError(f"run: expected at most {_MOST_BYTES} bytes of settings in {file}, got {file.stat().st_size}")
    try:
        return read_plain_yaml(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, nested too deeply, a date that there is not
        raise RunError(f"run: {file} is not the settings that partcnn train writes ({error})") from error


def check_kinds(settings: Any, prefix: str = "") -> None:
    """Raises ConfigError where a value is not what its annotation says: the command line lets null pass for any."""
    for name, kind in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if not _is_of(value, kind):
            raise ConfigError(f"{prefix}{name}: expected {_named(kind)}, got {_shown(value)}")
        if name in _NESTED:
            check_kinds(value, f"{name}.")


def _read(of: type, entries: Mapping[Any, Any], file: str | Path, prefix: str, unread: list[str]) -> dict[str, Any]:
    """The entries that `of` has fields for, their types checked; the names of the others go to `unread`."""
    kinds = get_type_hints(of)
    for name, value in entries.items():
        if name in kinds and not _is_of(value, kinds[name]):
            raise RunError(f"run: {prefix}{name} in {file}: expected {_named(kinds[name])}, got {_shown(value)}")
    unread += [f"{prefix}{name}" for name in entries if name not in kinds]
    return {name: value for name, value in entries.items() if name in kinds}


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a value of YAML may stand for an annotation such as `float | None`; there 1 is a float too.

    No setting is a whole number that 32 bits do not hold: some libraries would take it, and others fail at it.
    """
    if type(value) is int and abs(value) > _LARGEST:
        return False
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    plain = tuple(get_origin(option) or option for option in options)
    return isinstance(value, plain) or (float in plain and type(value) is int)


def _shown(value: Any) -> str:
    if type(value) is int and abs(value) > _LARGEST:
        return f"a whole number beyond ±{_LARGEST}"
    return f"{value!r:.80}"


def _named(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
