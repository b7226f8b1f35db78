"""The code on the pages runs: Python as it stands there, the quick start's commands too; every command line parses.

Weights cannot be downloaded here, so networks that ask for them come without; pictures are drawn ones.
"""

import functools
import re
import shlex
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import partcnn
from partcnn.app.cli.commands import COMMANDS, main, options_of, parser_of
from partcnn.datasets.drawn.drawing import draw_animal

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "howto").glob("*.md")),
]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SMALL = shlex.split("--backbone demo --layers features.block4 --epochs 1 --workers 0 --network.input_size 112")
ELSEWHERE = {"extending.md"}  # its blocks are the examples', which test_extending and test_examples run
NEEDS = {"loops.md": ("accelerate", "transformers", "timm")}


def blocks(page: Path, language: str) -> list[str]:
    return [code for _, kind, code in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """The command lines of partcnn on a page, as words."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines if "…" not in line]
    return [line[1:] for line in words if line and line[0].endswith("partcnn")]


WITH_PYTHON = [page for page in PAGES if blocks(page, "python") and page.name not in ELSEWHERE]
WITH_COMMANDS = [page for page in PAGES if commands(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages are followed: my-pictures, photo.jpg, and the quick start's runs, of a small network."""
    root = tmp_path_factory.mktemp("pages")
    for kind, number in (("cat", 12), ("others", 12)):
        (root / "my-pictures" / kind).mkdir(parents=True)
        for seed in range(number):
            drawn = draw_animal("cat" if kind == "cat" else "giraffe", seed, size=64).image
            drawn.save(root / "my-pictures" / kind / f"{seed}.png")
    draw_animal("cat", 99, size=64).image.save(root / "photo.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for line in commands(DOCS / "quickstart.md"):
            assert main(small(line)) == 0, line
    return root


def small(line: list[str]) -> list[str]:
    """The same command on a network that trains in seconds; of options given twice the last one counts."""
    if line[0] == "train":
        return [*line, *SMALL]
    return [*line, "--workers", "0"] if line[0] in ("audit", "evaluate") else line


@pytest.fixture
def followed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Within that folder, with the names that a page takes for granted."""
    import timm
    import torch
    import torch.nn.functional as F
    import torchvision
    from torch.nn.parallel import DistributedDataParallel
    from torch.utils.data import DataLoader, TensorDataset

    monkeypatch.chdir(folder)
    monkeypatch.setattr(
        torchvision.models, "resnet18", functools.partial(untrained, torchvision.models.resnet18, "weights")
    )
    monkeypatch.setattr(timm, "create_model", functools.partial(untrained, timm.create_model, "pretrained"))
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.rand(4, 3, 224, 224), torch.tensor([0, 1, 1, 0])), batch_size=2)
    points = torch.rand(4, 64, 2) * 224, torch.rand(4, 64), torch.rand(4, 2, 2) * 224, torch.arange(4)
    cnn = torchvision.models.resnet18()
    model = partcnn.convert(cnn, num_classes=2, background=0)
    yield {
        "__name__": "page", "partcnn": partcnn, "torch": torch, "F": F, "loader": loader, "cnn": cnn, "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.01), "batches": [points],
        "DistributedDataParallel": DistributedDataParallel,
    }  # fmt: skip
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def untrained(make: Any, argument: str, *given: Any, **named: Any) -> Any:
    return make(*given, **{name: value for name, value in named.items() if name != argument})


def as_torchrun_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": 0, "WORLD_SIZE": 1}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.name)
def test_the_pages_python_runs(page: Path, followed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in NEEDS.get(page.name, ()):
        pytest.importorskip(module)
    for code in blocks(page, "python"):
        if code.startswith("# torchrun"):
            as_torchrun_starts_it(monkeypatch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the trainers of others, about a loop of two steps
            exec(compile(code, str(page), "exec"), followed)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.name)
def test_every_command_line_is_understood(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks").symlink_to(ROOT / "benchmarks")
    for line in commands(page):
        assert line[0] in COMMANDS, line
        options_of(parser_of([line[0]]), line)


def test_pages_have_code_to_run() -> None:
    assert {"README.md", "loops.md", "quickstart.md", "metrics.md"} <= {page.name for page in WITH_PYTHON}
    assert sum(len(commands(page)) for page in WITH_COMMANDS) >= 40


def test_the_reference_has_every_command() -> None:
    page = (DOCS / "api" / "command_line.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `partcnn (\w+)` \| (.+) \|$", page, flags=re.MULTILINE)) == COMMANDS
