"""docs/extending.md is true: what it says a new row touches is enough, and nobody asks for a row by its name.

Each way is gone, not counted by searching for names: a copy of the package gets just the changes that are listed here,
in just the files that the page lists, and a process that uses the copy must then have the new row everywhere.
"""

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import partcnn
from partcnn.datasets.loading import DATASETS
from partcnn.metrics.measures import MEASURES
from partcnn.objectives.registry import OBJECTIVES

PACKAGE = Path(partcnn.__file__).parent
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = {text.split("\n")[0]: text for text in PAGE.split("\n## ")[1:]}


def example(name: str) -> str:
    """An example's text above what it runs as a script."""
    return (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").split('if __name__ == "__main__":')[0]


def function_of(name: str, function: str) -> str:
    """A function of an example, as it stands there."""
    text = example(name)
    (node,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function)
    return ast.get_source_segment(text, node) or ""


class Way(NamedTuple):
    """One way of extending the package itself.

    Args:
        most: files of the package that it may touch.
        new: files that are written.
        lines: file → (a line of it, what is put below that line).
        proof: a program that fails where the new row is missing somewhere.
    """

    most: int
    new: dict[str, str]
    lines: dict[str, list[tuple[str, str]]]
    proof: str


WAYS = {
    "An objective": Way(
        2,
        new={
            "objectives/selective.py": "import torch\nfrom torch import Tensor\n"
            "from partcnn.objectives.values import ObjectiveValue, value_of\n\n\n"
            + function_of("own_objective", "selective")
        },
        lines={
            "objectives/registry.py": [
                (
                    "from partcnn.objectives.one_template import assigned, centroid_slopes, official",
                    "from partcnn.objectives.selective import selective",
                ),
                (
                    '    "official": Objective(official, slope_target=centroid_slopes, joins_ranks=True),',
                    '    "selective": Objective(selective, assignment="even", counts_earlier=True),',
                ),
            ]
        },
        proof="""
import torch
from partcnn import convert, filter_loss, load, save
from partcnn.app.settings import RunSettings
from partcnn.model.mask import top_mask
from partcnn.networks import DemoNet
RunSettings(data="demo:4", out="runs/lines", objective="selective")
torch.manual_seed(0)
model = convert(DemoNet(), num_classes=3, filters=6, input_size=(64, 64), objective="selective")
_, mask = top_mask(model)
mask.memory = 4
pictures, labels = torch.rand(6, 3, 64, 64), torch.arange(6) % 3
for batch in (slice(0, 3), slice(3, 6)):
    model(pictures[batch])
    with_earlier = filter_loss(model, labels[batch])
    with_earlier.backward()
mask.memory = 0
assert filter_loss(model, labels[3:]) != with_earlier, "what earlier batches held did not count"
assert load(save(model, "saved")).part_conversion.settings.objective == "selective"
""",
    ),
    "A measure": Way(
        5,
        new={
            "metrics/functional/strength.py": '''
from torch import Tensor


def peak_strength(scores: Tensor) -> Tensor:  # [image, filter] -> [filter]
    """The mean peak of each filter."""
    return scores.double().mean(dim=0)
''',
            "metrics/strength.py": '''
from typing import Any

import torch
from torch import Tensor

from partcnn.metrics.base import ImageMetric


class PeakStrength(ImageMetric):
    """`peak_strength`, batch by batch."""

    higher_is_better = True
    total: Tensor
    num_images: Tensor

    def __init__(self, num_filters: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_state("total", torch.zeros(num_filters, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_images", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, scores: Tensor) -> None:
        self.total += scores.double().sum(dim=0)
        self.num_images += len(scores)

    def compute(self) -> Tensor:
        strength = self.total / self.num_images
        return strength.mean() if self.is_averaged else strength
''',
        },
        lines={
            "metrics/measures.py": [
                (
                    "from partcnn.metrics.functional.pointing import pointing_game",
                    "from partcnn.metrics.functional.strength import peak_strength",
                ),
                (
                    "_ROWS = (",
                    "    MetricEntry(\n"
                    '        name="peak_strength",\n'
                    '        title="peak strength",\n'
                    '        sentence="Mean peak over the pictures of its category.",\n'
                    '        card="strength of peaks",\n'
                    '        column="strength",\n'
                    "        is_filter_column=True,\n"
                    "        is_category_column=True,\n"
                    "        better=1,\n"
                    '        by_filter="peak_strength",\n'
                    "        function=peak_strength,\n"
                    '        metric_name="strength.PeakStrength",\n'
                    "    ),",
                ),
            ],
            "evaluation/observation/layers.py": [
                (
                    "        self.num_images = torch.zeros(len(groups), dtype=torch.int64)",
                    "        self.score_sum = torch.zeros(num_filters, len(groups), dtype=torch.float64)",
                ),
                (
                    "        self.num_images += is_class.sum(dim=0)",
                    "        self.score_sum += scores.double().T @ is_class.double()",
                ),
            ],
            "evaluation/figures.py": [
                (
                    '        self.of_filters["dead_filters"] = self.is_dead',
                    "        strength = observed.score_sum / observed.num_images\n"
                    '        self.of_filters["peak_strength"] = strength.gather(1, categories[:, None])[:, 0]',
                )
            ],
        },
        proof="""
import math, torch
from pathlib import Path
from partcnn import convert, evaluate, load_dataset, report, save
from partcnn.evaluation import Evaluation, compare
from partcnn.metrics import METRICS
from partcnn.model.saving.checkpoint import METRICS_FILE, write_card
from partcnn.networks import DemoNet
torch.manual_seed(0)  # of random weights a filter may be silent on all four animals
model = convert(DemoNet(), num_classes=2, filters=6, background=0, objective="exact", input_size=(64, 64))
animals = load_dataset("demo:4", category="cat", split="all")
found = evaluate(model, animals)
of_filters = [figures.others["peak_strength"] for figures in found.filters]
assert all(figure > 0 for figure in of_filters)
assert math.isclose(found.summary["peak_strength"], sum(of_filters) / 6)
assert found.by_category["1"]["peak_strength"] == found.summary["peak_strength"]
scores = torch.rand(5, 6)
metric = METRICS["peak_strength"].metric(6)
metric.update(scores[:2]), metric.update(scores[2:])
assert torch.isclose(metric.compute(), METRICS["peak_strength"].function(scores).mean())
for table in (found.filter_table(), found.category_table()):
    assert "strength" in [column.header for column in table.columns]
assert Evaluation.from_json(found.to_json("figures.json")).filters[0].others == found.filters[0].others
assert "peak_strength" in Path(found.to_csv("filters.csv")).read_text().splitlines()[0]
assert any("peak_strength" in differences for differences in compare({"a": found, "b": found}).differences.values())
save(model, "saved"), found.to_json(Path("saved", METRICS_FILE)), write_card(Path("saved"))
assert "strength of peaks" in Path("saved", "README.md").read_text(encoding="utf-8")
text = report(model, animals, "report.html", evaluation=found).read_text(encoding="utf-8")
assert "peak strength" in text and "Mean peak over the pictures of its category." in text
""",
    ),
    "A data set": Way(
        2,
        new={
            "datasets/readers/lines.py": "from pathlib import Path\n"
            "from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names\n"
            "from partcnn.datasets.samples import Point, Sample, Shape\n\n\n"
            + function_of("own_data_set", "read_lines")
        },
        lines={
            "datasets/loading.py": [
                (
                    "from partcnn.datasets.readers.folder import read_folder",
                    "from partcnn.datasets.readers.lines import read_lines",
                ),
                ('    "folder": read_folder,', '    "lines": read_lines,'),
            ]
        },
        proof="""
from pathlib import Path
from PIL import Image
from partcnn import load_dataset
from partcnn.foundation.errors import DataError
for number in range(4):
    Image.new("RGB", (40, 30)).save(f"{number}.png")
Path("points.txt").write_text("0.png cat eye 3 4 paw 20 21\\n1.png cat\\n2.png dog eye 5 6\\n3.png dog")
animals = load_dataset("lines:.", split="all")
assert (animals.classes, list(animals.parts), len(animals)) == (["cat", "dog"], ["eye", "paw"], 4)
assert animals.samples[0].landmark("paw") == (20, 21)
assert load_dataset("lines:.", split="all", category="dog").classes == ["background", "dog"]
try:
    load_dataset("other:.")
except DataError as error:
    assert "lines" in str(error), "the message lists the kinds"
""",
    ),
    "A panel of the report": Way(
        3,
        new={
            "reporting/panels/doubts.py": "from markupsafe import Markup\n"
            "from partcnn.reporting.panels.panel import PageContent\n"
            "from partcnn.reporting.templates import rendered\n\n\n"
            "def doubts(content: PageContent) -> Markup:\n"
            '    return rendered("doubts.html", classes=content.evaluation.classes)\n',
            "reporting/page/doubts.html": "<p>Between {{ classes | join(' and ') }}.</p>\n",
        },
        lines={
            "reporting/page.py": [
                (
                    "from partcnn.reporting.packing import pack",
                    "from partcnn.reporting.panels.doubts import doubts",
                ),
                ("PANELS = {  # by the id of the section", '    "doubts": Panel("Doubts", doubts),'),
            ]
        },
        proof="""
import torch
from partcnn import convert, load_dataset, report
from partcnn.networks import DemoNet
torch.manual_seed(0)
model = convert(DemoNet(), num_classes=2, filters=4, background=0, input_size=(64, 64))
text = report(model, load_dataset("demo:2", category="cat", split="all"), "page.html").read_text(encoding="utf-8")
assert 'id="doubts"' in text and 'href="#doubts"' in text and "<p>Between 0 and 1.</p>" in text
""",
    ),
}


def extended(way: Way, folder: Path) -> Path:
    """A copy of the package with these changes; the folder to import it from."""
    copy = folder / "extended" / "partcnn"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in way.new.items():
        assert not (copy / name).exists(), name
        (copy / name).write_text(text + "\n", encoding="utf-8")
    for name, added in way.lines.items():
        text = (copy / name).read_text(encoding="utf-8")
        for line, below in added:
            assert text.count(f"{line}\n") == 1, line
            text = text.replace(f"{line}\n", f"{line}\n{below}\n")
        (copy / name).write_text(text, encoding="utf-8")
    return copy.parent


def told_files(section: str) -> set[str]:
    """The files of the package that the page lists for a way."""
    return set(re.findall(r"^\| `([\w./]+)` \|", SECTIONS[section], flags=re.MULTILINE))


@pytest.mark.parametrize("section", WAYS)
def test_the_page_lists_the_files_that_are_touched_and_they_are_few(section: str) -> None:
    way = WAYS[section]
    touched = {*way.new, *way.lines}
    assert touched == told_files(section)
    assert len(touched) <= way.most


@pytest.mark.slow
@pytest.mark.parametrize("section", WAYS)
def test_no_other_file_needs_a_change(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = WAYS[section]
    monkeypatch.setenv("PYTHONPATH", str(extended(way, tmp_path)))
    check = f"import partcnn\nassert partcnn.__file__.startswith({str(tmp_path)!r})\n"
    command = [sys.executable, "-W", "error", "-c", check + way.proof]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@cache
def trees() -> list[tuple[str, ast.Module]]:
    """Every file of the package."""
    files = {file.relative_to(PACKAGE).as_posix(): file for file in sorted(PACKAGE.rglob("*.py"))}
    return [(name, ast.parse(file.read_text(encoding="utf-8"))) for name, file in files.items()]


def texts_in(node: ast.AST) -> set[str]:
    return {inner.value for inner in ast.walk(node) if isinstance(inner, ast.Constant) and isinstance(inner.value, str)}


def files_that_name(*names: str) -> set[str]:
    """Files where one of the names is a function, an import, a variable or a text of its own."""
    found = set()
    for file, tree in trees():
        for node in ast.walk(tree):
            own = [getattr(node, field, None) for field in ("name", "id", "attr", "value")]
            if any(isinstance(text, str) and text in names for text in own):
                found.add(file)
    return found


FACE, DEFAULT = "objectives/__init__.py", "model/mask.py"  # lists what is public; `PartMask(objective="labelled")`


@pytest.mark.parametrize("name", ["labelled", "assigned", "official"])
def test_an_objective_of_today_stands_in_its_own_file_and_the_table(name: str) -> None:
    home = OBJECTIVES[name].function.__module__.removeprefix("partcnn.").replace(".", "/") + ".py"
    assert files_that_name(name) - {FACE, DEFAULT} == {home, "objectives/registry.py"}


@pytest.mark.parametrize("kind", DATASETS)
def test_a_data_set_of_today_stands_in_its_readers_and_the_table(kind: str) -> None:
    reader = DATASETS[kind]
    home = reader.__module__.removeprefix("partcnn.").replace(".", "/") + ".py"
    face = "datasets/drawn/__init__.py"
    assert files_that_name(reader.__name__) - {face} == {home, "datasets/loading.py"}


def test_nobody_decides_by_the_name_of_a_row() -> None:
    """But two tables of the experiments, one of which is about the paper's data sets, and the page's main measure."""
    names = {*OBJECTIVES, *DATASETS, *MEASURES}
    compared = {
        (file, name)
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Compare, ast.match_case))
        for name in texts_in(node) & names
    }
    assert {file for file, _ in compared if not file.startswith("app/experiments/")} <= {"reporting/packing.py"}
    assert {name for file, name in compared if file == "reporting/packing.py"} <= {"part_tracking_r2"}


def test_a_backbone_touches_no_file() -> None:
    """Of torchvision's networks the package names one as a default, and those two that have training heads."""
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    assert len(known) > 70
    named = {name for _, tree in trees() for name in texts_in(tree) & {*known}}
    assert named == {"resnet18", "googlenet", "inception_v3"}


def test_code_on_the_page_stands_in_the_examples() -> None:
    blocks = re.findall(r"```python\n# examples/(\w+)\.py\n(.+?)```", PAGE, flags=re.DOTALL)
    assert {name for name, _ in blocks} == {file.stem for file in (ROOT / "examples").glob("own_*.py")}
    for name, code in blocks:
        text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
        for piece in code.split("\n…\n"):
            assert piece.strip() in text, piece


def test_every_file_that_the_page_names_is_there() -> None:
    for name in re.findall(r"`((?:src|tests|docs|examples)/[\w./]+)`", PAGE):
        assert (ROOT / name).exists(), name
