"""The command line as a user meets it: whole runs on small pictures, and one line for every kind of bad input."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from partcnn.app.cli.commands import COMMANDS, main
from partcnn.app.cli.quiet import quiet_lightning
from partcnn.app.runs import built_network, open_run
from partcnn.app.settings import RunSettings
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.datasets.loading import load_dataset
from partcnn.model.network import conversion_of
from partcnn.networks.backbones import load_backbone
from partcnn.training.recipe import Recipe
from tests.data_files import write_cub

TRAIN = ["--backbone", "demo", "--layers", "features.block4", "--epochs", "1", "--workers", "0"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of drawn pictures, as a user would have them."""
    root = tmp_path_factory.mktemp("pictures")
    for kind in ("cat", "giraffe"):
        (root / kind).mkdir()
        for seed in range(12):
            draw_animal(kind, seed, size=64).image.save(root / kind / f"{kind}-{seed}.png")
    return root


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "--data", f"folder:{pictures}", "--out", str(out), "--json", *TRAIN]) == 0
    return out


def one_line_error(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("partcnn: ")]
    assert len(lines) == 1
    assert "Traceback" not in captured.err + captured.out
    return lines[0]


def test_a_run_directory_holds_settings_model_metrics_and_log(run: Path) -> None:
    present = {file.name for file in run.iterdir()}
    assert {"run.yaml", "config.json", "model.safetensors", "metrics.json", "log"} <= present
    assert "task_loss" in (run / "log" / "metrics.csv").read_text()
    assert list((run / "log").glob("events.out.tfevents*"))


def test_training_shows_what_partcnn_says_and_none_of_lightnings_remarks(pictures: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "partcnn", "train", "--data", f"folder:{pictures}", "--out", str(tmp_path / "run")]
    done = subprocess.run([*command, *TRAIN], capture_output=True, text=True, check=True)
    said = done.stdout + done.stderr
    assert "layers='features.block4'" in said or "trained in" in said
    assert not [line for line in said.splitlines() if line.startswith(("INFO:", "GPU available", "💡"))]


def test_evaluate_prints_one_json_object_with_the_agreed_figures(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json", "--workers", "0"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {
        "accuracy",
        "part_tracking_r2",
        "part_tracking_r2_top_quarter",
        "part_tracking_r2_best",
        "location_instability",
        "constant_point_instability",
        "displacement_scatter",
        "coverage",
        "dead_filters",
    } <= printed["summary"].keys()
    assert len(printed["filters"]) == printed["summary"]["num_filters"]


def test_evaluate_takes_other_numbers_of_the_measures_and_leaves_the_runs_figures(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "metrics.json").read_bytes()
    numbers = ["--radius-px", "9", "--iou-threshold", "0.5", "--top", "7", "--places", "peak"]
    assert main(["evaluate", str(run), "--json", "--workers", "0", *numbers]) == 0
    protocol = json.loads(capsys.readouterr().out)["protocol"]
    assert (protocol["radius_px"], protocol["iou_threshold"], protocol["top"]) == (9, 0.5, 7)
    assert protocol["places"] == "peak"
    assert json.loads(before)["protocol"]["places"] == "centroid"
    assert (run / "metrics.json").read_bytes() == before
    assert "top: expected at least 2" in one_line_error(capsys, ["evaluate", str(run), "--top", "1"])


def test_evaluate_tests_explanations_keeps_what_it_found_and_the_report_shows_it(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    assert json.loads((copied / "metrics.json").read_text())["faithfulness"] is None
    assert main(["evaluate", str(copied), "--workers", "0", "--faithfulness-pictures", "3"]) == 0
    printed = capsys.readouterr().out
    assert "area under the logit of the predicted class" in printed
    assert "3 pictures, 14 × 14 cells" in " ".join(printed.split())
    kept = json.loads((copied / "metrics.json").read_text())["faithfulness"]
    assert {"sum of parts", "random"} <= kept["areas"].keys()
    assert main(["report", str(copied), "--data", f"folder:{pictures}"]) == 0
    assert 'id="faithfulness"' in (copied / "report.html").read_text()
    capsys.readouterr()
    arguments = ["evaluate", str(copied), "--workers", "0", "--split", "all", "--json", "--faithfulness"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["faithfulness"]["num_images"] == 24
    said = one_line_error(capsys, ["evaluate", str(copied), "--faithfulness-pictures", "0"])
    assert "faithfulness-pictures: expected at least 1, got 0" in said


def test_evaluate_refuses_pictures_of_other_classes_by_name(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, name in (("cat", "a cat"), ("giraffe", "giraffe")):
        (tmp_path / name).symlink_to(pictures / kind)
    said = one_line_error(capsys, ["evaluate", str(run), "--data", f"folder:{tmp_path}", "--workers", "0"])
    assert "expected the classes that the model was trained on, cat, giraffe; got a cat, giraffe" in said


def test_evaluate_writes_a_row_per_filter(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tables" / "filters.csv"
    assert main(["evaluate", str(run), "--csv", str(file), "--workers", "0"]) == 0
    header, *rows = file.read_text().splitlines()
    assert header.startswith("layer,filter,category")
    assert len(rows) == json.loads((run / "metrics.json").read_text())["summary"]["num_filters"]
    assert "purity" in capsys.readouterr().out
    assert "csv" in one_line_error(capsys, ["evaluate", str(run), "--csv", str(tmp_path)])


@pytest.mark.fault("run", "a second training to the same --out", "exit 2, one line names --force, nothing is touched")
def test_a_second_run_to_the_same_place_is_refused_and_harms_nothing(
    run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in run.iterdir() if file.is_file()}
    message = one_line_error(capsys, ["train", "--data", f"folder:{pictures}", "--out", str(run), *TRAIN])
    assert "--force" in message
    assert before == {file: file.read_bytes() for file in run.iterdir() if file.is_file()}


@pytest.mark.fault("run", "`train --force` with settings that cannot be used", "exit 2, one line, the old run stays")
def test_force_with_bad_settings_keeps_the_old_run(
    run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.read_bytes() for file in run.iterdir() if file.is_file()}
    arguments = ["train", "--data", f"folder:{pictures}", "--out", str(run), "--force", *TRAIN, "--layers", "nowhere"]
    assert "nowhere" in one_line_error(capsys, arguments)
    assert before == {file: file.read_bytes() for file in run.iterdir() if file.is_file()}


def test_explain_gives_contributions_that_add_up_and_a_picture(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((pictures / "cat").iterdir())
    capsys.readouterr()
    assert main(["explain", str(run), str(image), "--class", "giraffe", "--out", str(tmp_path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["label"] == "giraffe"
    total = found["bias"] + found["surroundings"] + sum(one["value"] for one in found["contributions"])
    assert total == pytest.approx(found["logit"], abs=1e-4)
    with Image.open(tmp_path / f"{image.stem}.png") as drawn:
        assert min(drawn.size) > 100


def test_report_and_compare_put_two_runs_side_by_side(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain"
    assert main(["train", "--data", f"folder:{pictures}", "--out", str(plain), "--plain", "--json", *TRAIN]) == 0
    page = tmp_path / "page.html"
    assert main(["report", str(run), "--compare", str(plain), "--out", str(page)]) == 0
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")
    assert main(["report", str(run), "--compare", str(plain), str(run), f"{plain}/../plain", "--out", str(page)]) == 0
    assert page.read_text().count('<th scope="col" class="number">difference</th>') == 3  # none hides another
    capsys.readouterr()
    assert main(["compare", str(run), str(plain), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() == {str(run), str(plain)}
    assert printed[str(run)]["against_first"] == {}
    assert (
        printed[str(plain)]["against_first"]["class_purity"]["paired_over"] == "categories"
    )  # all serve all: not of one
    assert main(["compare", str(run), str(plain)]) == 0
    capsys.readouterr()
    assert main(["compare", str(run), "--against", str(plain), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"]["p_value"] is None  # one run each
    assert "as many" in one_line_error(capsys, ["compare", str(run), str(run), "--against", str(plain)])


def test_the_same_seed_gives_the_same_figures(run: Path, pictures: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert main(["train", "--data", f"folder:{pictures}", "--out", str(again), "--json", *TRAIN]) == 0
    found, expected = (json.loads((one / "metrics.json").read_text()) for one in (again, run))
    assert found["run"].pop("id") != expected["run"].pop("id")
    assert found == expected  # the hash of the weights too


def test_settings_come_from_a_file_and_flags_win_over_it(pictures: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(
        f"data: folder:{pictures}\nout: {tmp_path / 'from-file'}\nbackbone: demo\nlayers: features.block4\n"
        "workers: 0\nepochs: 1\nrecipe:\n  batch_size: 5\n  lr: 0.001\nnetwork:\n  filters: 6\n"
    )
    assert main(["train", "--config", str(config), "--recipe.lr", "0.002", "--json"]) == 0
    saved = (tmp_path / "from-file" / "run.yaml").read_text()
    assert "lr: 0.002" in saved
    assert "batch_size: 5" in saved
    assert json.loads((tmp_path / "from-file" / "metrics.json").read_text())["summary"]["num_filters"] == 6


@pytest.mark.fault("file", "--config is a picture", "exit 2, one line")
def test_a_picture_in_place_of_a_file_of_settings_is_one_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = next(pictures.glob("cat/*.png"))
    arguments = ["train", "--data", f"folder:{pictures}", "--out", str(tmp_path / "r"), "--config", str(config)]
    assert "config: expected a YAML file in UTF-8" in one_line_error(capsys, arguments)


@pytest.mark.fault("name", "a name with signs that steer a terminal", "each is printed as its escape")
def test_what_would_steer_a_terminal_is_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = one_line_error(capsys, ["info", "--data", f"folder:{tmp_path}/\x1b[2Jpictures"])
    assert "/\\x1b[2Jpictures: expected the folder of a data set" in message


def test_info_counts_pictures_and_lists_layers(capsys: pytest.CaptureFixture[str], pictures: Path) -> None:
    assert main(["info", "--data", f"folder:{pictures}", "--backbone", "demo"]) == 0
    printed = capsys.readouterr().out
    assert "giraffe" in printed
    assert "features.block4" in printed
    assert "14×14" in printed


def test_info_lists_the_layers_to_choose_from_with_what_their_cells_see(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["info", "--backbone", "squeezenet1_1", "--input-size", "96", "128", "--json"]
    assert main([*options, "--weights", "none"]) == 0
    listed = json.loads(capsys.readouterr().out)
    layers = {layer["layer"]: layer for layer in listed["layers"]}
    assert listed["input_size"] == [96, 128]
    marked = [layer["layer"] for layer in listed["layers"] if layer["is_auto"]]
    assert marked == listed["auto"].split(",") == ["features.4", "features.7"]
    assert layers["features.3"]["map_size"] == [23, 31]
    assert layers["features.3"]["stride_px"] == [4, 4]  # 7 pixels after the pooling, and a 3 × 3 that adds 2 cells
    assert layers["features.3"]["receptive_field_px"] == [15, 15]
    assert "features.3.squeeze" not in layers
    assert main([*options, "--all"]) == 0
    every = {layer["layer"] for layer in json.loads(capsys.readouterr().out)["layers"]}
    assert {*layers, "features.3.squeeze"} <= every


def test_info_marks_the_layer_that_auto_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--backbone", "demo"]) == 0
    printed = capsys.readouterr().out
    assert "features (auto)" in printed
    assert "31×31" in printed


def test_info_takes_the_layers_that_train_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At its input size, and below the layers whose weights a file lacks."""
    torch.manual_seed(0)
    tensors = load_backbone("squeezenet1_1").network.state_dict()
    file = tmp_path / "below.safetensors"
    given = tuple(f"features.{number}." for number in range(9))
    save_file({name: value for name, value in tensors.items() if name.startswith(given)}, file)
    settings = RunSettings("demo:2", "", "cat", backbone="squeezenet1_1", weights=str(file))
    model, _ = built_network(settings, load_dataset("demo:2", category="cat"), Recipe())
    taken = conversion_of(model).settings
    assert main(["info", "--backbone", "squeezenet1_1", "--weights", str(file), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["auto"], listed["input_size"]) == (",".join(taken.layers), list(taken.input_size))
    assert listed["input_size"] == [320, 320]


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of drawn pictures with parts.csv: the object, a head box and a tail point of each."""
    root = tmp_path_factory.mktemp("annotated")
    rows = ["image,part,x0,y0,x1,y1"]
    for kind in ("cat", "giraffe"):
        (root / kind).mkdir()
        for seed in range(12):
            drawing = draw_animal(kind, seed, size=96)
            name = f"{kind}/{kind}-{seed}.png"
            drawing.image.save(root / name)
            boxes = {"object": drawing.object_box, **drawing.part_boxes}
            rows += [f"{name},{part},{','.join(map(str, box))}" for part, box in boxes.items()]
    (root / "parts.csv").write_text("\n".join(rows))
    return root


def test_info_counts_parts_and_draws_a_contact_sheet(
    annotated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheets" / "sheet.png"
    arguments = ["info", "--data", f"folder:{annotated}", "--crop", "object", "--out", str(sheet)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    data = load_dataset(f"folder:{annotated}", split="all")
    in_train = data.with_split("train").counts()["cat"].num_part_images["head"]
    with_head = sum("head" in sample.parts for sample in data.samples if sample.label == 0)
    assert f"{in_train} / {with_head - in_train}" in printed
    with Image.open(sheet) as drawn:
        colours = np.asarray(drawn.convert("RGB")).reshape(-1, 3)
    assert len(np.unique(colours, axis=0)) > 1000  # pictures, not an empty page


def test_info_with_many_parts_lists_them_below_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{kind}/0.png,part {index},1,2,3,4" for kind in "ab" for index in range(9)]
    (tmp_path / "parts.csv").write_text("\n".join(["image,part,x0,y0,x1,y1", *rows]))
    for kind in "ab":
        (tmp_path / kind).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / kind / "0.png")
    assert main(["info", "--data", f"folder:{tmp_path}"]) == 0
    assert sum("part 8" in line for line in capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--out", "x.png"], "--backbone"),
        (["--backbone", "demo", "--out", "x.png"], "--data"),
        (["--data", "demo:2", "--out", "x.txt"], ".png"),
        (["--data", "demo:2", "--crop", "head"], "object"),
        (["--data", "demo:2", "--margin", "-1"], "margin"),
        (["--data", "demo:2", "--json"], "--backbone"),
        (["--backbone", "demo", "--weights", "none.pt"], "none.pt"),
        (["--backbone", "alexnet", "--input-size", "16", "16"], "16×16"),
    ],
)
def test_bad_options_of_info_are_one_line(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert named in one_line_error(capsys, ["info", *arguments])


def test_a_run_keeps_its_crop(annotated: Path, tmp_path: Path) -> None:
    out = tmp_path / "cropped"
    options = ["--category", "cat", "--crop", "object", "--margin", "0.25"]
    assert main(["train", "--data", f"folder:{annotated}", "--out", str(out), "--json", *options, *TRAIN]) == 0
    expected = load_dataset(f"folder:{annotated}", category="cat", split="test", crop="object", margin=0.25)
    found = open_run(out).dataset("test")
    assert [sample.load_image().size for sample in found.samples] == [s.load_image().size for s in expected.samples]
    assert found.samples[0].parts == expected.samples[0].parts
    assert "head" in json.loads((out / "metrics.json").read_text())["parts"]
    assert main(["report", str(out)]) == 0


def test_evaluate_takes_another_crop(
    run: Path, annotated: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = []
    for crop in ([], ["--crop", "none"], ["--crop", "object", "--margin", "0"]):
        capsys.readouterr()
        arguments = [
            "evaluate",
            str(run),
            "--data",
            f"folder:{annotated}",
            "--split",
            "all",
            "--workers",
            "0",
            "--json",
        ]
        assert main([*arguments, *crop]) == 0
        figures.append(json.loads(capsys.readouterr().out)["summary"]["location_instability"])
    assert figures[0] == figures[1] != figures[2]
    arguments = ["evaluate", str(run), "--data", f"folder:{pictures}", "--crop", "object"]
    assert "object boxes" in one_line_error(capsys, arguments)


def test_audit_takes_other_pictures_as_evaluate_does(
    run: Path, annotated: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = (run / "audit.json").read_bytes() if (run / "audit.json").is_file() else None
    evidence = []
    for crop in ([], ["--crop", "none"], ["--crop", "object", "--margin", "0"]):
        capsys.readouterr()
        arguments = ["audit", str(run), "--data", f"folder:{annotated}", "--split", "all", "--workers", "0", "--json"]
        assert main([*arguments, *crop]) == 0
        evidence.append(json.loads(capsys.readouterr().out)["evidence"])
    assert evidence[0] == evidence[1] != evidence[2]
    for command in ("audit", "evaluate"):  # classes that the run does not tell apart
        arguments = [command, str(run), "--category", "cat", "--workers", "0"]
        assert "background" in one_line_error(capsys, arguments)
    after = (run / "audit.json").read_bytes() if (run / "audit.json").is_file() else None
    assert after == kept


@pytest.mark.fault("data", "pictures of one class alone", "exit 2, one line, nothing is written")
def test_pictures_of_one_class_cannot_be_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_cub(tmp_path / "birds")
    arguments = ["train", "--data", f"cub:{tmp_path / 'birds'}", "--category", "bird", "--out", str(tmp_path / "out")]
    assert "at least two classes" in one_line_error(capsys, [*arguments, *TRAIN])
    assert not (tmp_path / "out").exists()


def test_masks_in_place_train_too(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "original"
    assert (
        main(["train", "--data", f"folder:{pictures}", "--out", str(out), "--head", "original", "--json", *TRAIN]) == 0
    )
    assert json.loads((out / "metrics.json").read_text())["summary"]["num_filters"] == 64


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--layers", "features.block9"], "features.block4"),
        (["--weights", "absent.safetensors"], "absent.safetensors"),
        (["--backbone", "resnet81"], "resnet18"),
        (["--objective", "best"], "labelled"),
        (["--recipe.epochs", "0"], "epochs"),
        (["--recipe.epochs", "many"], "many"),
        (["--nonsense"], "nonsense"),
        (["--network.input_size", "8"], "2×2"),
        (["--category", "dragon"], "giraffe"),
        (["--trunk", "melted"], "finetune"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_settings_are_one_line_and_write_nothing(
    extra: list[str], named: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "never"
    train = [*TRAIN, *extra] if extra[0] != "--recipe.epochs" else ["--backbone", "demo", *extra]
    assert named in one_line_error(capsys, ["train", "--data", f"folder:{pictures}", "--out", str(out), *train])
    assert not out.exists()


@pytest.mark.fault("file", "weights of another network", "exit 2, one line names what does not fit")
def test_weights_of_another_network_are_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"other.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    arguments = ["train", "--data", f"folder:{pictures}", "--out", str(tmp_path / "x"), *TRAIN]
    message = one_line_error(capsys, [*arguments, "--weights", str(tmp_path / "other.safetensors")])
    assert "other.weight" in message


@pytest.mark.parametrize("spec", ["folder:{root}/absent", "folder:{root}/cat", "carrots:{root}", "{root}"])
def test_bad_data_is_one_line(spec: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = spec.format(root=pictures)
    message = one_line_error(capsys, ["train", "--data", spec, "--out", str(tmp_path / "x"), *TRAIN])
    assert spec.split("/")[-1] in message


def test_an_unreadable_picture_is_named_and_left_out_up_to_max_bad(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for kind in ("a", "b"):
        (tmp_path / "p" / kind).mkdir(parents=True)
        for index in range(8):
            pixels = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "p" / kind / f"{index}.png")
    (tmp_path / "p" / "a" / "broken.png").write_bytes(b"not a picture")
    arguments = ["train", "--data", f"folder:{tmp_path / 'p'}", "--out", str(tmp_path / "out"), *TRAIN]
    assert "broken.png" in one_line_error(capsys, [*arguments, "--max-bad", "0"])
    assert main([*arguments, "--json"]) == 0
    assert "broken.png" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("command", ["evaluate", "report", "compare"])
def test_a_folder_that_is_no_run_is_refused(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run.yaml" in one_line_error(capsys, [command, str(tmp_path)])


@pytest.mark.fault("name", "brackets in names of files", "printed as they are")
def test_brackets_in_file_names_are_printed_and_are_no_markup(
    run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "[" / "red] [b]cat.png"
    image.parent.mkdir()
    shutil.copy(next((pictures / "cat").iterdir()), image)
    assert main(["explain", str(run), str(image), "--out", str(tmp_path / "[" / "red]")]) == 0
    printed = capsys.readouterr().out
    assert "[b]cat.png" in printed
    assert "[/red]" in "".join(printed.split())


@pytest.mark.fault("picture", "a text with the ending .jpg is explained", "exit 2, one line names it")
def test_explaining_an_unreadable_picture_names_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("words")
    assert "text.jpg" in one_line_error(capsys, ["explain", str(run), str(tmp_path / "text.jpg")])


def test_explaining_an_unknown_class_lists_those_there_are(
    run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = next((pictures / "cat").iterdir())
    assert "giraffe" in one_line_error(capsys, ["explain", str(run), str(image), "--class", "horse"])


def test_explain_contrasts_two_classes_and_tells_what_hiding_changes(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, image = tmp_path / "run", next((pictures / "cat").iterdir())
    data, objective = ["--data", f"folder:{pictures}", "--out", str(run)], ["--objective", "labelled"]
    assert main(["train", *data, *objective, *TRAIN]) == 0  # after one epoch filters that compete see no part yet
    arguments = ["explain", str(run), str(image), "--class", "cat", "--against", "giraffe", "--hide", "2"]
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["logit"] == pytest.approx(found["logits"]["cat"] - found["logits"]["giraffe"], abs=1e-4)
    asked = [one["hidden_change"] is not None for one in found["contributions"] if one["score"] > 0]
    assert asked == [True, True, *[False] * (len(asked) - 2)]
    assert main([*arguments, "--out", str(tmp_path / "why")]) == 0
    assert "cat, not giraffe" in capsys.readouterr().out
    assert {file.suffix for file in (tmp_path / "why").iterdir()} == {".png", ".json"}
    assert "against" in one_line_error(capsys, [*arguments[:-4], "--against", "cat"])


def test_the_report_of_a_run_has_its_training_curves(run: Path, tmp_path: Path) -> None:
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert 'data-curve="task_loss"' in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.fault("run", "the pictures of a run are gone when its page is written", "exit 2, one line, no page")
def test_a_report_without_the_pictures_at_hand_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    settings = (moved / "run.yaml").read_text()
    (moved / "run.yaml").write_text(settings.replace("data: folder:", "data: folder:/nowhere"))
    assert "/nowhere" in one_line_error(capsys, ["report", str(moved), "--out", str(tmp_path / "page.html")])
    assert not (tmp_path / "page.html").exists()


@pytest.mark.fault("picture", "an empty file is explained", "exit 2, one line names it")
def test_an_empty_picture_is_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.png").touch()
    assert "empty.png" in one_line_error(capsys, ["explain", str(run), str(tmp_path / "empty.png")])


def test_viewing_what_is_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run.yaml" in one_line_error(capsys, ["view", str(tmp_path)])


def test_version_and_help_end_well_and_name_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for flag, told in (("--version", [version("partcnn")]), ("--help", COMMANDS)):
        with pytest.raises(SystemExit) as ended:
            main([flag])
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        assert all(word in printed for word in told)


@pytest.mark.parametrize(("arguments", "named"), [([], "command"), (["trian"], "trian"), (["--fast"], "--fast")])
def test_what_is_no_command_is_one_line(arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert named in one_line_error(capsys, arguments)


def test_lightnings_remarks_are_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    import logging

    assert main(["info", "--backbone", "demo"]) == 0
    quiet_lightning()  # as commands that train do
    for name, level in (("lightning.pytorch.utilities.rank_zero", logging.WARNING), ("partcnn", logging.INFO)):
        logging.getLogger(name).log(level, "told by %s", name)
    told = capsys.readouterr().err
    assert "told by partcnn" in told
    assert "told by lightning" not in told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("recipe: null", "config: expected settings"),
        (f"recipe: '{'9' * 5000}'", "config: expected settings"),
        (f"margin: 1{'0' * 400}", "config: expected settings"),
        (f"seed: {2**31}", "seed: expected int, got a whole number beyond ±2147483647"),
        ("network: {new_layers: 99999999999}", "network.new_layers: expected int, got a whole number beyond"),
        ("layers: null", "layers: expected str, got None"),
        ("network: {grid: null}", "network.grid: expected int, got None"),
        ("a: &b {c: *b}", "holds others, or itself"),
        ("a: &a [1]\nb: &b [*a]\nc: [*b, *b]", "holds others, or itself"),
    ],
)
@pytest.mark.fault("file", "A configuration of train holds null, or a value that holds itself", "One sentence")
def test_a_configuration_without_a_value_is_one_line(
    line: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.yaml"
    config.write_text(f"data: demo:2\nout: {tmp_path / 'out'}\n{line}\n")
    assert told in one_line_error(capsys, ["train", "--config", str(config)])
    assert not (tmp_path / "out").exists()
