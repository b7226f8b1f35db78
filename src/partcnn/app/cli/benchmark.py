"""partcnn benchmark: objectives or paper, runs in the form of published tables."""

from collections.abc import Callable
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from partcnn.app.cli.exit_status import DONE
from partcnn.app.cli.options import add_json, add_workers
from partcnn.app.cli.quiet import quiet_lightning
from partcnn.app.settings import NetworkSettings, RunSettings
from partcnn.foundation.errors import ConfigError


def add_options(parser: ArgumentParser) -> None:
    kinds = parser.add_subcommands(dest="benchmark")
    for name, (line, add, _) in _KINDS.items():
        kind = ArgumentParser(prog=f"partcnn benchmark {name}", exit_on_error=False)
        add(kind)
        kinds.add_subcommand(name, kind, help=line)


def execute(options: Namespace) -> int:
    _, _, run = _KINDS[options.benchmark]
    return run(options[options.benchmark])


def _add_paper(parser: ArgumentParser) -> None:
    parser.add_argument("--runs", nargs="+", default=[], help="finished runs, their metrics.json, or a paper.json")
    parser.add_argument(
        "--data", type=str | None, help="KIND:PLACE: train what is missing, plain and with part filters"
    )
    parser.add_argument("--categories", nargs="+", default=[], help="to train on, each against background, or all")
    parser.add_argument("--multi", action="store_true", help="also train on all categories told apart")
    parser.add_argument("--backbones", nargs="+", default=["resnet18"], help="NAME, or NAME=WEIGHTS")
    parser.add_argument("--layers", type=str, default="auto", help="dotted name of the trunks' last layer")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="averaged")
    parser.add_argument("--crop", type=str | None, help="object: each picture cut to its object box")
    parser.add_argument("--margin", type=float, default=0.1, help="of that cut on each side, as a share of the box")
    parser.add_argument("--epochs", type=int | None, help="of each training; the default is the recipe's")
    add_workers(parser)
    parser.add_argument("--out", type=str, default="runs/paper", help="folder for paper.md, paper.json and the runs")
    add_json(parser)


def _add_objectives(parser: ArgumentParser) -> None:
    parser.add_argument("--config", type=str, required=True, help="YAML: methods, categories, seeds, trunk")
    parser.add_argument("--data", type=str | None, help="KIND:PLACE: train what --out lacks; else only write it anew")
    parser.add_argument("--backbone", type=str | None, help="in place of the file's")
    parser.add_argument("--weights", type=str | None, help="of the trunk: PATH, default or none")
    parser.add_argument("--layers", type=str | None, help="in place of the file's")
    parser.add_argument("--categories", nargs="+", type=str, help="in place of the file's")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of the file's")
    parser.add_argument(
        "--cache", type=bool, default=True, help="keep the trunk's maps on the disk for later runs, as in partcnn train"
    )
    parser.add_argument("--methods", nargs="+", type=str, help="of the file's, these only")
    parser.add_argument("--out", type=str, default="runs/objectives", help="the page, .json and .png, without ending")
    add_json(parser)


def _add_interventions(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", help="finished runs on drawn animals, of one --data and --category")
    parser.add_argument(
        "--train", type=int | None, help="COUNT drawings of each of six animals: train what --folder lacks of it"
    )
    parser.add_argument("--folder", type=str, default="runs/interventions", help="of the trained runs, which are kept")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the trained runs")
    parser.add_argument("--epochs", type=int | None, help="of each training; the default is the demonstration's")
    parser.add_argument("--pictures", type=int, default=30, help="kept out of training, of each animal")
    parser.add_argument("--seed", type=int, default=0, help="of what is changed in the pictures")
    parser.add_argument("--out", type=str, default="runs/interventions/page", help="the page and .json, without ending")
    add_json(parser)


def _paper(options: Namespace) -> int:
    from partcnn.app.experiments.paper import write_tables
    from partcnn.app.experiments.paper_runs import read_figures, read_runs, train_missing, wanted_runs

    out = Path(options.out)
    figures = read_runs(Path(run) for run in options.runs)
    if options.data is None and not figures:
        raise ConfigError("benchmark paper: expected --runs of finished runs, --data SPEC to train on, or both")
    text = write_tables(figures, out) if figures else ""  # an earlier page stays until there is something to show
    if options.data is not None:
        quiet_lightning()
        base = RunSettings(
            data=options.data,
            out=str(out / "runs"),
            crop=options.crop,
            margin=options.margin,
            epochs=options.epochs,
            layers=options.layers,
            workers=options.workers,
            network=NetworkSettings(places="peak"),  # as the paper measures
        )
        wanted = wanted_runs(
            base,
            categories=options.categories,
            has_multi=options.multi,
            backbones=options.backbones,
            seeds=options.seeds,
        )
        for directory in train_missing(wanted, is_progress_shown=not options.json):
            figures.append(read_figures(directory))
            text = write_tables(figures, out)
    print((out / "paper.json").read_text(encoding="utf-8") if options.json else text)
    return DONE


def _objectives(options: Namespace) -> int:
    from partcnn.app.experiments.objectives import ObjectivesConfig, read_rows, run_benchmark
    from partcnn.app.experiments.objectives_table import page, plot
    from partcnn.foundation.disk_cache import default_cache
    from partcnn.foundation.files import write_text

    quiet_lightning()
    config = ObjectivesConfig.read(
        Path(options.config),
        weights=options.weights,
        backbone=options.backbone,
        layers=options.layers,
        categories=options.categories,
        seeds=options.seeds,
        only=options.methods,
    )
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    file = out.with_suffix(".json")
    cache = default_cache() if options.cache else None
    finished = [read_rows(file)]
    for rows in finished if options.data is None else run_benchmark(config, options.data, file, cache=cache):
        write_text(out.with_suffix(".md"), page(rows, config))
        plot(rows, config, out.with_suffix(".png"))
    print(out.with_suffix(".json" if options.json else ".md").read_text(encoding="utf-8"))
    return DONE


def _interventions(options: Namespace) -> int:
    from partcnn.app.experiments.intervention_runs import trained_networks
    from partcnn.app.experiments.interventions import interventions
    from partcnn.app.experiments.interventions_page import write_page
    from partcnn.explanation.spatial import check_captum

    check_captum()
    directories = [Path(run) for run in options.runs]
    if options.train is not None:
        quiet_lightning()
        directories += trained_networks(
            Path(options.folder),
            count=options.train,
            seeds=options.seeds,
            epochs=options.epochs,
            is_progress_shown=not options.json,
        )
    found = interventions(
        directories, per_animal=options.pictures, seed=options.seed, is_progress_shown=not options.json
    )
    out = Path(options.out)
    text = write_page(found, out)
    print(out.with_suffix(".json").read_text(encoding="utf-8") if options.json else text)
    return DONE


_KINDS: dict[str, tuple[str, Callable[[ArgumentParser], None], Callable[[Namespace], int]]] = {
    "interventions": (
        "explanations of drawn animals, tested by drawing them again",
        _add_interventions,
        _interventions,
    ),
    "objectives": ("objectives, the plain network and the ceiling side by side", _add_objectives, _objectives),
    "paper": ("our figures beside the paper's", _add_paper, _paper),
}
