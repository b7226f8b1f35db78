"""Filters that compete for cells, in Python floats: each term as METHOD.md, section 7 and 7.1, writes it.

Shares are a[image][filter][row][col], with the rest last where a function says so; scores likewise.
"""

import math

from tests.reference.equivariance import in_picture, log_variance_ratio


def cells(feature_map):
    return [value for row in feature_map for value in row]


def mean(values):
    return math.fsum(values) / len(values) if values else 0.0


def entropy(shares):
    return -math.fsum(share * math.log(share) for share in shares if share > 0)


def shares_of_cells(scores):
    """a_k(c) = exp s_k(c) / Σ_j exp s_j(c)."""
    return [softmax_over_filters(image) for image in scores]


def softmax_over_filters(maps):
    num_rows, num_cols = len(maps[0]), len(maps[0][0])
    found = [[[0.0] * num_cols for _ in range(num_rows)] for _ in maps]
    for row in range(num_rows):
        for col in range(num_cols):
            largest = max(feature_map[row][col] for feature_map in maps)
            powers = [math.exp(feature_map[row][col] - largest) for feature_map in maps]
            for index, power in enumerate(powers):
                found[index][row][col] = power / math.fsum(powers)
    return found


def mass(feature_map):
    """m = Σ_c a(c)."""
    return math.fsum(cells(feature_map))


def per_unit_mass(feature_map, least_mass=1e-4):
    """p = a / m, and a / least where a filter holds less than that."""
    total = max(mass(feature_map), least_mass)
    return [[value / total for value in row] for row in feature_map]


def rest_loss(shares):
    """−mean log a_rest, shares with the rest."""
    return mean([-math.log(value) for image in shares for value in cells(image[-1])])


def object_loss(shares, object_share):
    """mean of −f log(1 − a_rest) − (1 − f) log a_rest, shares with the rest; 1 − a_rest is what the filters hold."""
    losses = []
    for image, wanted in zip(shares, object_share, strict=True):
        for row in range(len(wanted)):
            for col, f in enumerate(wanted[row]):
                held = math.fsum(feature_map[row][col] for feature_map in image[:-1])
                losses.append(-f * math.log(held) - (1 - f) * math.log(image[-1][row][col]))
    return mean(losses)


def missing_entropy(masses, least_mass=1e-4):
    """log K − H(masses / their sum); 0 where less than that is held by all."""
    total = math.fsum(masses)
    return math.log(len(masses)) - entropy([held / total for held in masses]) if total >= least_mass else 0.0


def use_in_batch(shares):
    """log K − H of the filters' shares of all the cells that filters hold."""
    masses = [math.fsum(mass(image[k]) for image in shares) for k in range(len(shares[0]))]
    return missing_entropy(masses)


def use_in_picture(shares):
    return mean([missing_entropy([mass(feature_map) for feature_map in image]) for image in shares])


def certainty_loss(shares):
    """mean over images and cells of H(a), shares with the rest."""
    return mean([entropy(at_cell) for image in shares for at_cell in zip(*map(cells, image), strict=True)])


def presence_loss(shares):
    """mean of −log min(1, max_c a_k(c) + .02)."""
    return mean([-math.log(min(1.0, max(cells(feature_map)) + 0.02)) for image in shares for feature_map in image])


def centroid(feature_map, centers):
    """e = Σ_c p(c) c, as (x, y)."""
    ys, xs = centers
    weights = per_unit_mass(feature_map)
    x = math.fsum(weights[row][col] * xs[col] for row in range(len(ys)) for col in range(len(xs)))
    y = math.fsum(weights[row][col] * ys[row] for row in range(len(ys)) for col in range(len(xs)))
    return x, y


def compactness_loss(shares, centers):
    """10 · mean over images and filters of Σ_c p_k(c) ‖c − e_k‖²."""
    ys, xs = centers
    spreads = []
    for image in shares:
        for feature_map in image:
            weights, middle = per_unit_mass(feature_map), centroid(feature_map, centers)
            spreads.append(
                math.fsum(
                    weights[row][col] * math.dist((x, y), middle) ** 2
                    for row, y in enumerate(ys)
                    for col, x in enumerate(xs)
                )
            )
    return 10 * mean(spreads)


def steadiness_loss(shares, frames, centers):
    """mean over filters of log( (within + ε) / (between + ε) ), of the centroids in two views, in their pictures."""
    num_pictures = len(shares) // 2
    losses = []
    for k in range(len(shares[0]) if num_pictures else 0):
        places = [
            [in_picture(centroid(shares[view][k], centers), frames[view]) for view in (picture, picture + num_pictures)]
            for picture in range(num_pictures)
        ]
        losses.append(log_variance_ratio(places, places))
    return mean(losses)


def mean_feature(feature_map, features):
    """v̄ = Σ_c p(c) z(c); features are [channel][row][col]."""
    weights = cells(per_unit_mass(feature_map))
    return [math.fsum(p * z for p, z in zip(weights, cells(channel), strict=True)) for channel in features]


def identity_loss(found, prototypes):
    """Cross-entropy of cos(v̄_k − μ, q_j − μ) / .1 against k, mean over images and filters k."""
    center = [mean(channel) for channel in zip(*prototypes, strict=True)]
    losses = []
    for image in found:
        for k, feature in enumerate(image):
            logits = [cosine(difference(feature, center), difference(q, center)) / 0.1 for q in prototypes]
            largest = max(logits)
            log_total = largest + math.log(math.fsum(math.exp(logit - largest) for logit in logits))
            losses.append(log_total - logits[k])
    return mean(losses)


def difference(left, right):
    return [a - b for a, b in zip(left, right, strict=True)]


def cosine(left, right):
    """0 where either has no length."""
    lengths = math.hypot(*left) * math.hypot(*right)
    return math.fsum(a * b for a, b in zip(left, right, strict=True)) / lengths if lengths > 0 else 0.0
