"""A report shows pictures of a folder that the user of this machine named, and of no other."""

import shutil
from pathlib import Path

import pytest
import yaml

from partcnn.app.cli.commands import main
from partcnn.app.named_data import check_named, remember
from partcnn.datasets.drawn.drawing import draw_animal
from partcnn.foundation.errors import RunError

TRAIN = ["--backbone", "demo", "--layers", "features.block4", "--epochs", "1", "--workers", "0"]


def _pictures(root: Path) -> Path:
    for kind in ("cat", "giraffe"):
        (root / kind).mkdir(parents=True)
        for seed in range(6):
            draw_animal(kind, seed, size=64).image.save(root / kind / f"{seed}.png")
    return root


@pytest.mark.fault(
    "file", "A stranger's run says that its pictures lie in a folder of this machine", "No report until they are named"
)
def test_a_strangers_run_chooses_no_pictures_for_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "cache"))
    own, private = _pictures(tmp_path / "own"), _pictures(tmp_path / "private")
    run, stranger = tmp_path / "run", tmp_path / "stranger"
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--data", "folder:own", "--out", str(run), *TRAIN]) == 0
    assert main(["report", str(run)]) == 0  # trained here, on what was named
    shutil.copytree(run, stranger)
    (stranger / "report.html").unlink()
    record = yaml.safe_load((run / "run.yaml").read_text()) | {"data": f"folder:{private}"}
    (stranger / "run.yaml").write_text(yaml.safe_dump(record))
    capsys.readouterr()
    assert main(["report", str(stranger)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"was not trained here on folder:{private}" in told
    assert f"--data folder:{private}" in told
    assert not (stranger / "report.html").exists()
    assert main(["report", str(stranger), "--data", f"folder:{own}"]) == 0
    assert main(["report", str(stranger), "--data", f"folder:{private}"]) == 0


def test_pictures_are_the_same_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    remember("coco:images,parts.json")
    check_named(f"coco:{tmp_path}/images,{tmp_path}/parts.json", tmp_path)
    check_named("demo:20", tmp_path)  # drawn: of no folder
    for other in ("coco:images,other.json", "folder:images,parts.json", "folder:", "nonsense"):
        with pytest.raises(RunError, match=r"data: .* was not trained here on"):
            check_named(other, tmp_path)


def test_without_a_place_to_remember_it_the_pictures_are_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PARTCNN_CACHE", str(tmp_path / "file"))
    remember("folder:x")
    with pytest.raises(RunError, match="name them: --data folder:x"):
        check_named("folder:x", tmp_path)
