"""The expected place of a filter's part, from the equations: one map at a time, every template in full."""

import numpy as np
from numpy.typing import NDArray

from tests.reference.templates import template_bank


def expected_place(x: NDArray[np.float64], *, beta: float) -> tuple[float, float]:
    """E over μ of (row, col) under softmax_μ Σ_ij (x_ij / max x) t_μij, with τ = 60 / n²."""
    height, width = x.shape
    peak = x.max()
    scaled = x / peak if peak > 0 else x
    bank = np.asarray(template_bank((height, width), tau=60 / (height * width), beta=beta))[1:]
    fitness = np.array([(scaled * template).sum() for template in bank])
    share = np.exp(fitness - fitness.max())
    share /= share.sum()
    rows, cols = np.divmod(np.arange(height * width), width)
    return float(share @ rows), float(share @ cols)
