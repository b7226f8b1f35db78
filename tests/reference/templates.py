"""Templates, prior, peak and mask of Zhang, Wu & Zhu (2018), section 3, one cell at a time."""

import math

import numpy as np


def beta_of_filter(beta, f):
    """β is one number, or one per filter."""
    return float(beta) if np.ndim(beta) == 0 else float(beta[f])


def positive_template(size, mu, *, tau, beta=4.0, norm="l1"):
    """t_ij = τ · max(1 − β‖[i,j] − μ‖ / n, −1), n = √(H·W)."""
    height, width = size
    n = math.sqrt(height * width)
    template = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            rows, cols = abs(i - mu[0]), abs(j - mu[1])
            distance = {"l1": rows + cols, "l2": math.sqrt(rows**2 + cols**2)}[norm]
            template[i, j] = tau * max(1.0 - beta * distance / n, -1.0)
    return template


def negative_template(size, *, tau):
    """t_ij = −τ everywhere."""
    height, width = size
    return np.array([[-tau] * width for _ in range(height)])


def template_bank(size, *, tau, beta=4.0, norm="l1"):
    """[T⁻, T_(0,0), T_(0,1), …, T_(1,0), …]: the negative template, then μ in row-major order."""
    height, width = size
    bank = [negative_template(size, tau=tau)]
    for row in range(height):
        for col in range(width):
            bank.append(positive_template(size, (row, col), tau=tau, beta=beta, norm=norm))
    return np.stack(bank)


def template_prior(size, *, alpha=None):
    """p(T⁻) = 1 − α, p(T_μ) = α/n²; α = n²/(1 + n²) unless given."""
    num_cells = size[0] * size[1]
    if alpha is None:
        alpha = num_cells / (1 + num_cells)
    return np.array([1.0 - alpha] + [alpha / num_cells] * num_cells)


def peak(feature_map):
    """μ̂ = argmax_ij x_ij; the first in row order where several are equal."""
    best = (0, 0)
    for i in range(feature_map.shape[0]):
        for j in range(feature_map.shape[1]):
            if feature_map[i, j] > feature_map[best]:
                best = (i, j)
    return best


def centroid_cell(feature_map):
    """The official code's place of a part: Σ_ij x_ij [i,j] / Σ_ij x_ij, rounded half up; (0, 0) for an all-zero map.

    MATLAB's round takes halves away from zero, which for places ≥ 0 is upwards.
    """
    total = sum(float(v) for v in feature_map.ravel())
    if total == 0.0:
        return (0, 0)
    row = col = 0.0
    for i in range(feature_map.shape[0]):
        for j in range(feature_map.shape[1]):
            row += i * feature_map[i, j]
            col += j * feature_map[i, j]
    return (math.floor(row / total + 0.5), math.floor(col / total + 0.5))


def part_mask(feature_maps, *, beta=4.0):
    """max(x_ij · t_ij, 0), t the positive template of the map's own peak, with τ = 1."""
    masked = np.zeros_like(feature_maps)
    num_images, num_filters, height, width = feature_maps.shape
    for b in range(num_images):
        for f in range(num_filters):
            x = feature_maps[b, f]
            template = positive_template((height, width), peak(x), tau=1.0, beta=beta_of_filter(beta, f))
            for i in range(height):
                for j in range(width):
                    masked[b, f, i, j] = max(x[i, j] * template[i, j], 0.0)
    return masked
