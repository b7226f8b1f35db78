"""Slow twins of the field's landmark measures: regression error, NMI and ARI, from their definitions."""

import itertools
import math

import numpy as np


def landmark_regression_error(train_places, train_landmarks, test_places, test_landmarks):
    """100 · mean ‖prediction − truth‖; each landmark has a regression of its own, by the pseudo-inverse."""
    distances = []
    for part in range(train_landmarks.shape[1]):
        rows = [b for b in range(len(train_landmarks)) if not math.isnan(train_landmarks[b, part, 0])]
        if not rows:
            continue
        inputs = [[train_places[b, f, c] for f in range(train_places.shape[1]) for c in (0, 1)] for b in rows]
        targets = [[train_landmarks[b, part, c] for c in (0, 1)] for b in rows]
        in_mean, in_std = column_statistics(inputs)
        out_mean, out_std = column_statistics(targets)
        x = np.array([standardised(row, in_mean, in_std) for row in inputs])
        y = np.array([standardised(row, out_mean, out_std) for row in targets])
        weights = np.linalg.pinv(x) @ y
        for b in range(len(test_landmarks)):
            if math.isnan(test_landmarks[b, part, 0]):
                continue
            row = [test_places[b, f, c] for f in range(test_places.shape[1]) for c in (0, 1)]
            predicted = np.array(standardised(row, in_mean, in_std)) @ weights
            gap = [predicted[c] * out_std[c] + out_mean[c] - test_landmarks[b, part, c] for c in (0, 1)]
            distances.append(math.hypot(*gap))
    return 100 * sum(distances) / len(distances) if distances else math.nan


def column_statistics(rows):
    means, deviations = [], []
    for column in zip(*rows, strict=True):
        there = [value for value in column if not math.isnan(value)]
        mean = sum(there) / len(there) if there else 0.0
        deviation = math.sqrt(sum((value - mean) ** 2 for value in there) / len(there)) if there else 0.0
        means.append(mean)
        deviations.append(deviation if deviation > 0 else 1.0)
    return means, deviations


def standardised(row, means, deviations):
    return [
        0.0 if math.isnan(value) else (value - mean) / deviation
        for value, mean, deviation in zip(row, means, deviations, strict=True)
    ]


def bilinear(feature_map, x, y):
    """A map [row, col] at (x, y) in shares of its sides, corners not aligned, its border going on."""
    rows, cols = feature_map.shape
    col, row = min(max(x * cols - 0.5, 0), cols - 1), min(max(y * rows - 0.5, 0), rows - 1)
    left, top = math.floor(col), math.floor(row)
    right, bottom = min(left + 1, cols - 1), min(top + 1, rows - 1)
    across, down = col - left, row - top
    upper = feature_map[top, left] * (1 - across) + feature_map[top, right] * across
    lower = feature_map[bottom, left] * (1 - across) + feature_map[bottom, right] * across
    return upper * (1 - down) + lower * down


def mutual_information_score(clusters, classes):
    """NMI with the arithmetic mean of both entropies."""
    n = len(clusters)

    def entropy(values):
        return -sum(values.count(v) / n * math.log(values.count(v) / n) for v in set(values))

    both = entropy(list(zip(clusters, classes, strict=True)))
    alone = entropy(list(clusters)) + entropy(list(classes))
    return 2 * (alone - both) / alone if alone > 0 else 1.0


def rand_index(clusters, classes):
    """ARI by looking at every pair of points."""
    same_cluster = same_class = same_both = num_pairs = 0
    for i, j in itertools.combinations(range(len(clusters)), 2):
        num_pairs += 1
        same_cluster += clusters[i] == clusters[j]
        same_class += classes[i] == classes[j]
        same_both += clusters[i] == clusters[j] and classes[i] == classes[j]
    by_chance = same_cluster * same_class / num_pairs if num_pairs else 0.0
    most = (same_cluster + same_class) / 2
    return (same_both - by_chance) / (most - by_chance) if most != by_chance else 1.0
