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


# --- the authors' own procedure for location instability


def authors_instability(peaks_1based, scores, boxes, num_images=100):
    """As getDistSqrtVar.m and computeStability.m go about it, on an input of 224 × 224.

    Peaks and box corners are 1-based pixels; a picture without exactly one box of a part is skipped. Distances are
    divided by the input's diagonal, MATLAB's var is that of N − 1; mean over parts, then over filters.
    """
    per_filter = []
    for f in range(len(peaks_1based[0])):
        per_part = []
        for k in range(len(boxes[0])):
            annotated = [i for i in range(len(boxes)) if len(boxes[i][k]) == 1]
            annotated.sort(key=lambda i: -scores[i][f])  # a stable sort, as MATLAB's
            distances = []
            for i in annotated[:num_images]:
                x0, y0, x1, y1 = boxes[i][k][0]
                x, y = peaks_1based[i][f]
                distances.append(math.hypot((x0 + x1) / 2 - x, (y0 + y1) / 2 - y) / math.hypot(224, 224))
            per_part.append(math.sqrt(variance(distances)) if len(distances) >= 2 else math.nan)
        per_filter.append(mean_of_defined(per_part))
    return mean_of_defined(per_filter)


def least_instability(per_category):
    """mean_f min_c mean_k of tables [category][filter][part]."""
    least = []
    for f in range(len(per_category[0])):
        means = [mean_of_defined(table[f]) for table in per_category]
        least.append(best(means, min))
    return mean_of_defined(least)


# --- shares


def activation_quantile(maps, filter_, quantile):
    """The smallest activation that at most a share `quantile` of cells exceed; maps [image][filter][row][col]."""
    cells = sorted((x for image in maps for row in image[filter_] for x in row), reverse=True)
    return cells[math.floor(quantile * len(cells))]


def part_interpretability(maps, thresholds, regions, centers, radius, iou_threshold, steps):
    """[filter][part]; regions [image][part] are sets of (row, col) of a grid, steps its (height, width) in pixels."""
    grid_points = {
        (r, c): ((c + 0.5) * steps[1], (r + 0.5) * steps[0])
        for r in range(steps[2])
        for c in range(steps[3])
    }  # fmt: skip
    num_filters, num_parts = len(maps[0]), len(regions[0])
    table_ = [[math.nan] * num_parts for _ in range(num_filters)]
    for f in range(num_filters):
        for k in range(num_parts):
            shown = [i for i in range(len(maps)) if regions[i][k]]
            hits = 0
            for i in shown:
                firing = [
                    centers[r][c]
                    for r, row in enumerate(maps[i][f])
                    for c, x in enumerate(row)
                    if x > thresholds[f] and x > 0
                ]
                covered = {
                    point
                    for point, (x, y) in grid_points.items()
                    if any(math.hypot(x - cx, y - cy) <= radius for cx, cy in firing)
                }
                hits += len(covered & regions[i][k]) / len(covered | regions[i][k]) > iou_threshold
            if shown:
                table_[f][k] = hits / len(shown)
    return table_


def pointing_game(peaks, scores, regions, tolerance):
    """[filter][part]; regions [image][part] are sets of (row, col) of the frame's own pixels."""
    num_filters, num_parts = len(peaks[0]), len(regions[0])
    table_ = [[math.nan] * num_parts for _ in range(num_filters)]
    for f in range(num_filters):
        for k in range(num_parts):
            shown = [i for i in range(len(peaks)) if regions[i][k]]
            hits = 0
            for i in shown:
                col, row = math.floor(peaks[i][f][0]), math.floor(peaks[i][f][1])
                near = any(math.hypot(row - r, col - c) <= tolerance for r, c in regions[i][k])
                hits += near and scores[i][f] > 0
            if shown:
                table_[f][k] = hits / len(shown)
    return table_


def activation_shares(maps, labels, num_classes):
    """[filter][class]: share of the class's mean summed activation among all classes."""
    shares = []
    for f in range(len(maps[0])):
        means = []
        for label in range(num_classes):
            own = [sum(x for row in maps[i][f] for x in row) for i in range(len(maps)) if labels[i] == label]
            means.append(math.fsum(own) / len(own) if own else 0.0)
        total = math.fsum(means)
        shares.append([one / total if total > 0 else 0.0 for one in means])
    return shares
