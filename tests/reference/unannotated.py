"""Whether filters move with their pictures and are known, once more and slowly: Python numbers, from the formulas."""

import math


def steadiness(first, second, counted):
    """[filter]: one-way analysis of variance of two views a picture, (MSB − MSW) / (MSB + MSW)."""
    found = []
    for f in range(len(first[0])):
        pairs = [(first[i][f], second[i][f]) for i in range(len(first)) if counted[i][f]]
        if len(pairs) < 2:
            found.append(math.nan)
            continue
        between = within = 0.0
        for axis in (0, 1):
            grand = sum(one[axis] + other[axis] for one, other in pairs) / (2 * len(pairs))
            for one, other in pairs:
                mean = (one[axis] + other[axis]) / 2
                between += 2 * (mean - grand) ** 2 / (len(pairs) - 1)
                within += ((one[axis] - mean) ** 2 + (other[axis] - mean) ** 2) / len(pairs)
        found.append((between - within) / (between + within) if between + within > 1e-15 else 0.0)
    return found


def identity(features, counted):
    """[filter]: of each filter's pictures the share that the nearest mean of the other half's gives to it."""
    num_pictures, num_filters = len(features), len(features[0])
    hits, asked = [0.0] * num_filters, [0] * num_filters
    for i in range(num_pictures):
        others = [j for j in range(num_pictures) if j % 2 != i % 2]
        known = {}
        for k in range(num_filters):
            rows = [features[j][k] for j in others if counted[j][k]]
            if rows:
                known[k] = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        if not known:
            continue
        center = [sum(column) / len(known) for column in zip(*known.values(), strict=True)]
        for k in known:
            if not counted[i][k]:
                continue
            asked[k] += 1
            cosines = {j: _cosine(features[i][k], mean, center) for j, mean in known.items()}
            best = [j for j, cosine in cosines.items() if cosine >= max(cosines.values()) - 1e-6]
            hits[k] += (k in best) / len(best)
    return [hit / number if number and num_filters > 1 else math.nan for hit, number in zip(hits, asked, strict=True)]


def _cosine(one, other, center):
    one, other = ([a - b for a, b in zip(values, center, strict=True)] for values in (one, other))
    lengths = math.hypot(*one), math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / math.prod(lengths) if all(lengths) else 0.0
