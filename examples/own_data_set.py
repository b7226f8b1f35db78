"""A data set of one's own: pictures in one folder, their classes and points of parts in one file of lines."""

from pathlib import Path

import partcnn
from partcnn.datasets import BACKGROUND, DATASETS, Catalogue, Point, Sample, Shape
from partcnn.datasets.catalogue import find_category, part_names


def read_lines(location: str, category: str | None) -> Catalogue:
    """Lines of points.txt: FILE CLASS, and for each part that is seen PART X Y, in pixels of the file."""
    root, samples = Path(location), []
    rows = sorted(line.split() for line in (root / "points.txt").read_text().splitlines())
    names = sorted({name for _, name, *_ in rows})
    background = None if category is None else 0
    classes = names if category is None else [BACKGROUND, find_category(category, {name: name for name in names})]
    for file, name, *values in rows:
        parts: dict[str, list[Shape]] = {}
        if name in classes:
            triples = zip(values[::3], values[1::3], values[2::3], strict=True)
            parts = {part: [Point(float(x), float(y))] for part, x, y in triples}
        samples.append(Sample(root / file, classes.index(name) if name in classes else 0, None, parts, image_id=file))
    return Catalogue(samples, classes, part_names(samples), background=background, category=category)


DATASETS["lines"] = read_lines

if __name__ == "__main__":
    Path("animals").mkdir()
    animals, lines = partcnn.load_dataset("demo:4", split="all"), []
    for number, sample in enumerate(animals.samples):  # something to read
        sample.load_image().save(f"animals/{number}.png")
        words = [f"{part} {point.x} {point.y}" for part in sample.parts if (point := sample.landmark(part))]
        lines.append(" ".join([f"{number}.png", animals.classes[sample.labels[0]], *words]))
    Path("animals/points.txt").write_text("\n".join(lines))
    for category, split in ((None, "all"), ("cat", "test")):
        read = partcnn.load_dataset("lines:animals", category=category, split=split)
        print(f"{split}: {len(read)} pictures of {', '.join(read.classes)}; parts: {', '.join(read.parts)}")
