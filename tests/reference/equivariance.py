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


def equivariance(maps, belongs, frames, centers, tau, beta, floor=0.002):
    """Per filter: log of (within + ε) / (between + ε), variances of places over the pictures that belong."""
    num_pictures = len(maps) // 2
    losses = []
    for index in range(len(maps[0])):
        differences, middles = [], []
        for picture in range(num_pictures):
            if not belongs[picture][index]:
                continue
            places = []
            for view in (picture, picture + num_pictures):
                x, y = expected_position(maps[view][index], centers, tau, beta)
                places.append([a * x + b * y + c for a, b, c in frames[view]])
            differences.append(math.dist(*places))
            middles.append([(one + other) / 2 for one, other in zip(*places, strict=True)])
        if not middles:
            losses.append(0.0)
            continue
        within = sum(difference**2 for difference in differences) / len(differences) / 2
        mean = [sum(axis) / len(middles) for axis in zip(*middles, strict=True)]
        between = sum(math.dist(middle, mean) ** 2 for middle in middles) / len(middles)
        losses.append(math.log((within + floor) / (between + floor)))
    return losses
