"""Where the curves of a training go: each logger gets every epoch, and those that compare runs the figures too."""

import importlib.util
import sqlite3
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from partcnn.app.runs import NetworkSettings, RunSettings, train_run
from partcnn.app.runs.loggers import PROJECT, check_loggers
from partcnn.foundation.errors import ConfigError
from partcnn.training.recipe import Recipe


def settings(out: Path, logger: str) -> RunSettings:
    network, recipe = NetworkSettings(filters=4), Recipe(num_views=2, epochs=2, head_epochs=1)
    return RunSettings(
        "demo:3", str(out), "cat", "demo", workers=0, logger=logger, network=network, recipe=recipe, cache=False
    )


def test_the_csv_file_alone_or_with_the_events_of_tensorboard(tmp_path: Path) -> None:
    for logger in ("csv", "csv, tensorboard"):
        _, history, _ = train_run(settings(tmp_path / logger, logger), is_progress_shown=False)
        rows = (tmp_path / logger / "log" / "metrics.csv").read_text().splitlines()
        assert len(rows) == 1 + len(history.epochs)
    assert not list((tmp_path / "csv" / "log").glob("events.*"))
    events = EventAccumulator(str(tmp_path / logger / "log"))
    events.Reload()
    found = [event.value for event in events.Scalars("task_loss")]
    assert found == pytest.approx([row["task_loss"] for row in history.epochs])


def test_a_logger_that_is_not_known_or_not_there_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"expected csv, tensorboard, wandb, mlflow.*got 'neptune'"):
        train_run(settings(tmp_path / "run", "csv,neptune"), is_progress_shown=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"mlflow is not installed; pip install 'partcnn\[mlflow\]'"):
        check_loggers(settings(tmp_path / "run", "mlflow"))
    check_loggers(settings(tmp_path / "run", "tensorboard"))
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore")  # mlflow's own
def test_mlflow_gets_settings_curves_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="mlflow is an extra: pip install 'partcnn[mlflow]'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.chdir(tmp_path)
    _, history, evaluation = train_run(settings(tmp_path / "cats", "mlflow"), is_progress_shown=False)
    assert evaluation is not None
    with sqlite3.connect(tmp_path / "runs.db") as store:
        assert store.execute("select name, status from runs").fetchall() == [("cats", "FINISHED")]
        losses = store.execute("select value from metrics where key = 'task_loss' order by step").fetchall()
        accuracy = store.execute("select value from metrics where key = 'test/accuracy'").fetchall()
        epochs = store.execute("select value from params where key = 'recipe/epochs'").fetchall()
    store.close()
    assert [value for (value,) in losses] == pytest.approx([row["task_loss"] for row in history.epochs])
    assert (accuracy, epochs) == ([(evaluation.summary["accuracy"],)], [("2",)])


@pytest.mark.filterwarnings("ignore")  # wandb's own
def test_wandb_gets_a_run_of_each_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is an extra: pip install 'partcnn[wandb]'")
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    for name in ("first", "second"):
        train_run(settings(tmp_path / name, "wandb"), is_progress_shown=False)
        assert wandb.run is None  # it is closed: the next training gets one of its own
    files = list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    wanted, until = {"first", "second", PROJECT, "task_loss", "test/accuracy"}, time.monotonic() + 20
    while wanted and time.monotonic() < until:  # a process of wandb's writes them
        written = b"".join(file.read_bytes() for file in files)
        wanted = {text for text in wanted if text.encode() not in written}
        time.sleep(0.1)
    assert not wanted
