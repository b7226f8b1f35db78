"""The part metrics once more, slowly: lists of Python floats, written from the equations."""

import math


def chosen_images(scores, landmarks, filter_, part, top):
    """The `top` images of highest score among those that show the part; earlier images first on a tie."""
    shown = [i for i in range(len(scores)) if not any(math.isnan(c) for c in landmarks[i][part])]
    chosen = []
    while shown and len(chosen) < top:
        best = shown[0]
        for image in shown:
            if scores[image][filter_] > scores[best][filter_]:
                best = image
        chosen.append(best)
        shown.remove(best)
    return chosen


def variance(numbers):
    mean = math.fsum(numbers) / len(numbers)
    return math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1)


def mean_of_defined(numbers):
    defined = [number for number in numbers if not math.isnan(number)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def table(measure, peaks, scores, landmarks, top):
    """[filter][part] of measure(list of (peak, landmark)), nan below two images, and the numbers of images."""
    num_filters, num_parts = len(peaks[0]), len(landmarks[0])
    values = [[math.nan] * num_parts for _ in range(num_filters)]
    counts = [[0] * num_parts for _ in range(num_filters)]
    for f in range(num_filters):
        for k in range(num_parts):
            images = chosen_images(scores, landmarks, f, k, top)
            counts[f][k] = len(images)
            if len(images) >= 2:
                values[f][k] = measure([(peaks[i][f], landmarks[i][k]) for i in images])
    return values, counts


def location_instability(peaks, scores, landmarks, image_size, top):
    diagonal = math.sqrt(image_size[0] ** 2 + image_size[1] ** 2)

    def measure(pairs):
        distances = [math.sqrt((q[0] - p[0]) ** 2 + (q[1] - p[1]) ** 2) / diagonal for p, q in pairs]
        return math.sqrt(variance(distances))

    values, counts = table(measure, peaks, scores, landmarks, top)
    return values, mean_of_defined([mean_of_defined(row) for row in values]), counts


def part_tracking(peaks, scores, landmarks, top, is_dead):
    def measure(pairs):
        landmark_variance = sum(variance([q[axis] for _, q in pairs]) for axis in (0, 1))
        if landmark_variance == 0:
            return math.nan
        return 1 - sum(variance([q[axis] - p[axis] for p, q in pairs]) for axis in (0, 1)) / landmark_variance

    values, counts = table(measure, peaks, scores, landmarks, top)
    for f, dead in enumerate(is_dead):
        if dead:
            values[f] = [0.0 if count >= 2 else math.nan for count in counts[f]]
    return values, mean_of_defined([best(row, max) for row in values]), counts


def displacement_scatter(peaks, scores, landmarks, image_size, top):
    diagonal = math.sqrt(image_size[0] ** 2 + image_size[1] ** 2)

    def measure(pairs):
        return math.sqrt(sum(variance([q[axis] - p[axis] for p, q in pairs]) for axis in (0, 1))) / diagonal

    values, counts = table(measure, peaks, scores, landmarks, top)
    return values, mean_of_defined([best(row, min) for row in values]), counts


def best(row, choose):
    defined = [number for number in row if not math.isnan(number)]
    return choose(defined) if defined else math.nan


def coverage(r2, threshold):
    columns = [[number for number in column if not math.isnan(number)] for column in zip(*r2, strict=True)]
    measured = [column for column in columns if column]
    if not measured:
        return math.nan
    return sum(1 for column in measured if max(column) >= threshold) / len(measured)


def dead_filters(scores):
    return [sum(1 for row in scores if row[f] <= 0) > len(scores) / 2 for f in range(len(scores[0]))]
