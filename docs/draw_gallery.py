"""The pictures of the site's first page: an explanation, an animal drawn again without parts, and the audit.

    partcnn demo --out runs/demo
    python docs/draw_gallery.py runs/demo/parts

Needs chromium (`make browser`). The pictures are the drawn ones: photographs of others are never committed. The animal
is that of those kept out of which most is to be seen, by its part that is hidden most; nobody chose it.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from playwright.sync_api import sync_playwright

from partcnn.app.cli.commands import main as partcnn
from partcnn.app.runs import Run, open_run
from partcnn.app.runs.opening import followed_parts
from partcnn.datasets.drawn.redrawing import Change, PosedAnimal
from partcnn.explanation import explain

IMAGES = Path(__file__).parent / "images"
WIDTH = 900  # pixels
SETTLE_MS = 1200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory that partcnn demo or train wrote, of a drawn animal")
    run = open_run(parser.parse_args().run)
    animal = most_shown_animal(run)
    draw_explanation(run, animal)
    draw_intervention(run, animal)
    draw_audit(run)


def most_shown_animal(run: Run) -> PosedAnimal:
    kind = run.settings.category or ""
    indices = [int(one.image_path.stem) for one in run.dataset("test").samples if one.image_path.parent.name == kind]
    return max((PosedAnimal(kind, index) for index in indices), key=least_shown)


def least_shown(animal: PosedAnimal) -> float:
    """Of the part that is hidden most, the share of its pixels that is to be seen."""
    whole = animal.drawn()
    return min(float(mask.sum() / max(1, whole.touched[part].sum())) for part, mask in whole.masks.items())


def draw_explanation(run: Run, animal: PosedAnimal) -> None:
    with tempfile.TemporaryDirectory() as folder:
        drawn = explain(run.model, animal.drawn().image).save(Path(folder, "why.png"), parts=followed_parts(run))
        keep(Image.open(drawn), "explanation")


def draw_intervention(run: Run, animal: PosedAnimal) -> None:
    """The animal as it is, without each of its parts, and elsewhere, each with the logit of its kind."""
    whole = animal.drawn()
    changes = {"as it was": Change()}
    changes |= {f"without {part}": Change(without=frozenset({part})) for part in sorted(whole.shown)}
    changes |= {"elsewhere": Change(background=500_000)}
    figure = Figure(figsize=(2 * len(changes), 2.5), layout="constrained")
    for axis, (name, change) in zip(figure.subplots(1, len(changes)), changes.items(), strict=True):
        image = animal.drawn(change).image
        axis.imshow(image)
        axis.set_axis_off()
        axis.set_title(f"{name}\nlogit {explain(run.model, image, run.settings.category).logit:+.1f}", fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    keep(Image.open(buffer), "intervention")


def draw_audit(run: Run) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        page_file = Path(folder, "report.html")
        partcnn(["report", str(run.directory), "--data", run.settings.data, "--out", str(page_file)])
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 2400}, reduced_motion="reduce")
        page.goto(page_file.as_uri())
        page.add_style_tag(content=".sections { position: static } #audit { padding: 1rem }")
        page.wait_for_timeout(SETTLE_MS)
        keep(Image.open(io.BytesIO(page.locator("#audit").screenshot())), "audit")
        browser.close()


def keep(picture: Image.Image, name: str) -> None:
    size = (WIDTH, round(picture.height * WIDTH / picture.width))
    picture.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(IMAGES / f"{name}.webp", quality=82, method=6)


if __name__ == "__main__":
    main()
