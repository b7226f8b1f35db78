"""The scores of explanations by interventions once more, slowly: sets and Python floats, from the equations."""

import math


def best_class(logits):
    return max(range(len(logits)), key=lambda index: logits[index])


def subsets(parts):
    found = [frozenset()]
    for part in sorted(parts):
        found += [one | {part} for one in found]
    return found


def important(importance, total, threshold):
    return {name for name in importance if importance[name] > threshold * total}


def synthetic_data_check(drawn, label, chosen):
    right = [kept for kept in drawn if best_class(drawn[kept]) == label]
    smallest = [kept for kept in right if all(not (other < kept) for other in right)]
    scores = []
    for kept in smallest:
        if len(kept) == 0:
            return math.nan
        scores.append(sum(part in chosen for part in kept) / len(kept))
    return max(scores)


def preservation_check(drawn, label, chosen):
    kept = frozenset(part for part in max(drawn, key=len) if part in chosen)
    return 1.0 if best_class(drawn[kept]) == label else 0.0


def deletion_check(drawn, label, chosen):
    kept = frozenset(part for part in max(drawn, key=len) if part not in chosen)
    return 0.0 if best_class(drawn[kept]) == label else 1.0


def distractibility(drawn, label, elsewhere, chosen):
    parts = max(drawn, key=len)
    whole = drawn[parts][label]
    idle = [part for part in parts if whole - drawn[parts - {part}][label] < 0.05 * abs(whole)]
    if whole - math.fsum(logits[label] for logits in elsewhere) / len(elsewhere) < 0.05 * abs(whole):
        idle.append("background")
    return sum(part not in chosen for part in idle) / len(idle) if idle else math.nan


def background_independence(drawn, label, elsewhere):
    whole = drawn[max(drawn, key=len)][label]
    return sum(whole - logits[label] < 0.05 * abs(whole) for logits in elsewhere) / len(elsewhere)


def rank(values, value):
    """Of equal values the mean of their ranks."""
    return 1 + sum(other < value for other in values) + (sum(other == value for other in values) - 1) / 2


def single_deletion(drawn, label, importance):
    parts = sorted(max(drawn, key=len))
    whole = frozenset(parts)
    falls = [drawn[whole][label] - drawn[whole - {part}][label] for part in parts]
    given = [importance[part] for part in parts]
    first, second = ([rank(values, value) for value in values] for values in (falls, given))
    if not parts:
        return math.nan
    middle = (len(parts) + 1) / 2
    both = math.fsum((a - middle) * (b - middle) for a, b in zip(first, second, strict=True))
    spread = math.prod(math.fsum((a - middle) ** 2 for a in ranks) for ranks in (first, second))
    return 0.5 + 0.5 * both / math.sqrt(spread) if spread > 0 else math.nan


def target_sensitivity(own_label, label, part, rest, without_part, without_rest, own, other):
    """None of the four numbers of importance are of the network; the four logits say whether it counts."""
    if not without_part[label] < without_rest[label] or not without_rest[own_label] < without_part[own_label]:
        return math.nan
    score = 0.5 if other[part] > own[part] else 0.0
    if math.fsum(own[one] for one in sorted(rest)) > math.fsum(other[one] for one in sorted(rest)):
        score += 0.5
    return score
