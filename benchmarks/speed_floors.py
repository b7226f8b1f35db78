"""What the machine reaches alone on what a loss is made of, and ways to the fitness beside each other."""

from functools import partial

import torch
from alternation import alternate
from speed_page import Row
from torch import Tensor

from partcnn.objectives.fitness import _bank, _transformed


def products_per_cell(side: int) -> float:
    """Of one fitness: by the bank n², by the transform of L = 3n/2 frequencies (β = 4) L + n L/n + L."""
    return side * side if side <= 16 else 3 * (side + -(-side // 2) - 1)


def machine_rates(repeats: int) -> dict[str, float]:
    """A second on this machine: bytes read and written of an array that leaves the caches, exp, float32 products."""
    source, target = torch.rand(1 << 24), torch.empty(1 << 24)
    square, product = torch.rand(1024, 1024), torch.empty(1024, 1024)
    timings = alternate(
        {
            "copy": lambda: target.copy_(source),
            "exp": lambda: torch.exp(source[: 1 << 16], out=target[: 1 << 16]),
            "product": lambda: torch.mm(square, square, out=product),
        },
        repeats,
    )
    return {
        "bytes": 8 * len(source) / timings.median_s("copy"),
        "exp": (1 << 16) / timings.median_s("exp"),
        "products": 1024**3 / timings.median_s("product"),
    }


def fitness_ways(repeats: int) -> list[Row]:
    """The sums with all cones of a map by the bank, by the transform of rows, and by the FFT of both axes."""
    rows = []
    for side in (7, 14, 16, 20, 28, 56):
        maps = torch.rand(max(2, (1 << 18) // side**2), 1, side * side)
        bank, transformed = (make((side, side), 4.0, maps) for make in (_bank, _transformed))
        length = side + -(-side // 2) + -side % 2  # no less than the transform's, and of small factors for these sides
        tasks = {
            "bank": partial(bank, maps),
            "transform": partial(transformed, maps),
            "FFT": partial(by_fft, maps.unflatten(2, (side, side)), cone_spectrum(side, length)),
        }
        for way in ("transform", "FFT"):
            torch.testing.assert_close(tasks[way]().view_as(maps), tasks["bank"](), rtol=1e-4, atol=1e-3)
        timings = alternate(tasks, repeats)
        cost = ", ".join(f"{way} {1e9 * timings.median_s(way) / maps.numel():.1f} ns" for way in tasks)
        rows.append(Row(f"fitness of a cell, n = {side}", "", cost, None))
    return rows


def cone_spectrum(side: int, length: int) -> Tensor:
    gaps = torch.minimum(torch.arange(length), length - torch.arange(length))
    cone = (2 - 4 * (gaps[:, None] + gaps) / side).clamp(min=0)
    return torch.fft.rfft2(cone).real.contiguous()


def by_fft(maps: Tensor, spectrum: Tensor) -> Tensor:
    size, side = (len(spectrum),) * 2, maps.shape[-1]
    return torch.fft.irfft2(torch.fft.rfft2(maps, s=size) * spectrum, s=size)[..., :side, :side].flatten(2)
