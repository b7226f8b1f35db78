"""Equivariance in Python floats, written from its equations."""

import math

from reference.templates import positive_template


def expected_position(feature_map, centers, tau, beta):
    """(x, y): the mean of the cells' places under softmax over μ of s_μ = Σ_ij x_ij t_ij."""
    rows, cols = len(feature_map), len(feature_map[0])
    scores = {}
    for row in range(rows):
        for col in range(cols):
            template = positive_template((rows, cols), (row, col), tau=tau, beta=beta)
            scores[row, col] = sum(feature_map[i][j] * template[i, j] for i in range(rows) for j in range(cols))
    largest = max(scores.values())
    weights = {cell: math.exp(score - largest) for cell, score in scores.items()}
    total = sum(weights.values())
    ys, xs = centers
    x = sum(weight * xs[col] for (_, col), weight in weights.items()) / total
    y = sum(weight * ys[row] for (row, _), weight in weights.items()) / total
    return x, y


def equivariance(maps, belongs, frames, centers, tau, beta):
    """Per filter: mean over the pictures that belong of the squared distance in the picture's frame."""
    num_pictures = len(maps) // 2
    losses = []
    for index in range(len(maps[0])):
        distances = []
        for picture in range(num_pictures):
            if not belongs[picture][index]:
                continue
            places = []
            for view in (picture, picture + num_pictures):
                x, y = expected_position(maps[view][index], centers, tau, beta)
                places.append([a * x + b * y + c for a, b, c in frames[view]])
            distances.append(sum((one - other) ** 2 for one, other in zip(*places, strict=True)))
        losses.append(sum(distances) / len(distances) if distances else 0.0)
    return losses
