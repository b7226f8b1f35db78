"""Equivariance in Python floats, written from its equations."""

import math

from tests.reference.templates import positive_template


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


def places_in_pictures(maps, frames, index, picture, centers, tau, beta):
    """Where one filter's part is in a picture, as each of its two views tells it."""
    places = []
    for view in (picture, picture + len(maps) // 2):
        places.append(in_picture(expected_position(maps[view][index], centers, tau, beta), frames[view]))
    return places


def in_picture(point, frame):
    """A (x, y, 1), from the view to its picture."""
    x, y = point
    return [a * x + b * y + c for a, b, c in frame]


def log_variance_ratio(places, places_between, floor=0.002):
    """log of (within + ε) / (between + ε), of one filter's places in the two views of each picture."""
    within = sum(math.dist(*one) ** 2 for one in places) / len(places) / 2
    middles = [[(one + other) / 2 for one, other in zip(*pair, strict=True)] for pair in places_between]
    mean = [sum(axis) / len(middles) for axis in zip(*middles, strict=True)]
    between = sum(math.dist(middle, mean) ** 2 for middle in middles) / len(middles)
    return math.log((within + floor) / (between + floor))


def equivariance(maps, belongs, frames, centers, tau, beta, floor=0.002, remembered=None):
    """Per filter: log of (within + ε) / (between + ε), variances of places over the pictures that belong.

    Pictures of a batch before, `remembered` as (maps, belongs, frames), count between pictures alone, and where the
    batch has a picture that belongs.
    """
    losses = []
    for index in range(len(maps[0])):
        pictures = [picture for picture in range(len(maps) // 2) if belongs[picture][index]]
        if not pictures:
            losses.append(0.0)
            continue
        places = [places_in_pictures(maps, frames, index, picture, centers, tau, beta) for picture in pictures]
        places_between = list(places)
        if remembered is not None:
            maps_before, belonged, frames_before = remembered
            places_between += [
                places_in_pictures(maps_before, frames_before, index, picture, centers, tau, beta)
                for picture in range(len(maps_before) // 2)
                if belonged[picture][index]
            ]
        losses.append(log_variance_ratio(places, places_between, floor))
    return losses
