"""Settings and run directories, damaged and absurd: what `partcnn` says of them is one sentence, never a traceback.

A few examples in the ordinary run; PARTCNN_FUZZ_S=120 gives each two minutes, from another seed each time.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import strategies as st
from jsonargparse import ArgumentError, ArgumentParser

from partcnn.app.cli import train
from partcnn.app.cli.commands import options_of
from partcnn.app.cli.tables import audit_tables
from partcnn.app.runs.opening import figures_of, followed_parts, open_run
from partcnn.app.runs.training import built_network, recipe_of
from partcnn.app.settings import read_settings
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation.audit_result import (
    SURROUNDINGS,
    Audit,
    ClassEvidence,
    DecidedPicture,
    MisleadingPart,
    Mistake,
    PairByOne,
)
from partcnn.evaluation.comparison import compare
from partcnn.foundation.errors import PartCNNError
from partcnn.plot import read_curves
from tests.datasets.readers.test_fuzz import FUZZ_S, JSON, as_json, changed, damaged, fuzz

RUN = Path(__file__).parents[1] / "data" / "run-before-the-rooms"
SETTINGS = {
    "data": "demo:2",
    "category": "cat",
    "out": "runs/x",
    "backbone": "demo",
    "weights": "none",
    "layers": "features.block4",
    "head": "additive",
    "objective": "exact",
    "trunk": "frozen",
    "seed": 1,
    "epochs": 1,
    "workers": 0,
    "max_bad": 1,
    "margin": 0.1,
    "network": {"filters": 4, "new_layers": 1, "projection": 8, "hidden": 4, "grid": 2, "dropout": 0.1, "masks": True},
    "recipe": {"epochs": 1, "batch_size": 4, "lr": 0.001, "num_views": 2, "equivariance": 1.0, "memory": 2},
}


@pytest.fixture(autouse=True)
def _silent() -> Iterator[None]:
    logger = logging.getLogger("partcnn")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(before)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUN, tmp_path / "run"))


def as_yaml(value: Any) -> bytes:
    return yaml.safe_dump(value).encode("utf-8", "surrogatepass")


NASTY_YAML = st.sampled_from(
    [
        b"&a [*a]",
        b"? [a]\n: b",
        b"!!python/object/apply:os.system [id]",
        b"<<: *x",
        b"a: &b {c: *b}",
        b"\t",
        b"- " * 500,
        b"2020-01-01",
        b"!!binary a",
        b"!!set {a}",
        b"!!timestamp x",
        b"!!int x",
        b"!!float {}",
        b"[" * 3000,
        b"a: 1e400",
        b"1: {2: 3}",
        b"null",
    ]
)


@pytest.mark.fault(
    "file", "A damaged or absurd configuration of partcnn train", "One sentence, before anything is written"
)
def test_configurations_of_train(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    dataset = load_dataset("demo:2", category="cat", split="all")
    parser = ArgumentParser(exit_on_error=False)
    train.add_options(parser)

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        with contextlib.suppress(ArgumentError):
            options = options_of(parser, ["--config", str(file)])
            settings = train.settings_of(options)
            recipe = recipe_of(settings)
            if FUZZ_S and settings.backbone == "demo" and settings.weights in (None, "none"):  # takes a second
                built_network(settings, dataset, recipe)

    fuzz(changed(SETTINGS, JSON).map(as_yaml) | damaged(as_yaml(SETTINGS)) | NASTY_YAML, attempt)


def opened(run: Path) -> None:
    """What commands do with a run directory, but for pictures."""
    read_settings(run)
    found = open_run(run)
    followed_parts(found)
    figures(run)


def figures(run: Path) -> None:
    evaluation = figures_of(run)
    evaluation.table()
    evaluation.filter_table()
    evaluation.category_table()
    evaluation.part_table()
    json.loads(evaluation.dumps())
    compare({"a": evaluation, "b": evaluation}).table()


def of_a_stranger(file: str) -> pytest.MarkDecorator:
    return pytest.mark.fault("file", f"{file} of a stranger's run, damaged and absurd", "One sentence")


@of_a_stranger("run.yaml")
def test_settings_of_a_run(run: Path) -> None:
    file = run / "run.yaml"
    record = yaml.safe_load(file.read_text())

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        read_settings(run)

    fuzz(changed(record, JSON).map(as_yaml) | damaged(as_yaml(record)) | NASTY_YAML, attempt)


@pytest.mark.parametrize(
    ("name", "attempt"),
    [
        pytest.param("config.json", opened, marks=of_a_stranger("config.json")),
        pytest.param("metrics.json", figures, marks=of_a_stranger("metrics.json")),
    ],
)
def test_json_of_a_run(run: Path, name: str, attempt: Callable[[Path], None]) -> None:
    file = run / name
    record = json.loads(file.read_text())

    def attempt_with(content: bytes) -> None:
        file.write_bytes(content)
        attempt(run)

    fuzz(changed(record, JSON).map(as_json) | damaged(as_json(record)), attempt_with)
    file.write_bytes(b"[" * 100_000)
    with pytest.raises(PartCNNError):
        attempt(run)


@of_a_stranger("names.yaml")
def test_names_of_a_run(run: Path) -> None:
    file, record = run / "names.yaml", {0: "head", 1: "left ear"}

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        open_run(run)

    fuzz(changed(record, JSON).map(as_yaml) | damaged(as_yaml(record)) | NASTY_YAML, attempt)


@of_a_stranger("audit.json")
def test_the_audit_of_a_run(tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    evidence = {name: ClassEvidence([0.5, 0.25], 0.25, [0.2, 0.3], 4) for name in ("cat", "dog")}
    sound = Audit(
        layer="mask",
        classes=["cat", "dog"],
        evidence=evidence,
        surroundings=0.25,
        accuracy=0.875,
        accuracy_without_surroundings=1.0,
        decided=[DecidedPicture("cat/1.jpg", "cat", "dog", "cat")],
        misleading=[MisleadingPart("cat", 0, 0.5, 1.0, 0.25)],
        mistakes=[Mistake("cat", "dog", 1, SURROUNDINGS, 1.0)],
        pairs=[PairByOne("cat", "dog", 1, 0.9)],
        doubles=["a picture stands twice"],
        data={"spec": "folder:x", "category": None, "split": "test", "num_images": 8},
    )
    record = json.loads(sound.dumps())

    def attempt(content: bytes) -> None:
        file.write_bytes(content)
        found = Audit.from_json(file)
        assert audit_tables(found, {0: "head"}, {1: "ear"})
        json.loads(found.dumps())

    attempt(as_json(record))
    fuzz(changed(record, JSON).map(as_json) | damaged(as_json(record)), attempt)


@pytest.mark.fault("file", "model.safetensors of a stranger's run, damaged", "One sentence")
def test_weights_of_a_run(run: Path) -> None:
    file = run / "model.safetensors"
    sound = file.read_bytes()
    header = 8 + int.from_bytes(sound[:8], "little")

    def attempt(start: bytes) -> None:
        file.write_bytes(start + sound[header:])
        open_run(run)

    fuzz(damaged(sound[:header]), attempt)


@pytest.mark.fault("file", "The log of a stranger's run, damaged", "One sentence")
def test_the_log_of_a_run(run: Path) -> None:
    file = run / "log.csv"
    content = b"epoch,step,task_loss,filter_loss\n0,1,0.5,0.25\n1,2,0.25,0.125\n"

    def attempt(damaged_content: bytes) -> None:
        file.write_bytes(damaged_content)
        read_curves(file)

    fuzz(damaged(content), attempt)


def test_the_fuzzed_run_is_sound(run: Path) -> None:
    opened(run)
    with pytest.raises(PartCNNError):
        opened(run.parent)
