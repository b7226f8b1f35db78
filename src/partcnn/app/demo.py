"""The demonstration: the same small network on drawn animals, plain and with part filters, and a page on both."""

from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from torch import nn

from partcnn.app.demo_trunk import EPOCHS, LAYER, all_kinds, trained_trunk
from partcnn.app.drawings import write_drawings
from partcnn.app.runs.training import train_run
from partcnn.app.settings import NetworkSettings, RunSettings
from partcnn.datasets import PartDataset
from partcnn.datasets.loading import load_dataset
from partcnn.evaluation import Evaluation
from partcnn.explanation.explanation import Explanation, explain
from partcnn.foundation.files import replace_file, save_tensors
from partcnn.plot import filter_gallery, filter_name, tiled_picture
from partcnn.reporting import report
from partcnn.reporting.tiles import evenly_chosen

_NUM_FILTERS = 12  # of 8 none had the head for itself
_NUM_TILES = 6  # pictures of a filter in the gallery


def run_demo(
    directory: Path,
    *,
    seed: int = 0,
    count: int = 150,
    category: str = "giraffe",
    epochs: int | None = None,
    is_progress_shown: bool = True,
) -> tuple[Path, dict[str, Evaluation]]:
    """Train a small trunk on all animals, then tell one of them from background on it, frozen, twice.

    The trunk (`app.demo_trunk`) stands for the ImageNet weights that a real backbone brings. It is taught which kind of
    animal a drawing shows, or none, and to find a place of it again in another view. The other two trainings differ
    in the filter loss alone.

    Args:
        directory: holds the runs "parts" and "plain", replaced where they exist, trunk.safetensors, a few drawings
            kept out in "pictures", what each filter holds of some of them in filters.png, and report.html.
        seed: of all trainings; the drawings are always the same.
        count: drawn pictures per kind of animal.
        category: the animal whose parts are looked for.
        epochs: of each training; None takes the demonstration's own.
        is_progress_shown: bars on the terminal.

    Returns:
        The page, and the evaluations by name, the network with part filters first.
    """
    settings = demo_settings(directory, seed=seed, count=count, category=category, epochs=epochs)
    dataset = load_dataset(settings.data, category=category)
    write_trunk(settings, is_progress_shown=is_progress_shown)
    run, _, evaluation = train_run(settings, dataset=dataset, is_progress_shown=is_progress_shown)
    plain_settings = replace(settings, out=str(directory / "plain"), plain=True)
    _, _, plain = train_run(plain_settings, dataset=dataset, is_progress_shown=is_progress_shown)
    if evaluation is None or plain is None:
        raise KeyboardInterrupt
    test = dataset.with_split("test")
    write_drawings(test, directory / "pictures")
    _draw_gallery(run.model, evaluation, test, directory / "filters.png")
    page = report(
        run.model,
        test,
        directory / "report.html",
        evaluation=evaluation,
        compare={"plain": plain},
        log=run.directory / "log" / "metrics.csv",
    )
    return page, {"part filters": evaluation, "plain": plain}


def demo_settings(
    directory: Path, *, seed: int = 0, count: int = 150, category: str = "giraffe", epochs: int | None = None
) -> RunSettings:
    """Of the run with part filters; arguments as of `run_demo`."""
    return RunSettings(
        data=f"demo:{count}",
        category=category,
        out=str(directory / "parts"),
        backbone="wide_field",
        weights=str(directory / "trunk.safetensors"),
        layers=LAYER,
        seed=seed,
        epochs=epochs,
        network=NetworkSettings(filters=_NUM_FILTERS),
        workers=0,  # drawings are kept in memory: other processes would draw them again
        force=True,
    )


def write_trunk(settings: RunSettings, *, is_progress_shown: bool = True) -> None:
    """Train the trunk that settings of `demo_settings` name, and write its weights where they say."""
    count = int(settings.data.partition(":")[2])
    trunk = trained_trunk(
        all_kinds(settings.data, count),
        epochs=settings.epochs or EPOCHS,
        seed=settings.seed,
        is_progress_shown=is_progress_shown,
    )
    file = Path(settings.weights or "")
    file.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(trunk.state_dict(), file)


def _draw_gallery(model: nn.Module, evaluation: Evaluation, dataset: PartDataset, file: Path) -> None:
    """What each filter holds of some pictures, a row a filter, written to the file."""
    rows = _rows_of_tiles(model, evaluation, dataset)
    figure = Figure(figsize=(1.2 * _NUM_TILES + 0.8, 1.2 * len(rows)), layout="constrained")
    filter_gallery(rows, figure.subplots())
    replace_file(file, lambda temporary: figure.savefig(temporary, format="png", dpi=110))


def _rows_of_tiles(model: nn.Module, evaluation: Evaluation, dataset: PartDataset) -> dict[str, list[Image.Image]]:
    """The same pictures in every row, taken evenly among those of objects: what all filters hold, then each alone."""
    names = {one.filter: filter_name(one.filter, one.part_name) for one in evaluation.filters}
    objects = [place for place, sample in enumerate(dataset.samples) if dataset.shows_object(sample)]
    pictures = [dataset.samples[place].load_image() for place in evenly_chosen(objects, _NUM_TILES)]
    explained = [explain(model, picture) for picture in pictures]
    rows = {"all": [_tiled(why) for why in explained]}
    return rows | {names[number]: [_tiled(why, number) for why in explained] for number in sorted(names)}


def _tiled(why: Explanation, number: int | None = None) -> Image.Image:
    assert why.picture is not None  # a picture was explained
    assert why.regions is not None  # of filters that compete
    return tiled_picture(why.picture, why.regions, only=None if number is None else [number])
