"""Options that several commands have."""

from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.settings import DEFAULT_WORKERS

if TYPE_CHECKING:
    from partcnn.app.runs.opening import Run
    from partcnn.datasets.part_dataset import PartDataset


def add_workers(parser: ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=DEFAULT_WORKERS, help="processes that decode pictures")


def add_pictures(parser: ArgumentParser) -> None:
    """Which pictures a run is asked about; without one of these options, those kept out of it."""
    parser.add_argument("--data", type=str | None, help="other pictures than the run's own, KIND:PLACE")
    parser.add_argument("--category", type=str | None, help="of these pictures")
    parser.add_argument("--split", type=str, default="test", help="train, test or all")
    parser.add_argument("--crop", type=str | None, help="object or none; without it as the run's own pictures")
    parser.add_argument("--margin", type=float, default=0.1, help="of that cut on each side, as a share of the box")


def are_own_pictures(options: Namespace) -> bool:
    """Whether those of `add_pictures` are the run's own, kept out of it."""
    return options.split == "test" and all(options[name] is None for name in ("data", "category", "crop"))


def chosen_pictures(run: "Run", options: Namespace) -> "PartDataset":
    """Those of `add_pictures`."""
    from partcnn.datasets.loading import load_dataset

    crop = run.crop
    if options.crop is not None:
        crop = {"crop": None if options.crop == "none" else options.crop, "margin": options.margin}
    return load_dataset(
        options.data or run.settings.data,
        category=run.settings.category if options.category is None else options.category,
        split=options.split,
        max_bad=run.settings.max_bad,
        **crop,
    )


def add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
