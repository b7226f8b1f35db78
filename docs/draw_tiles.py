"""The README's picture: drawings that a run never saw, tiled in one colour a filter.

    partcnn train --data demo: --category giraffe --weights resnet18_to_layer3.safetensors --out runs/giraffe
    python docs/draw_tiles.py runs/giraffe

The pictures are the drawn ones: photographs of others are never committed. They are taken at even distances among those
of the category; nobody chose them.
"""

import argparse
from pathlib import Path

from PIL import Image

from partcnn.app.runs import open_run
from partcnn.explanation import explain
from partcnn.plot import tiled_picture
from partcnn.reporting.tiles import evenly_chosen

FILE = Path(__file__).parent / "images" / "tiled-giraffes.png"
NUM_PICTURES = 6
SIDE, GAP = 200, 4  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory that partcnn train wrote, of filters that compete")
    run = open_run(parser.parse_args().run)
    dataset = run.dataset("test")
    objects = [sample for sample in dataset.samples if sample.label != dataset.background]
    strip = Image.new("RGB", (NUM_PICTURES * (SIDE + GAP) - GAP, SIDE), "white")
    for place, index in enumerate(evenly_chosen(range(len(objects)), NUM_PICTURES)):
        why = explain(run.model, objects[index].load_image())
        if why.picture is None or why.regions is None:
            raise SystemExit("run: expected filters that compete, got a network of another objective")
        tile = tiled_picture(why.picture, why.regions).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        strip.paste(tile, (place * (SIDE + GAP), 0))
    strip.save(FILE)


if __name__ == "__main__":
    main()
