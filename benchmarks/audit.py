"""Does the audit tell a network that looks at the scene? Held against the truth, on drawn animals.

    python benchmarks/audit.py --weights squeezenet1_1.safetensors [--out docs/results/audit]

Six drawn animals are told apart. In training, and on pictures kept out as one would have them, a share of each animal's
pictures has that animal's own scene; the rest have any of the six. Then the same animals kept out stand in scenes of
others: what accuracy is lost there is what the scene was worth. The audit sees only the pictures that go with the
training. The same with a hat: each animal wears its own colour, and then others'. Beside it, on the same question,
grad-CAM of our network and of a plain one, with the truth at hand that the audit does without: the share of its heat
that lies off the animal, or on the hat.

Pictures are drawn once and runs are kept; --go-on keeps rows, too.
"""

import argparse
import json
import statistics
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finished_runs import trained_or_read
from PIL import Image, ImageDraw
from scipy.stats import spearmanr

from partcnn.app.runs import NetworkSettings, RunSettings
from partcnn.app.runs.opening import open_run
from partcnn.datasets.drawn.drawing import KINDS
from partcnn.datasets.drawn.redrawing import Change, PosedAnimal
from partcnn.datasets.drawn.scenery import SCENES
from partcnn.datasets.loading import load_dataset
from partcnn.datasets.part_dataset import PartDataset
from partcnn.evaluation.audit import audit
from partcnn.explanation.spatial import grad_cam
from partcnn.foundation.files import write_text
from partcnn.model.network import conversion_of

SHARES = (0, 60, 80, 95, 100)  # % of an animal's pictures that have its own scene, or hat
NUM_PICTURES = 90  # of each animal, of which some 30 % are kept out of training
SIDE_PX, NUM_EPOCHS = 128, 8
HATS = ("d62f2f", "2f6fd6", "2fae4f", "e6c229", "8d3fc4", "f4f4f4")
FIGURES = {"audit": "audit", "grad-CAM, ours": "cam_ours", "grad-CAM, plain": "cam_plain"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="of SqueezeNet 1.1: a file")
    parser.add_argument("--kinds", nargs="+", choices=["scene", "hat"], default=["scene", "hat"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/audit"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/audit"), help="without an ending")
    parser.add_argument("--go-on", action="store_true", help="keep the rows that --out has already")
    options = parser.parse_args()
    file = options.out.with_suffix(".json")
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if options.go_on and file.is_file() else []
    known = {(row["kind"], row["share"], row["seed"]) for row in rows}
    for kind in options.kinds:
        for share in SHARES:
            for seed in options.seeds:
                if (kind, share, seed) in known:
                    continue
                rows.append(measured(options, kind, share, seed))
                print(rows[-1], flush=True)
                options.out.parent.mkdir(parents=True, exist_ok=True)
                write_text(file, json.dumps(rows, indent=1) + "\n")
                write_text(options.out.with_suffix(".md"), page(rows))


# --- pictures


def chance(*what: Any) -> np.random.Generator:
    """The same for the same words."""
    return np.random.default_rng(zlib.crc32(repr(what).encode()))


def look_of(kind: str, animal: str, seed: int, share: int | None) -> int:
    """Which scene, or hat, a picture has: with a share the animal's own or any; with None another animal's."""
    own, rng = KINDS.index(animal), chance(kind, animal, seed)
    is_own, any_one, other = rng.random(), int(rng.integers(len(KINDS))), int(rng.integers(1, len(KINDS)))
    if share is None:
        return (own + other) % len(KINDS)
    return own if is_own < share / 100 else any_one


def drawn(kind: str, animal: str, seed: int, look: int) -> tuple[Image.Image, np.ndarray[Any, Any]]:
    """The picture, and where the animal is, or its hat: bool [row, col]."""
    posed = PosedAnimal(animal, seed)
    if kind == "scene":
        found = posed.drawn(Change(background=seed, scene=look))
        return found.image, np.logical_or.reduce(list(found.masks.values()))
    found = posed.drawn(Change(background=seed, scene=int(chance("land", animal, seed).integers(len(SCENES)))))
    return with_hat(found.image, found.masks["head"], HATS[look])


def with_hat(picture: Image.Image, head: np.ndarray[Any, Any], colour: str) -> tuple[Image.Image, np.ndarray[Any, Any]]:
    """A hat on the upper end of the head, as wide; none where no head is to be seen."""
    rows, cols = head.any(axis=1).nonzero()[0], head.any(axis=0).nonzero()[0]
    mask = Image.new("1", picture.size)
    if len(rows):
        top, height = int(rows[0]), int(rows[-1] - rows[0] + 1)
        left, right = int(cols[0]), int(cols[-1])
        brim, crown = max(2, height // 8), max(4, height // 3)
        shapes = [(left - 2, top, right + 2, top + brim)]
        inset = (right - left) // 5
        shapes.append((left + inset, top - crown, right - inset, top))
        for canvas, fill in ((picture, f"#{colour}"), (mask, 1)):
            pen = ImageDraw.Draw(canvas)
            for shape in shapes:
                pen.rectangle(shape, fill=fill)
    return picture, np.asarray(mask)


def pictures(folder: Path, kind: str, share: int | None) -> str:
    """A folder of each animal's pictures, drawn where they are not there yet; masks of what is theirs beside it.

    A picture's name is its animal and seed, so that in every folder the same are kept out.
    """
    place = folder / "pictures" / f"{kind}-{'swapped' if share is None else share}"
    for animal in KINDS:
        (place / animal).mkdir(parents=True, exist_ok=True)
        for seed in range(NUM_PICTURES):
            look = look_of(kind, animal, seed, share)
            source = folder / "drawn" / f"{kind}-{animal}-{seed}-{look}.png"
            if not source.is_file():
                source.parent.mkdir(parents=True, exist_ok=True)
                picture, mask = drawn(kind, animal, seed, look)
                Image.fromarray(mask).save(source.with_suffix(".mask.png"))
                picture.save(source)
            target = place / animal / f"{seed}.png"
            if not target.exists():
                target.symlink_to(source.resolve())
    return f"folder:{place}"


# --- networks


def measured(options: argparse.Namespace, kind: str, share: int, seed: int) -> dict[str, Any]:
    """One row: what the audit says of a network, and what accuracy it loses."""
    data = pictures(options.runs, kind, share)
    usual = load_dataset(data, split="test")
    swapped = load_dataset(pictures(options.runs, kind, None), split="test")
    assert [one.image_id for one in swapped.samples] == [one.image_id for one in usual.samples]
    row: dict[str, Any] = {"kind": kind, "share": share, "seed": seed}
    for name, is_plain in (("ours", False), ("plain", True)):
        settings = RunSettings(
            data=data,
            out=str(options.runs / f"{kind}-{share}-{seed}-{name}"),
            backbone="squeezenet1_1",
            weights=str(options.weights),
            seed=seed,
            epochs=NUM_EPOCHS,
            workers=0,
            plain=is_plain,
            network=NetworkSettings(filters=8, input_size=SIDE_PX),
        )
        trained_or_read(settings, [])
        model = open_run(settings.out).model
        on_usual, on_swapped = audit(model, usual), audit(model, swapped)
        row[f"accuracy_{name}"], row[f"swapped_{name}"] = on_usual.accuracy, on_swapped.accuracy
        row[f"lost_{name}"] = on_usual.accuracy - on_swapped.accuracy
        row[f"cam_{name}"] = heat(model, usual, kind)
        if not is_plain:
            largest = [max(one.parts) for one in on_usual.evidence.values()]
            row["audit"] = on_usual.surroundings if kind == "scene" else statistics.fmean(largest)
            row["decided"], row["swapped_without"] = on_usual.share_decided, on_swapped.accuracy_without_surroundings
    return row


def heat(model: torch.nn.Module, dataset: PartDataset, kind: str) -> float:
    """Of grad-CAM for the predicted class the share that lies off the animal, or on the hat; mean over pictures."""
    preprocessing, shares = conversion_of(model).preprocessing, []
    shown = dataset.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
    for start in range(0, len(shown), 30):
        numbers = range(start, min(start + 30, len(shown)))
        images = torch.stack([shown[number].image for number in numbers])
        with torch.no_grad():
            predicted = model(images).argmax(dim=1)
        spread = grad_cam(model, images, predicted).pixels.clamp(min=0)  # type: ignore[arg-type]
        for number, warmth in zip(numbers, spread, strict=True):
            file = dataset.samples[number].image_path.resolve().with_suffix(".mask.png")
            mask = Image.open(file).resize((SIDE_PX, SIDE_PX), Image.Resampling.NEAREST)
            own = torch.from_numpy(np.asarray(mask).copy()).bool()
            if warmth.sum() > 0:
                shares.append((warmth[own if kind == "hat" else ~own].sum() / warmth.sum()).item())
    return statistics.fmean(shares)


# --- the page


def correlation(rows: list[dict[str, Any]], figure: str) -> float:
    """Spearman's, of a figure and the accuracy that its network loses."""
    lost = "lost_plain" if figure == "cam_plain" else "lost_ours"
    found = spearmanr([row[figure] for row in rows], [row[lost] for row in rows])
    return float(found.statistic)


def page(rows: list[dict[str, Any]]) -> str:
    """The figures in words."""
    lines = ["# The audit, held against the truth", "", *(line.strip() for line in _INTRODUCTION.splitlines()), ""]
    for kind, title, figure in (
        ("scene", "A scene that goes with the animal", "audit: share of the surroundings"),
        ("hat", "A hat that goes with the animal", "audit: largest share of a part"),
    ):
        own = [row for row in rows if row["kind"] == kind]
        if own:
            lines += [f"## {title}", "", *_table(own, figure), "", *_correlations(own), ""]
    return "\n".join(lines)


_INTRODUCTION = f"""\
Six drawn animals told apart by SqueezeNet 1.1, frozen, {SIDE_PX} px, 8 filters, {NUM_EPOCHS} epochs, else the defaults
of `partcnn train`; {NUM_PICTURES} pictures of each, 30 % kept out. So many of an animal's pictures, in training and
kept out, have its own scene (or hat); the others have any. *Lost*: accuracy on the same animals in others' scenes (with
others' hats) below that on the pictures kept out, in points. The audit sees the pictures kept out alone, and neither
masks nor other scenes; grad-CAM is given the mask. Means over seeds, ± their standard deviation. Written by
`benchmarks/audit.py`."""


def _table(rows: list[dict[str, Any]], figure: str) -> list[str]:
    where = "off the animal" if rows[0]["kind"] == "scene" else "on the hat"
    heading = f"| own, % | {figure}, % | grad-CAM {where}, ours, % | plain, % | accuracy, ours, % | lost, ours | "
    heading += "of it kept without surroundings | accuracy, plain, % | lost, plain |"
    lines = [heading, "|" + "---|" * 9]
    for share in sorted({row["share"] for row in rows}):
        own = [row for row in rows if row["share"] == share]
        kept = [row["swapped_without"] - row["swapped_ours"] for row in own]
        cells = [_cell(own, name) for name in ("audit", "cam_ours", "cam_plain", "accuracy_ours", "lost_ours")]
        cells += [_text(kept), _cell(own, "accuracy_plain"), _cell(own, "lost_plain")]
        lines.append(f"| {share} | {' | '.join(cells)} |")
    return lines


def _cell(rows: list[dict[str, Any]], name: str) -> str:
    return _text([row[name] for row in rows])


def _text(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{spread}"


def _correlations(rows: list[dict[str, Any]]) -> list[str]:
    told = ", ".join(f"{name} {correlation(rows, figure):.2f}" for name, figure in FIGURES.items())
    return [f"Spearman's rank correlation with the accuracy lost, over {len(rows)} networks: {told}."]


if __name__ == "__main__":
    main()
