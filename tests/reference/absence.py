"""Slow twin of `hidden_firing`: a filter's threshold by trying all of them."""

import math


def hidden_firing(scores, is_shown, kept):
    found = []
    for part in range(len(scores[0])):
        shown = [row[part] for row, known in zip(scores, is_shown, strict=True) if known[part]]
        hidden = [row[part] for row, known in zip(scores, is_shown, strict=True) if not known[part]]
        if len(shown) < 5 or len(hidden) < 5:
            found.append(math.nan)
            continue
        enough = [t for t in shown if sum(score >= t for score in shown) >= kept * len(shown) - 1e-9]
        found.append(sum(score >= max(enough) for score in hidden) / len(hidden))
    return found
