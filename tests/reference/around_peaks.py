"""Consistency, stability and part purity once more and slowly: Python numbers, from the papers' definitions.

A point is (x, y) in pixels; a part that a picture does not show is None.
"""

import math


def _inside(peak, point, size, side):
    """Whether a point lies in the box of so many of 224 parts of the picture's height and width around the peak."""
    height, width = size
    x, y = peak
    return (
        x - side / 224 * width / 2 <= point[0] <= x + side / 224 * width / 2
        and y - side / 224 * height / 2 <= point[1] <= y + side / 224 * height / 2
    )


def consistency(peaks, scores, landmarks, size):
    """Shares [filter][part], and the share of filters that have one of at least 80 %."""
    num_filters, num_parts = len(peaks[0]), len(landmarks[0])
    shares = []
    for f in range(num_filters):
        shares.append([])
        for k in range(num_parts):
            shown = [i for i in range(len(peaks)) if landmarks[i][k] is not None]
            held = [i for i in shown if scores[i][f] > 0 and _inside(peaks[i][f], landmarks[i][k], size, 72)]
            shares[f].append(len(held) / len(shown) if shown else math.nan)
    known = [max(row) for row in ([one for one in row if one == one] for row in shares) if row]
    value = sum(share >= 0.8 for share in known) / len(known) if known else math.nan
    return shares, value


def stability(peaks, scores, noisy_peaks, noisy_scores, landmarks, size):
    """[filter]: the share of pictures that show a part and on which it fires, with the same set of parts in its box."""
    found = []
    for f in range(len(peaks[0])):
        verdicts = []
        for i, points in enumerate(landmarks):
            if scores[i][f] <= 0 or all(point is None for point in points):
                continue
            sets = [
                {k for k, point in enumerate(points) if point is not None and _inside(peak, point, size, 72)}
                for peak in (peaks[i][f], noisy_peaks[i][f])
            ]
            verdicts.append(noisy_scores[i][f] > 0 and sets[0] == sets[1])
        found.append(sum(verdicts) / len(verdicts) if verdicts else math.nan)
    return found


def part_purity(peaks, scores, landmarks, size, groups, top=10):
    """[filter]: of its `top` strongest pictures the share with its best part, any of a group, in the window."""
    shown = [i for i, points in enumerate(landmarks) if any(point is not None for point in points)]
    found = []
    for f in range(len(peaks[0])):
        chosen = sorted(shown, key=lambda i: (-scores[i][f], i))[:top]
        shares = []
        for group in groups:
            hits = 0
            for i in chosen:
                points = [landmarks[i][k] for k in group if landmarks[i][k] is not None]
                hits += scores[i][f] > 0 and any(_inside(peaks[i][f], point, size, 32) for point in points)
            shares.append(hits / len(chosen) if chosen else math.nan)
        found.append(max(shares) if chosen else math.nan)
    return found
