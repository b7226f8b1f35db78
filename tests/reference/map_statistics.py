"""How alike filters are, once more and slowly: numpy float64 and Python numbers, from the definitions."""

import math

import numpy as np


def correlation(maps):
    """[filter, filter]: Pearson's over all cells of all images; 0 with a filter that is constant."""
    num_filters = maps.shape[1]
    table = np.zeros((num_filters, num_filters))
    for f in range(num_filters):
        for g in range(num_filters):
            x, y = maps[:, f].astype(np.float64).ravel(), maps[:, g].astype(np.float64).ravel()
            x, y = x - x.mean(), y - y.mean()
            if (x == 0).all() or (y == 0).all():
                continue
            table[f, g] = (x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum())
    return table


def peak_agreement(peaks, fires):
    """[filter, filter]: of the images on which both fire, the share with peaks in the same or in neighbouring cells."""
    num_images, num_filters = len(peaks), len(peaks[0])
    table = np.full((num_filters, num_filters), math.nan)
    for f in range(num_filters):
        for g in range(num_filters):
            both = [i for i in range(num_images) if fires[i][f] and fires[i][g]]
            near = [i for i in both if max(abs(peaks[i][f][axis] - peaks[i][g][axis]) for axis in (0, 1)) <= 1]
            if both:
                table[f, g] = len(near) / len(both)
    return table


def effective_rank(correlation):
    """exp of the entropy of the singular values, divided by their sum (Roy & Vetterli 2007)."""
    values = np.linalg.svd(correlation, compute_uv=False)
    shares = [value / values.sum() for value in values if value > 1e-15]
    return math.exp(-sum(share * math.log(share) for share in shares))


def participation_ratio(correlation):
    """(∑λ)² / ∑λ² of the eigenvalues."""
    values = np.linalg.eigvalsh(correlation)
    return values.sum() ** 2 / (values**2).sum() if (values > 1e-12).any() else 0.0


def crowded(places, fires):
    """Of all (image, pair of filters that fire), the share at most one cell apart along rows and columns."""
    near = both = 0
    for cells, fired in zip(places, fires, strict=True):
        for f in range(len(cells)):
            for g in range(f):
                if fired[f] and fired[g]:
                    both += 1
                    near += max(abs(cells[f][0] - cells[g][0]), abs(cells[f][1] - cells[g][1])) <= 1
    return near / both if both else math.nan


def chosen_filters(correlation, importance, count):
    """Greedy, each step from scratch: largest importance² × share of variance that the chosen do not explain."""
    chosen = []
    while len(chosen) < count:
        best, best_left = None, -1.0
        for f in range(len(importance)):
            if f in chosen:
                continue
            unexplained = correlation[f, f]
            if chosen:
                inner, across = correlation[np.ix_(chosen, chosen)], correlation[f, chosen]
                unexplained = unexplained - across @ np.linalg.lstsq(inner, across, rcond=None)[0]
            left = importance[f] ** 2 * unexplained
            if left > best_left + 1e-12:
                best, best_left = f, left
        chosen.append(best)
    return sorted(chosen)
