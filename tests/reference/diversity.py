"""Spread of filters over places in Python floats, written from its equations."""

import math

from tests.reference.templates import positive_template


def places(feature_map, tau, beta):
    """softmax over μ of s_μ = Σ_ij x_ij t_ij, row-major."""
    rows, cols = len(feature_map), len(feature_map[0])
    scores = []
    for row in range(rows):
        for col in range(cols):
            template = positive_template((rows, cols), (row, col), tau=tau, beta=beta)
            scores.append(math.fsum(feature_map[i][j] * template[i, j] for i in range(rows) for j in range(cols)))
    largest = max(scores)
    weights = [math.exp(score - largest) for score in scores]
    return [weight / math.fsum(weights) for weight in weights]


def position_information(feature_maps, tau, beta):
    """Σ_f Σ_μ p(f, μ) log( p(f, μ) / (p(f) p(μ)) ) of one picture; p(f) = 1/F, p(f, μ) = p_f(μ)/F."""
    shares = [places(one, tau, beta) for one in feature_maps]
    num = len(shares)
    marginal = [math.fsum(share[cell] for share in shares) / num for cell in range(len(shares[0]))]
    return math.fsum(
        p / num * math.log(p / marginal[cell]) for share in shares for cell, p in enumerate(share) if p > 0
    )


def diversity(feature_maps, belongs, filter_category, tau, beta):
    """−Σ over categories of the mean over their pictures of the information among their filters."""
    total = 0.0
    for category in sorted(set(filter_category)):
        own = [f for f, owner in enumerate(filter_category) if owner == category]
        pictures = [x for x in range(len(feature_maps)) if belongs[x][own[0]]]
        if pictures:
            found = [position_information([feature_maps[x][f] for f in own], tau, beta) for x in pictures]
            total -= math.fsum(found) / len(pictures)
    return total
