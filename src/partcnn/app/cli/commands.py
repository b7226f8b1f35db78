"""The command line: parse, call, print."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from partcnn.foundation.errors import PartCNNError

BAD_INPUT = 2
INTERRUPTED = 130
_MOST_COLUMNS = 6  # parts beside each other in a table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: done; 2: bad input, told in one line; 130: interrupted, what was trained is saved."""
    errors = Console(stderr=True, soft_wrap=True, markup=False)
    handler = RichHandler(console=errors, show_path=False, show_time=False, show_level=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    logging.getLogger("partcnn").setLevel(logging.INFO)
    try:
        parser = _parser()
        for name in ("lightning.pytorch", "lightning.fabric"):  # imported by now: it sets its own levels then
            logging.getLogger(name).setLevel(logging.ERROR)
        options = parser.instantiate(parser.parse_args(arguments))
        return _COMMANDS[options.command](options[options.command])
    except (PartCNNError, ArgumentError) as error:
        message = " ".join(str(error).split())
        errors.print(f"partcnn: {message}", style="red", highlight=False)
        return BAD_INPUT
    except KeyboardInterrupt:
        errors.print("partcnn: interrupted")
        return INTERRUPTED


def _train(options: Namespace) -> int:
    from partcnn.app.runs import RunSettings, train_run

    fields = RunSettings.__dataclass_fields__
    settings = RunSettings(**{name: options[name] for name in fields})
    run, history, evaluation = train_run(settings, is_progress_shown=not options.json)
    console = _console()
    if evaluation is None:
        console.print(f"interrupted after {len(history.epochs)} epochs; the network so far is in {run.directory}")
        return INTERRUPTED
    if options.json:
        print(evaluation.dumps())
        return 0
    console.print(evaluation.table(), evaluation.filter_table())
    console.print(f"trained in {history.seconds:.0f} s; run directory: {run.directory}")
    return 0


def _evaluate(options: Namespace) -> int:
    from partcnn.app.runs import evaluate_run, open_run
    from partcnn.datasets.loading import load_dataset
    from partcnn.evaluation import Protocol, evaluate
    from partcnn.foundation.errors import ConfigError

    given = {name: options[name] for name in _PROTOCOL if options[name] is not None}
    protocol = Protocol(**given)
    if options.csv is not None and Path(options.csv).is_dir():
        raise ConfigError(f"csv: expected a file name, got the directory {options.csv}; add filters.csv")
    run = open_run(options.run)
    if options.data is None and options.split == "test" and options.crop is None and not given:
        evaluation = evaluate_run(run, num_workers=options.workers)
    else:
        category = run.settings["category"] if options.category is None else options.category
        spec = options.data or run.settings["data"]
        crop = run.crop
        if options.crop is not None:
            crop = {"crop": None if options.crop == "none" else options.crop, "margin": options.margin}
        max_bad = run.settings["max_bad"]
        dataset = load_dataset(spec, category=category, split=options.split, max_bad=max_bad, **crop)
        evaluation = evaluate(run.model, dataset, num_workers=options.workers, protocol=protocol)
    if options.csv is not None:
        Path(options.csv).parent.mkdir(parents=True, exist_ok=True)
        evaluation.to_csv(options.csv)
    if options.json:
        print(evaluation.dumps())
        return 0
    tables = [evaluation.table(), evaluation.filter_table()]
    tables += [evaluation.category_table()] if len(evaluation.by_category) > 1 else []
    tables += [evaluation.part_table()] if evaluation.parts else []
    _console().print(*tables)
    return 0


def _explain(options: Namespace) -> int:
    from partcnn.app.runs import open_run
    from partcnn.explanation.explanation import explain
    from partcnn.foundation.errors import ConfigError

    run = open_run(options.run)
    names = [Path(image).stem for image in options.images]
    if options.out is not None and len(set(names)) < len(names):
        raise ConfigError("images: expected different file names, since the explanations are named after them")
    found = []
    for image, name in zip(options.images, names, strict=True):
        explanation = explain(run.model, image, options.label, against=options.against, hide=options.hide)
        found.append({"image": str(image), **explanation.to_dict()})
        if options.out is not None:
            Path(options.out).mkdir(parents=True, exist_ok=True)
            for ending in ("png", "json"):
                explanation.save(Path(options.out) / f"{name}.{ending}")
        if not options.json:
            _console().print(_contribution_table(image, explanation, _followed_parts(run)))
    if options.json:
        print(json.dumps(found, indent=2))
    elif options.out is not None:
        _console().print(f"pictures with the parts on them, and their numbers: {options.out}")
    return 0


def _followed_parts(run: Any) -> dict[int, str]:
    """Filter → the part it follows, where the run was measured on pictures with annotated parts."""
    from partcnn.evaluation import COVERAGE_R2, Evaluation
    from partcnn.model.saving.checkpoint import METRICS_FILE

    file = run.directory / METRICS_FILE
    filters = Evaluation.from_json(file).filters if file.is_file() else []
    return {one.filter: one.best_part for one in filters if one.best_part and one.part_tracking_r2 >= COVERAGE_R2}


def _console() -> Console:
    """Names of files, classes and parts are printed as they are: brackets in them are no markup."""
    return Console(markup=False)


def _contribution_table(image: str, explanation: Any, parts: dict[int, str], most: int = 10) -> Table:
    rest_name = f"bias {explanation.bias:+.3f} + all filters"
    if not explanation.is_exact:
        rest_name = f"all filters (gradient × activation) + unexplained {explanation.completeness_error:+.3f}"
    title = f"{Path(image).name}: {explanation.question} {explanation.probability:.1%}"
    what = "logit" if explanation.against is None else "difference of logits"
    table = Table(title=title, caption=f"{what} {explanation.logit:+.3f} = {rest_name}")
    for name in ("filter", "follows", f"adds to the {what}", "change when hidden", "at x", "y (px)"):
        table.add_column(name, justify="left" if name == "follows" else "right")
    for one in explanation.contributions[:most]:
        x, y = (f"{place:.0f}" for place in one.position_px) if one.score > 0 else ("–", "–")
        hidden = "" if one.hidden_change is None else f"{one.hidden_change:+.3f}"
        table.add_row(str(one.filter), parts.get(one.filter, ""), f"{one.value:+.3f}", hidden, x, y)
    rest = sum(one.value for one in explanation.contributions[most:])
    if explanation.contributions[most:]:
        table.add_row(f"{len(explanation.contributions) - most} others", "", f"{rest:+.3f}", "", "", "")
    return table


def _report(options: Namespace) -> int:
    from partcnn.app.runs import open_run, run_evaluation
    from partcnn.reporting import report

    run = open_run(options.run)
    names = [Path(other).resolve().name for other in options.compare]
    names = names if len({*names}) == len(names) else list(options.compare)
    others = {name: run_evaluation(open_run(other)) for name, other in zip(names, options.compare, strict=True)}
    path = Path(options.out) if options.out else run.directory / "report.html"
    log = run.directory / "log" / "metrics.csv"
    written = report(
        run.model,
        run.dataset("test"),
        path,
        evaluation=run_evaluation(run),
        compare=others,
        log=log if log.is_file() else None,
    )
    _console().print(f"report: {written}", soft_wrap=True)
    return 0


def _view(options: Namespace) -> int:
    from partcnn.app.runs import open_run
    from partcnn.reporting.viewer import make_server

    run = open_run(options.run)
    with make_server(run.model, run.directory.name, port=options.port, parts=_followed_parts(run)) as server:
        _console().print(f"open http://127.0.0.1:{server.server_port}/ and drop a picture; Ctrl-C ends", soft_wrap=True)
        server.serve_forever()
    return 0


def _redundancy(options: Namespace) -> int:
    from partcnn.app.runs import open_run
    from partcnn.evaluation.redundancy import measure_redundancy, redundancy_table

    runs = {name: open_run(name) for name in (options.run, *options.others)}
    found = {
        name: measure_redundancy(run.model, run.dataset("test"), num_workers=options.workers)
        for name, run in runs.items()
    }
    if options.json:
        print(json.dumps({name: one.to_dict() for name, one in found.items()}))
        return 0
    _console().print(redundancy_table(found, {name: _followed_parts(run) for name, run in runs.items()}))
    return 0


def _prune(options: Namespace) -> int:
    from partcnn.app.pruned_runs import prune_run
    from partcnn.app.runs import open_run, run_evaluation
    from partcnn.evaluation import compare
    from partcnn.training.pruning import num_parameters

    run = open_run(options.run)
    pruned, after = prune_run(
        run,
        options.out,
        keep=options.keep,
        finetune=options.finetune,
        force=options.force,
        num_workers=options.workers,
        is_progress_shown=not options.json,
    )
    if options.json:
        print(after.dumps())
        return 0
    before = run_evaluation(run)
    _console().print(compare({options.run: before, options.out: after}).table())
    sizes = [num_parameters(one.model) for one in (run, pruned)]
    _console().print(f"weights above the trunk: {sizes[0]} → {sizes[1]}; run directory: {pruned.directory}")
    return 0


def _export(options: Namespace) -> int:
    import importlib.util

    import torch

    from partcnn.model.network import conversion_of
    from partcnn.model.saving.checkpoint import load
    from partcnn.model.saving.exporting import export, onnx_differences, output_names

    model = load(options.run)
    path = export(model, options.out, format=options.format, parts=options.parts)
    size = path.stat().st_size / 2**20
    _console().print(
        f"{path}: {size:.1f} MiB, gives {', '.join(output_names(model, parts=options.parts))}", soft_wrap=True
    )
    if path.suffix == ".onnx" and importlib.util.find_spec("onnxruntime") is not None:
        noise = torch.randn(3, 3, *conversion_of(model).preprocessing.input_size)
        gap = max(onnx_differences(model, path, noise).values())
        _console().print(f"onnxruntime gives the same on three pictures of noise, to {gap:.1e}")
    return 0


def _compare(options: Namespace) -> int:
    from partcnn.app.runs import open_run, run_evaluation
    from partcnn.evaluation import compare, compare_methods, methods_table

    evaluations = {run: run_evaluation(open_run(run)) for run in (*options.runs, *options.against)}
    if options.against:
        groups = [[evaluations[run] for run in group] for group in (options.against, options.runs)]
        differences = compare_methods(*groups)
        if options.json:
            print(json.dumps({measure: one.to_dict() for measure, one in differences.items()}))
        else:
            _console().print(methods_table(differences))
        return 0
    comparison = compare(evaluations)
    if options.json:
        against = comparison.to_dict()
        printed = {
            run: json.loads(one.dumps()) | {"against_first": against.get(run, {})} for run, one in evaluations.items()
        }
        print(json.dumps(printed))
        return 0
    _console().print(comparison.table())
    return 0


def _info(options: Namespace) -> int:
    from partcnn.foundation.errors import ConfigError

    if options.data is None and options.backbone is None:
        raise ConfigError("info: expected --data SPEC or --backbone NAME, got neither")
    if options.json and (options.backbone is None or options.data is not None):
        raise ConfigError("json: expected --backbone NAME alone, whose layers are printed as JSON")
    if options.out is not None and options.data is None:
        raise ConfigError("out: expected --data SPEC too, whose pictures are drawn on the sheet")
    if options.data is not None:
        _data_info(options)
    if options.backbone is not None:
        _backbone_info(options)
    return 0


def _data_info(options: Namespace) -> None:
    from partcnn.datasets.loading import load_dataset
    from partcnn.plot.contact_sheet import save_contact_sheet

    dataset = load_dataset(
        options.data, category=options.category, split="all", crop=options.crop, margin=options.margin
    )
    _console().print(_data_table(dataset))
    if options.out is not None:
        _console().print(f"contact sheet: {save_contact_sheet(dataset, Path(options.out))}", soft_wrap=True)


def _data_table(dataset: Any) -> Table:
    parts = dataset.parts
    left_out = [f"{count} {reason}" for reason, count in dataset.skipped.items()]
    left_out += [f"{dataset.num_bad} unreadable pictures"] if dataset.num_bad else []
    table = Table(
        title=f"{dataset.spec}: pictures, and those that show a part (training / kept out)",
        caption=f"left out: {', '.join(left_out)}" if left_out else None,
    )
    both = [dataset.counts(split) for split in ("train", "test")]
    rows = {
        name: [" / ".join(str(count[name].num_images) for count in both)]
        + [" / ".join(str(count[name].num_part_images[part]) for count in both) for part in parts]
        for name in dataset.classes
    }
    is_wide = len(parts) <= _MOST_COLUMNS
    for name in ("class", "pictures", *parts) if is_wide else ("class", "part", "pictures"):
        table.add_column(name, justify="left" if name in ("class", "part") else "right")
    for name, shown in rows.items():
        if is_wide:
            table.add_row(name, *shown)
            continue
        for part, count in zip(("all", *parts), shown, strict=True):
            table.add_row(name if part == "all" else "", part, count, end_section=part == parts[-1])
    return table


def _backbone_info(options: Namespace) -> None:
    from partcnn.networks.backbones import load_backbone
    from partcnn.networks.probing.layer_choice import auto_layer, candidate_layers
    from partcnn.networks.probing.layer_shapes import layer_shapes
    from partcnn.networks.probing.receptive_field import traced_fields

    backbone = load_backbone(options.backbone, options.weights)
    size = tuple(options.input_size or backbone.preprocessing.input_size)
    every = layer_shapes(backbone.network, size)
    shown = [shape for shape in every if min(shape.map_size) >= 2] if options.all else candidate_layers(every)
    auto = auto_layer(every).name
    fields = traced_fields(backbone.network, [shape.name for shape in shown], size)
    if options.json:
        rows = [_layer_entry(shape, fields.get(shape.name), is_auto=shape.name == auto) for shape in shown]
        print(json.dumps({"backbone": options.backbone, "input_size": size, "auto": auto, "layers": rows}, indent=2))
        return
    _console().print(_layer_table(f"{options.backbone} at input {size[0]}×{size[1]}", shown, fields, auto))


def _layer_entry(shape: Any, field: Any, *, is_auto: bool) -> dict[str, Any]:
    return {
        "layer": shape.name,
        "num_channels": shape.num_channels,
        "map_size": shape.map_size,
        "stride_px": field.stride_px if field else shape.stride_px,
        "receptive_field_px": field.size_px if field else None,
        "is_nonnegative": shape.is_nonnegative,
        "is_channels_last": shape.is_channels_last,
        "is_auto": is_auto,
    }


def _layer_table(title: str, shown: list[Any], fields: dict[str, Any], auto: str) -> Table:
    table = Table(
        title=f"{title}: layers to put part filters on, first to last",
        caption=f"--layers auto takes {auto}. ≥ 0: head=original can mask it; head=additive takes any of them",
    )
    for column in ("layer", "channels", "map", "stride px", "receptive field px", "≥ 0"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for shape in shown:
        field = fields.get(shape.name)
        stride = field.stride_px if field else shape.stride_px
        table.add_row(
            f"{shape.name} (auto)" if shape.name == auto else shape.name,
            str(shape.num_channels),
            f"{shape.map_size[0]}×{shape.map_size[1]}",
            f"{stride[0]:g}×{stride[1]:g}",
            f"{field.size_px[0]:g}×{field.size_px[1]:g}" if field else "not traced",
            "yes" if shape.is_nonnegative else "no",
        )
    return table


def _demo(options: Namespace) -> int:
    from partcnn.app.demo import run_demo
    from partcnn.evaluation import compare

    page, evaluations = run_demo(
        Path(options.out), seed=options.seed, count=options.count, category=options.category, epochs=options.epochs
    )
    _console().print(compare(evaluations).table())
    _console().print(f"open this page: {page.resolve()}", soft_wrap=True)
    return 0


def _benchmark(options: Namespace) -> int:
    return _BENCHMARKS[options.benchmark](options[options.benchmark])


def _benchmark_paper(options: Namespace) -> int:
    from partcnn.app.experiments.paper import write_tables
    from partcnn.app.experiments.paper_runs import read_figures, read_runs, train_missing, wanted_runs
    from partcnn.app.runs import NetworkSettings, RunSettings
    from partcnn.foundation.errors import ConfigError

    out = Path(options.out)
    figures = read_runs(Path(run) for run in options.runs)
    if options.data is None and not figures:
        raise ConfigError("benchmark paper: expected --runs of finished runs, --data SPEC to train on, or both")
    text = write_tables(figures, out) if figures else ""  # an earlier page stays until there is something to show
    if options.data is not None:
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
    print((out / "paper.json").read_text() if options.json else text)
    return 0


def _benchmark_objectives(options: Namespace) -> int:
    from partcnn.app.experiments.objectives import ObjectivesConfig, read_rows, run_benchmark
    from partcnn.app.experiments.objectives_table import page, plot
    from partcnn.foundation.disk_cache import default_cache
    from partcnn.foundation.files import write_text

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
    print(out.with_suffix(".json" if options.json else ".md").read_text())
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="partcnn", description="Part filters for any CNN.", exit_on_error=False)
    commands = parser.add_subcommands(dest="command")
    for name, add in _OPTIONS.items():
        command = ArgumentParser(prog=f"partcnn {name}", exit_on_error=False)
        commands.add_subcommand(name, command, help=_HELP[name])
        add(command)  # after, since a command may have commands of its own
    return parser


def _train_options(parser: ArgumentParser) -> None:
    from partcnn.app.runs import RunSettings

    parser.add_argument("--config", action="config", help="settings from a YAML file; flags win over it")
    parser.add_class_arguments(RunSettings, as_group=False, skip={"plain", "force", "max_bad"})
    parser.add_argument("--plain", action="store_true", help="without masks and filter loss, to compare with")
    parser.add_argument("--force", action="store_true", help="replace an existing run")
    parser.add_argument("--max-bad", type=int, default=10, help="unreadable pictures that may be left out")
    _add_json(parser)


def _evaluate_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("--data", type=str | None, help="other pictures than the run's own, KIND:PLACE")
    parser.add_argument("--category", type=str | None, help="of these pictures")
    parser.add_argument("--split", type=str, default="test", help="train, test or all")
    parser.add_argument("--crop", type=str | None, help="object or none; without it as the run's own pictures")
    parser.add_argument("--margin", type=float, default=0.1, help="of that cut on each side, as a share of the box")
    _add_workers(parser)
    parser.add_argument("--top", type=int | None, help="strongest pictures per filter and part; default 100")
    parser.add_argument("--places", type=str | None, help="peak or expected; without it as the network reads them")
    parser.add_argument("--radius-px", type=float | None, help="of the discs around cells; default two strides")
    parser.add_argument("--iou-threshold", type=float | None, help="above which a part is hit; default 0.2")
    parser.add_argument("--csv", type=str | None, help="also write a row per filter to this file")
    _add_json(parser)


def _explain_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("images", nargs="+", help="picture files")
    parser.add_argument("--class", dest="label", type=str | None, help="the class to explain; else the predicted one")
    parser.add_argument("--against", type=str | None, help="a second class: why the first and not this one")
    parser.add_argument(
        "--hide",
        type=int,
        default=5,
        help="for how many contributions to tell the logit's change when their place is hidden",
    )
    parser.add_argument("--out", type=str | None, help="folder for pictures with the parts on them, and the numbers")
    _add_json(parser)


def _report_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("--compare", nargs="+", default=[], help="other runs on the same pictures")
    parser.add_argument("--out", type=str | None, help="the page; default report.html in the run directory")


def _view_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("--port", type=int, default=8765, help="of this machine alone (loopback); 0: any free one")


def _redundancy_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("others", nargs="*", default=[], help="other runs beside it, such as the plain one")
    _add_workers(parser)
    _add_json(parser)


def _prune_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory")
    parser.add_argument("--out", type=str, required=True, help="run directory of the smaller network")
    parser.add_argument("--keep", type=float, default=0.25, help="share of the filters of each layer that stays")
    parser.add_argument("--finetune", type=int, default=0, help="epochs of training after the cut")
    parser.add_argument("--force", action="store_true", help="replace an existing run")
    _add_workers(parser)
    _add_json(parser)


def _export_options(parser: ArgumentParser) -> None:
    parser.add_argument("run", help="run directory, or one that partcnn.save wrote")
    parser.add_argument("--out", type=str, required=True, help="the file, such as model.onnx or model.pt2")
    parser.add_argument("--format", type=str | None, help="onnx or torch-export; without it by the file's ending")
    parser.add_argument(
        "--parts", action="store_true", help="also give masked maps, peaks and each filter's contributions"
    )


def _compare_options(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", help="run directories; each is compared with the first")
    parser.add_argument(
        "--against",
        nargs="+",
        default=[],
        help="as many other runs, in the same order: one method against another, the runs being the pairs",
    )
    _add_json(parser)


def _info_options(parser: ArgumentParser) -> None:
    parser.add_argument("--data", type=str | None, help="KIND:PLACE: counts per class and part")
    parser.add_argument("--category", type=str | None, help="one category against background")
    parser.add_argument("--crop", type=str | None, help="object: each picture cut to its object box")
    parser.add_argument("--margin", type=float, default=0.1, help="of that cut on each side, as a share of the box")
    parser.add_argument("--out", type=str | None, help="a picture file: some pictures of each class with their parts")
    parser.add_argument("--backbone", type=str | None, help="a network: its layers, map sizes and receptive fields")
    parser.add_argument("--weights", type=str, default="none", help="of the network: none, default, or a file")
    parser.add_argument("--input-size", type=int, nargs=2, help="height and width of its pictures, in pixels")
    parser.add_argument("--all", action="store_true", help="also the layers that blocks are made of")
    parser.add_argument("--json", action="store_true", help="print the network's layers as one JSON object")


def _demo_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=str, default="runs/demo", help="folder for the two runs and the page")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--category", type=str, default="giraffe", help="the animal whose parts are looked for")
    parser.add_argument("--count", type=int, default=150, help="drawn pictures per kind of animal")
    parser.add_argument("--epochs", type=int | None, help="fewer are quicker; the default shows the method's worth")


def _benchmark_options(parser: ArgumentParser) -> None:
    paper = ArgumentParser(prog="partcnn benchmark paper", exit_on_error=False)
    paper.add_argument("--runs", nargs="+", default=[], help="finished runs, their metrics.json, or a paper.json")
    paper.add_argument("--data", type=str | None, help="KIND:PLACE: train what is missing, plain and with part filters")
    paper.add_argument("--categories", nargs="+", default=[], help="to train on, each against background, or all")
    paper.add_argument("--multi", action="store_true", help="also train on all categories told apart")
    paper.add_argument("--backbones", nargs="+", default=["resnet18"], help="NAME, or NAME=WEIGHTS")
    paper.add_argument("--layers", type=str, default="auto", help="dotted name of the trunks' last layer")
    paper.add_argument("--seeds", nargs="+", type=int, default=[0], help="averaged")
    paper.add_argument("--crop", type=str | None, help="object: each picture cut to its object box")
    paper.add_argument("--margin", type=float, default=0.1, help="of that cut on each side, as a share of the box")
    paper.add_argument("--epochs", type=int | None, help="of each training; the default is the recipe's")
    _add_workers(paper)
    paper.add_argument("--out", type=str, default="runs/paper", help="folder for paper.md, paper.json and the runs")
    _add_json(paper)
    objectives = ArgumentParser(prog="partcnn benchmark objectives", exit_on_error=False)
    objectives.add_argument("--config", type=str, required=True, help="YAML: methods, categories, seeds, trunk")
    objectives.add_argument(
        "--data", type=str | None, help="KIND:PLACE: train what --out lacks; else only write it anew"
    )
    objectives.add_argument("--backbone", type=str | None, help="in place of the file's")
    objectives.add_argument("--weights", type=str | None, help="of the trunk: PATH, default or none")
    objectives.add_argument("--layers", type=str | None, help="in place of the file's")
    objectives.add_argument("--categories", nargs="+", type=str, help="in place of the file's")
    objectives.add_argument("--seeds", nargs="+", type=int, help="in place of the file's")
    objectives.add_argument(
        "--cache", type=bool, default=True, help="keep the trunk's maps on the disk for later runs, as in partcnn train"
    )
    objectives.add_argument("--methods", nargs="+", type=str, help="of the file's, these only")
    objectives.add_argument(
        "--out", type=str, default="runs/objectives", help="the page, .json and .png, without ending"
    )
    _add_json(objectives)
    kinds = parser.add_subcommands(dest="benchmark")
    kinds.add_subcommand("objectives", objectives, help="objectives, the plain network and the ceiling side by side")
    kinds.add_subcommand("paper", paper, help="our figures beside the paper's")


def _add_workers(parser: ArgumentParser) -> None:
    from partcnn.app.runs import DEFAULT_WORKERS

    parser.add_argument("--workers", type=int, default=DEFAULT_WORKERS, help="processes that decode pictures")


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")


_HELP = {
    "train": "train a network with part filters and measure it",
    "evaluate": "measure a run on pictures it was not trained on",
    "explain": "show which parts made a decision",
    "report": "write one page that shows every filter",
    "view": "a page on this machine where a picture of your own is explained",
    "redundancy": "measure how much the filters of runs say the same",
    "prune": "cut filters out of a run's network",
    "export": "write the network as one file that runs without partcnn",
    "compare": "put runs side by side",
    "info": "count a data set's pictures and parts and draw some, or list a network's layers",
    "benchmark": "put finished or new runs into the form of published tables",
    "demo": "train on drawn animals, with and without part filters, and write the page",
}
_OPTIONS: dict[str, Callable[[ArgumentParser], None]] = {
    "train": _train_options,
    "evaluate": _evaluate_options,
    "explain": _explain_options,
    "report": _report_options,
    "view": _view_options,
    "redundancy": _redundancy_options,
    "prune": _prune_options,
    "export": _export_options,
    "compare": _compare_options,
    "info": _info_options,
    "benchmark": _benchmark_options,
    "demo": _demo_options,
}
_COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "explain": _explain,
    "report": _report,
    "view": _view,
    "redundancy": _redundancy,
    "prune": _prune,
    "export": _export,
    "compare": _compare,
    "info": _info,
    "benchmark": _benchmark,
    "demo": _demo,
}
_PROTOCOL = ("top", "places", "radius_px", "iou_threshold")
_BENCHMARKS: dict[str, Callable[[Namespace], int]] = {
    "objectives": _benchmark_objectives,
    "paper": _benchmark_paper,
}

if __name__ == "__main__":
    sys.exit(main())
