"""Whether a filter is silent where its part is hidden."""

import math

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError

KEPT = 0.9  # of the pictures that show a part: a filter's threshold is where it fires on so many of them
FEWEST = 5  # pictures that show a part, and that hide it: fewer tell nothing


def hidden_firing(scores: Tensor, is_shown: Tensor, *, kept: float = KEPT) -> Tensor:  # [part]
    """On what share of the pictures that hide a part a filter fires, where it fires on 90 % of those that show it.

    The false positive rate at a true positive rate of `kept`. A filter that does not look has `kept` itself, one that
    fires everywhere alike has 1, one that knows has 0. Lower is better.

    Args:
        scores: [picture, part], how strongly the filter that stands for each part fires on each picture: of the
            pictures of objects on which some part is annotated.
        is_shown: [picture, part] bool, whether the part is visible.
        kept: share of the pictures that show a part on which its filter is to fire, in (0, 1].

    Returns:
        float64, in 0–1; nan for a part that fewer than 5 pictures show, or fewer than 5 hide.

    Raises:
        ShapeError: tensors without the axes above.
        ConfigError: `kept` is outside its range.
    """
    if scores.ndim != 2 or is_shown.shape != scores.shape or is_shown.dtype != torch.bool:
        raise ShapeError(
            "scores, is_shown: expected [picture, part] and bool of the same shape, "
            f"got {list(scores.shape)} and {is_shown.dtype} {list(is_shown.shape)}"
        )
    if not 0 < kept <= 1:
        raise ConfigError(f"kept: expected a share above 0 and at most 1, got {kept}")
    found = scores.new_full((scores.shape[1],), math.nan, dtype=torch.float64)
    for part in range(scores.shape[1]):
        shown, hidden = scores[is_shown[:, part], part], scores[~is_shown[:, part], part]
        if min(len(shown), len(hidden)) >= FEWEST:
            threshold = shown.sort(descending=True).values[math.ceil(kept * len(shown) - 1e-9) - 1]
            found[part] = (hidden >= threshold).double().mean()
    return found
