"""What interpretability costs: loss, mask, training step and inference beside their goals; docs/results/speed.*

    python benchmarks/speed.py                       # all; about an hour on two slow cores, most of it VGG-16
    python benchmarks/speed.py --only loss memory    # some; the other rows stay as they were

Everything compared is timed in turns in one process, by the processor's clock and with one thread unless asked
otherwise: so other work on the machine does not enter. On a machine with a GPU, `--device cuda` adds the loss, as it is
and by `torch.compile`, beside the GPU's own memory bandwidth.
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from alternation import alternate, peak_rss_bytes
from speed_floors import fitness_ways, machine_rates, products_per_cell
from speed_page import Row, below, machine, write_rows
from torch import Tensor, nn
from torch.nn import functional as F

import partcnn
from partcnn.objectives import OBJECTIVES, labelled

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from tests.reference import naive_torch  # noqa: E402

SHAPES = [(32, 512, 14, 14), (196, 512, 13, 13), (32, 256, 28, 28), (8, 128, 56, 56)]
FIRST = SHAPES[0]
TO_WEIGH = {"labelled": labelled, "exact": OBJECTIVES["exact"], "naive labelled": naive_torch.labelled}


def batch(shape: tuple[int, ...], device: str = "cpu") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(shape, generator=generator).relu_().to(device).requires_grad_()
    return maps, (torch.rand(shape[:2], generator=generator) < 0.5).to(device)


def there_and_back(objective: Callable[..., Any], shape: tuple[int, ...], device: str = "cpu") -> Callable[[], None]:
    """Loss and gradient at τ of the recipe on maps whose mean peak is about 3."""
    maps, belongs = batch(shape, device)

    def task() -> None:
        maps.grad = None
        value = objective(maps, belongs, tau=20 / (shape[2] * shape[3]))
        getattr(value, "loss", value).mean().backward()

    return task


def loss(options: argparse.Namespace) -> list[Row]:
    tasks = {
        name: there_and_back(function, FIRST)
        for name, function in [("labelled", labelled), ("exact", OBJECTIVES["exact"])]
    }
    tasks |= {"naive labelled": there_and_back(naive_torch.labelled, FIRST)}
    tasks |= {"naive exact": there_and_back(naive_torch.exact, FIRST)}
    timings = alternate(tasks, options.repeats)
    rows = []
    for name in ("labelled", "exact"):
        times = timings.ratio(f"naive {name}", name)
        ms = f"{1e3 * timings.median_s(name):.0f} against {1e3 * timings.median_s(f'naive {name}'):.0f} ms"
        rows.append(
            Row(
                f"`{name}` there and back at {list(FIRST)}: faster than naive",
                "≥ 10 ×",
                f"{times:.0f} × ({ms})",
                times >= 10,
            )
        )
    return rows


def memory(options: argparse.Namespace) -> list[Row]:
    map_bytes = 4 * torch.Size(FIRST).numel()
    peaks = {name: peak_of_tensors(there_and_back(objective, FIRST)) for name, objective in TO_WEIGH.items()}
    rows = []
    for name in ("labelled", "exact"):
        command = [sys.executable, __file__, "--peak-of", name]
        process = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        measured = (
            f"{peaks[name] / map_bytes:.2f} maps (of the process, with malloc and MKL: {process / map_bytes:.2f})"
        )
        is_met = peaks[name] <= 1.5 * map_bytes
        rows.append(Row(f"extra peak memory of `{name}`, gradient included", "≤ 1.5 maps", measured, is_met))
    times = peaks["naive labelled"] / peaks["labelled"]
    of = f"1/{times:.0f} of {peaks['naive labelled'] / 2**30:.1f} GiB"
    return [*rows, Row("extra peak memory of `labelled` beside naive", "≤ 1/10", of, times >= 10)]


def peak_of_tensors(task: Callable[[], None]) -> int:
    """Bytes that tensors made by the task hold at once, at most."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        task()
    assert profile.profiler is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes, initial=0))


def print_peak_of(name: str) -> None:
    """Bytes that a process grows by beyond the maps; in one of its own, since a peak is never forgotten."""
    objective = TO_WEIGH[name]
    there_and_back(objective, (2, 2, 14, 14))()  # what is loaded once
    task = there_and_back(objective, FIRST)
    before = peak_rss_bytes()
    task()
    print(peak_rss_bytes() - before)


def pixels(options: argparse.Namespace) -> list[Row]:
    timings = alternate({str(list(shape)): there_and_back(labelled, shape) for shape in SHAPES}, options.repeats)
    cells = {str(list(shape)): torch.Size(shape).numel() for shape in SHAPES}
    small, large = str(list(SHAPES[0])), str(list(SHAPES[-1]))
    growth = timings.ratio(large, small) * cells[small] / cells[large]
    rows = [Row("`labelled`, cost of a cell, from n = 14 to n = 56", "≤ 1.5 ×", f"{growth:.2f} ×", growth <= 1.5)]
    rates = machine_rates(options.repeats)
    for name, shape in zip(cells, SHAPES, strict=True):
        num_exp, num_bytes = 2 * cells[name], 8 * cells[name]
        num_products = 2 * cells[name] * products_per_cell(shape[2])
        seconds = timings.median_s(name)
        text = (
            f"{1e3 * seconds:.0f} ms, {1e9 * seconds / cells[name]:.0f} ns a cell; "
            f"{num_bytes / 1e6:.0f} MB: {1e3 * num_bytes / rates['bytes']:.0f} ms, "
            f"{num_exp / 1e6:.0f} M exp: {1e3 * num_exp / rates['exp']:.0f} ms, "
            f"{num_products / 1e9:.1f} G products: {1e3 * num_products / rates['products']:.0f} ms"
        )
        rows.append(Row(f"`labelled` at {name}, and its floors", "", text, None))
    return rows


def networks(name: str) -> tuple[nn.Module, nn.Module]:
    """The plain network and the same with masks and losses, weights at random."""
    from torchvision import models

    torch.manual_seed(0)
    plain = models.get_model(name, weights=None, num_classes=2)
    return plain, partcnn.convert(plain, num_classes=2, head="original")


def training_step(model: nn.Module, images: Tensor, labels: Tensor, with_loss: bool) -> Callable[[], None]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        total = F.cross_entropy(model(images), labels)
        if with_loss:
            total = total + partcnn.filter_loss(model, labels)
        total.backward()
        optimizer.step()

    return step


def steps(name: str, num_images: int, title: str) -> Callable[[argparse.Namespace], list[Row]]:
    def measure(options: argparse.Namespace) -> list[Row]:
        plain, parts = networks(name)
        images, labels = torch.rand(num_images, 3, 224, 224), torch.arange(num_images) % 2
        tasks = {"off": training_step(plain, images, labels, False), "on": training_step(parts, images, labels, True)}
        timings = alternate(tasks, options.repeats)
        return [below(f"training step, {title}, batch {num_images}, on / off", timings, "on", "off", 1.03)]

    return measure


def inference(compiled: bool, goal: float) -> Callable[[argparse.Namespace], list[Row]]:
    def measure(options: argparse.Namespace) -> list[Row]:
        plain, parts = (model.eval() for model in networks("resnet18"))
        if compiled:
            plain, parts = torch.compile(plain), torch.compile(parts)
        images = torch.rand(8, 3, 224, 224)
        with torch.inference_mode():
            timings = alternate({"off": lambda: plain(images), "on": lambda: parts(images)}, 3 * options.repeats)
        title = f"inference, ResNet-18, batch {len(images)}, {'compiled' if compiled else 'eager'}, on / off"
        return [below(title, timings, "on", "off", goal)]

    return measure


def mask(options: argparse.Namespace) -> list[Row]:
    from partcnn.objectives.templates import part_mask

    maps, _ = batch(FIRST)
    maps = maps.detach()
    last = maps.contiguous(memory_format=torch.channels_last)
    timings = alternate({"mask": lambda: part_mask(maps), "last": lambda: part_mask(last)}, options.repeats)
    cost = [f"{1e9 * timings.median_s(task) / maps.numel():.1f}" for task in ("mask", "last")]
    return [Row("mask, a cell", "", f"{cost[0]} ns, channels-last {cost[1]} ns", None)]


def importing(options: argparse.Namespace) -> list[Row]:
    code = "import time, torch; began = time.process_time(); import partcnn; print(time.process_time() - began)"
    seconds = sorted(
        float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(options.repeats)
    )
    median = seconds[len(seconds) // 2]
    return [Row("`import partcnn` beyond torch", "≤ 0.15 s", f"{median:.3f} s", median <= 0.15)]


def cuda(options: argparse.Namespace) -> list[Row]:
    """Beside a pass that reads the maps and writes as much: the floor of any loss with a gradient."""
    shape = (256, 512, 14, 14)
    maps, _ = batch(shape, "cuda")
    target = torch.empty_like(maps)
    ways = {"torch": labelled, "torch.compile": torch.compile(labelled)}
    tasks = {way: there_and_back(objective, shape, "cuda") for way, objective in ways.items()}
    timings = alternate({**tasks, "copy": lambda: target.copy_(maps.detach())}, options.repeats)
    title = f"`labelled` at {list(shape)} on {torch.cuda.get_device_name()} beside a copy of the maps"
    return [below(f"{title}, by {way}", timings, way, "copy", 2.0) for way in ways]


MEASUREMENTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "loss": loss,
    "memory": memory,
    "pixels": pixels,
    "fitness": lambda options: fitness_ways(options.repeats),
    "mask": mask,
    "resnet18": steps("resnet18", 32, "ResNet-18"),
    "inference": inference(False, 1.02),
    "inference_compiled": inference(True, 1.01),
    "importing": importing,
    "vgg16": steps("vgg16", 16, "VGG-16"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*MEASUREMENTS, "cuda"], default=list(MEASUREMENTS))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "speed.json")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print_peak_of(options.peak_of)
        return
    chosen = {name: MEASUREMENTS[name] for name in options.only if name in MEASUREMENTS}
    if options.device == "cuda":
        chosen = {"cuda": cuda}
    for name, measure in chosen.items():
        print(name, flush=True)
        rows = measure(options)
        for row in rows:
            print(row, flush=True)
        write_rows(options.out, name, machine(options.threads, options.repeats), rows)


if __name__ == "__main__":
    main()
