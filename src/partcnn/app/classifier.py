"""From a folder of pictures to a trained network that explains itself, in one call."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from partcnn.app.named_data import DRAWN, remember
from partcnn.app.runs.audits import run_audit
from partcnn.app.runs.opening import Run, about, dataset_of, followed_parts, open_run, run_evaluation
from partcnn.app.runs.reports import report_run
from partcnn.app.runs.training import train_run
from partcnn.app.settings import NetworkSettings, RunSettings, check_kinds
from partcnn.datasets.choice import chosen_objects
from partcnn.evaluation.audit_result import Audit
from partcnn.evaluation.measurement import evaluate
from partcnn.evaluation.result import Evaluation
from partcnn.explanation.explanation import Explanation, explain
from partcnn.foundation.errors import ConfigError, DataError, RunError
from partcnn.foundation.files import as_path
from partcnn.model.network import conversion_of
from partcnn.model.saving.hub import push_to_hub
from partcnn.training.recipe import Recipe

_NUM_DRAWINGS = 3  # on a model card
_GIVEN = ("data", "out")  # by arguments of their own
_OF_RECORDS = ("pruned", "unread")


class PartClassifier:
    """A trained run: its network, and what one asks of it. `fit_folder` makes one, `open` opens one.

    Args:
        run: any.

    Attributes:
        run: settings and state of the training.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> "PartClassifier":
        """One of a directory that `fit_folder` or `partcnn train` wrote.

        Raises:
            RunError: the directory is missing, incomplete or malformed.
        """
        return cls(open_run(as_path(directory, RunError, "directory: expected a run directory")))

    @property
    def model(self) -> nn.Module:
        """The network, made by `partcnn.convert`; in evaluation mode."""
        return self.run.model

    @property
    def directory(self) -> Path:
        """Of the run; every command takes it."""
        return self.run.directory

    def evaluate(self, folder: str | os.PathLike[str] | None = None) -> Evaluation:
        """The figures on the pictures kept out of training, or on all of another folder.

        Args:
            folder: other pictures, with a sub-folder for each of the same classes.

        Raises:
            DataError: the folder has other classes, or cannot be read.
        """
        if folder is None:
            return run_evaluation(self.run)
        pictures = dataset_of(replace(self.run.settings, data=_spec(folder)), "all")
        return replace(evaluate(self.model, pictures), run=about(self.run))

    def explain(
        self, image: str | os.PathLike[str] | Image.Image | Tensor, label: int | str | None = None, **asked: Any
    ) -> Explanation:
        """The parts that made a decision; arguments and errors as of `partcnn.explain`."""
        return explain(self.model, image, label, **asked)

    def audit(self) -> Audit | None:
        """Whether decisions come from the object or from the scene; None where the head is no sum of parts."""
        return run_audit(self.run)

    def report(self, path: str | os.PathLike[str] | None = None, *, compare: Sequence[str | Path] = ()) -> Path:
        """Write one page that shows every filter.

        Args:
            path: of the page; None takes report.html in the run directory, for `demo:` in the present one.
            compare: directories of other runs on the same pictures.

        Returns:
            The path.

        Raises:
            RunError: the run was not trained on its pictures here, which the page would show; `partcnn report` takes
                them by name.
        """
        place = None if path is None else as_path(path, RunError, "path: expected the file to write")
        return report_run(self.run, place, compare=compare)

    def push_to_hub(
        self, repo_id: str, *, pictures: Sequence[str | os.PathLike[str]] = (), private: bool = False
    ) -> str:
        """Upload the network to the Hugging Face hub, its figures and some explanations on the model card.

        Args:
            repo_id: OWNER/NAME.
            pictures: files that are explained on the card, for all to see. Without them it shows pictures where the run
                was trained on drawn animals, and none of yours.
            private: whether a repository that is made is private.

        Returns:
            The address of the commit.

        Raises:
            ConfigError: huggingface_hub is not installed.
            DataError: a picture cannot be read.
        """
        given: Sequence[Any] = pictures or self._drawings()
        with tempfile.TemporaryDirectory() as temporary:
            parts = followed_parts(self.run)
            files = [
                self.explain(picture).save(Path(temporary, f"{number}.png"), parts=parts)
                for number, picture in enumerate(given)
            ]
            return push_to_hub(self.directory, repo_id, private=private, pictures=files)

    def _drawings(self) -> list[Image.Image]:
        """Some of the objects it was measured on, where they are drawn by partcnn."""
        if self.run.settings.data.partition(":")[0] != DRAWN:
            return []
        pictures = self.run.dataset("test")
        return [pictures.samples[number].load_image() for number in chosen_objects(pictures, _NUM_DRAWINGS)]

    def __repr__(self) -> str:
        classes = ", ".join(conversion_of(self.model).classes)
        return f"PartClassifier({str(self.directory)!r}: {self.run.settings.backbone} knows {classes})"


def fit_folder(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    category: str | None = None,
    is_progress_shown: bool = True,
    **settings: Any,
) -> PartClassifier:
    """Train a network on a folder with a sub-folder of pictures per class, and measure it on pictures kept out.

    The same as `partcnn train --data folder:FOLDER`: parts.csv in the folder and splits are read, ResNet-18 with
    ImageNet weights is the frozen trunk, and filters compete.

    Args:
        folder: of the pictures.
        out: the run directory; None takes "runs" and the folder's name.
        category: a sub-folder: this object against all others. None: all are told apart.
        is_progress_shown: bars on the terminal.
        settings: any other of `partcnn train`, by its name in `partcnn.app.settings.RunSettings`: `backbone`,
            `weights`, `epochs`, `seed`, `force`, …; `network` and `recipe` as objects or as mappings.

    Returns:
        The trained network. After Ctrl-C as it was then.

    Raises:
        RunError: the run directory exists, and `force` is not set.
        DataError: the folder is none, or its pictures cannot be used.
        ConfigError: a setting is unknown or outside what it may be.
    """
    spec = _spec(folder)
    place = Path("runs", Path(folder).resolve().name) if out is None else as_path(out, RunError, "out: expected a path")
    asked = RunSettings(spec, str(place), category, **_checked(settings))
    check_kinds(asked)
    remember(asked.data)
    run, _, _ = train_run(asked, is_progress_shown=is_progress_shown)
    run.model.eval()
    return PartClassifier(run)


def _spec(folder: str | os.PathLike[str]) -> str:
    return f"folder:{as_path(folder, DataError, 'folder: expected the path of a folder of pictures')}"


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    known = [name for name in RunSettings.__dataclass_fields__ if name not in (*_GIVEN, *_OF_RECORDS)]
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            told = f"did you mean {near[0]}?" if near else f"it may be one of {', '.join(known)}"
            raise ConfigError(f"{name}: expected a setting of partcnn train; {told}")
    nested: dict[str, type[NetworkSettings] | type[Recipe]] = {"network": NetworkSettings, "recipe": Recipe}
    return {name: _of(nested[name], name, value) if name in nested else value for name, value in settings.items()}


def _of(kind: type[NetworkSettings] | type[Recipe], name: str, value: Any) -> Any:
    """A group of settings that was given as a mapping."""
    if not isinstance(value, Mapping):
        return value
    unknown = [entry for entry in value if entry not in kind.__dataclass_fields__]
    if unknown:
        raise ConfigError(f"{name}: expected settings of {kind.__name__}, got {', '.join(map(str, unknown))}")
    return kind(**value)
