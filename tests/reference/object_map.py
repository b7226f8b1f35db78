"""The object map and what is done with it, in Python floats, written from METHOD.md, section 7.1."""

import math


def squared_distance(left, right):
    return math.fsum((a - b) ** 2 for a, b in zip(left, right, strict=True))


def responsibilities(cell, means, log_weights, variance):
    """w_k N(z; μ_k, σ² I) over their sum."""
    logs = [
        log_weight - squared_distance(cell, mean) / (2 * variance)
        for mean, log_weight in zip(means, log_weights, strict=True)
    ]
    largest = max(logs)
    total = math.fsum(math.exp(log - largest) for log in logs)
    return [math.exp(log - largest) / total for log in logs]


def object_share(cell, means, log_weights, variance, num_rest):
    """f = Σ of the object's responsibilities."""
    return math.fsum(responsibilities(cell, means, log_weights, variance)[num_rest:])


def refined(means, log_weights, variance, num_rest, of_objects, is_border, of_background, prior):
    """One round of EM: new means, weights and variance."""
    num_clusters = len(means)
    found = []
    for cell, at_border in zip(of_objects, is_border, strict=True):
        penalised = [w - 1.5 * (at_border and k >= num_rest) for k, w in enumerate(log_weights)]
        found.append(responsibilities(cell, means, penalised, variance))
    weighed = [(cell, shares, 1.0) for cell, shares in zip(of_objects, found, strict=True)]
    for cell in of_background:
        of_rest = responsibilities(cell, means[:num_rest], log_weights[:num_rest], variance)
        weighed.append((cell, of_rest + [0.0] * (num_clusters - num_rest), 0.5 * len(of_objects) / len(of_background)))
    mass = [math.fsum(weight * shares[k] for _, shares, weight in weighed) for k in range(num_clusters)]
    new_means = [
        [
            math.fsum(weight * shares[k] * cell[channel] for cell, shares, weight in weighed) / mass[k]
            for channel in range(len(means[k]))
        ]
        if mass[k] >= 1
        else means[k]
        for k in range(num_clusters)
    ]
    residuals = [
        math.fsum(share * squared_distance(cell, mean) for share, mean in zip(shares, new_means, strict=True))
        for cell, shares in zip(of_objects, found, strict=True)
    ]
    new_variance = math.fsum(residuals) / len(residuals) / len(means[0])
    rest, objects = math.fsum(mass[:num_rest]), math.fsum(mass[num_rest:])
    new_weights = [held / rest * (1 - prior) for held in mass[:num_rest]]
    new_weights += [held / objects * prior for held in mass[num_rest:]]
    return new_means, new_weights, new_variance


def eroded(share):
    """The smallest of a cell and its neighbours on the map."""
    rows, cols = range(len(share)), range(len(share[0]))
    return [
        [min(share[i][j] for i in rows for j in cols if abs(i - row) <= 1 and abs(j - col) <= 1) for col in cols]
        for row in rows
    ]


def position(value, centers):
    """Between which two centres, and how far: (index before, index after, share of the one after)."""
    value = min(max(value, centers[0]), centers[-1])
    for before in range(len(centers) - 1):
        if value <= centers[before + 1]:
            return before, before + 1, (value - centers[before]) / (centers[before + 1] - centers[before])
    return 0, 0, 0.0  # a single row or column


def carried_into_view(share, frame, centers):
    """One picture's shares [row][col] at the cells of a view of it."""
    ys, xs = centers
    found = []
    for y in ys:
        found.append([])
        for x in xs:
            at_x, at_y = (a * x + b * y + c for a, b, c in frame)
            left, right, across = position(at_x, xs)
            top, bottom, down = position(at_y, ys)
            upper = share[top][left] * (1 - across) + share[top][right] * across
            lower = share[bottom][left] * (1 - across) + share[bottom][right] * across
            found[-1].append(upper * (1 - down) + lower * down)
    return found
