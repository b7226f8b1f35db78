"""What an evaluation costs beside plain forward passes over the same pictures.

    python benchmarks/evaluation_cost.py --data animalpart:PATH --category frog --weights PATH

Alternates in one process between plain passes and `partcnn.evaluate` over the same pictures, as often as asked, and
compares the medians. Pictures are decoded once, before the clock starts. The plain pass is measured twice: with the
preprocessing, which an evaluation does too, and with pictures that are preprocessed already. Both plain passes look at
all that an evaluation looks at: also at the second views of some of the pictures, and at some with noise. "forward
once" leaves these aside. Memory that was freed is kept for the next layer, as every command of partcnn has it.
"""

import argparse
import copy
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader

import partcnn
from partcnn.datasets import PartDataset, Sample
from partcnn.datasets.loading import load_dataset
from partcnn.foundation.allocator import keep_freed
from partcnn.foundation.files import write_text
from partcnn.model.conversion import convert
from partcnn.model.network import conversion_of
from partcnn.model.second_views import NoisyPictures, SecondLooks, SecondViews
from partcnn.networks.backbones import load_backbone
from partcnn.networks.preprocessing import Preprocessing

MOST = 1.15  # times the plain pass


class DecodedSample(Sample):
    """A sample that keeps its picture."""

    def __init__(self, sample: Sample) -> None:
        fields = (field.name for field in dataclasses.fields(sample))
        super().__init__(**{name: getattr(sample, name) for name in fields})
        object.__setattr__(self, "picture", sample.load_image())

    picture: Image.Image

    def load_image(self) -> Image.Image:
        return self.picture

    def load_reduced(self, *_: object) -> tuple[Image.Image, tuple[int, int]]:
        return self.picture, (self.picture.height, self.picture.width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--category")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--weights")
    parser.add_argument("--layer", default="layer3")
    parser.add_argument("--filters", type=int, help="per part layer; default as in partcnn.convert")
    parser.add_argument("--count", type=int, default=256, help="pictures")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("docs/results/evaluation_cost.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed()
    dataset = decoded(load_dataset(options.data, category=options.category, split="all"), options.count)
    model, preprocessing = converted(options, dataset)
    looks: list[SecondLooks] = [SecondViews(dataset, preprocessing)]
    if dataset.parts:
        looks.append(NoisyPictures(dataset, preprocessing))
    whole, batches = list(images(dataset, [], preprocessing)), list(images(dataset, looks, preprocessing))
    tasks: dict[str, Callable[[], Any]] = {
        "forward": lambda: forward(model, batches),
        "load and forward": lambda: forward(model, images(dataset, looks, preprocessing)),
        "forward once": lambda: forward(model, whole),
        "evaluate": lambda: partcnn.evaluate(model, dataset),
    }
    for task in tasks.values():  # what is done once in a process: imports, allocations
        task()
    clocks = {"processor": time.process_time, "wall": time.perf_counter}
    seconds: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in tasks} for clock in clocks}
    for repeat in range(options.repeats):
        for name, task in tasks.items():
            began = {clock: read() for clock, read in clocks.items()}
            task()
            for clock, read in clocks.items():
                seconds[clock][name].append(read() - began[clock])
        print(repeat, {name: round(values[-1], 2) for name, values in seconds["processor"].items()}, flush=True)
    result = summary(options, dataset, seconds, [len(one) for one in looks])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(options.out, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["ratios"], indent=1))


def decoded(dataset: PartDataset, count: int) -> PartDataset:
    """`count` pictures evenly from the data set, decoded."""
    other = copy.copy(dataset)
    step = max(1, len(dataset) // count)
    other.samples = [DecodedSample(sample) for sample in dataset.samples[::step][:count]]
    return other


def converted(options: argparse.Namespace, dataset: PartDataset) -> tuple[nn.Module, Preprocessing]:
    backbone = load_backbone(options.backbone, options.weights)
    model = convert(
        backbone.network,
        options.layer,
        num_classes=len(dataset.classes),
        background=dataset.background,
        filters=options.filters,
        inplace=True,
    )
    record = conversion_of(model)
    record.preprocessing, record.classes = backbone.preprocessing, list(dataset.classes)
    return model, backbone.preprocessing


def images(dataset: PartDataset, looks: Sequence[SecondLooks], preprocessing: Preprocessing) -> Iterator[Tensor]:
    for batch in DataLoader(dataset.with_transform(preprocessing.transform()), batch_size=32):
        yield batch.image
    for one in looks:
        for views, _ in DataLoader(one, batch_size=32):
            yield views


def forward(model: nn.Module, images: Any) -> Tensor:
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(batch).argmax(dim=1) for batch in images])


def summary(
    options: argparse.Namespace,
    dataset: PartDataset,
    seconds: dict[str, dict[str, list[float]]],
    num_looks: list[int],
) -> dict[str, Any]:
    """Medians and their ratios by each clock; that of the processor is not troubled by what else the machine does."""
    medians = {
        clock: {name: statistics.median(values) for name, values in tasks.items()} for clock, tasks in seconds.items()
    }
    ratios = {
        clock: {f"evaluate / {name}": round(found["evaluate"] / found[name], 3) for name in found if name != "evaluate"}
        for clock, found in medians.items()
    }
    category = f"--category {options.category} " if options.category else ""
    return {
        "command": f"--data KIND:PATH {category}--backbone {options.backbone} --layer {options.layer} "
        f"--count {len(dataset)} --repeats {options.repeats} --threads {options.threads}",
        "pictures": len(dataset),
        "second_views": num_looks[0],
        "with_noise": sum(num_looks[1:]),
        "median_s": {
            clock: {name: round(value, 3) for name, value in found.items()} for clock, found in medians.items()
        },
        "ratios": ratios,
        "at_most": MOST,
        "is_kept": ratios["processor"]["evaluate / forward"] <= MOST,
    }


if __name__ == "__main__":
    main()
