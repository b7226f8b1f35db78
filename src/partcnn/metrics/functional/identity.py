"""Whether a filter is known by what it holds: no annotation needed."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError, ShapeError

_AS_LIKE = 1e-6  # cosines that differ by no more are equal


def identity(features: Tensor, counted: Tensor) -> Tensor:  # [filter] float64
    """How often a filter is recognised by the feature under it, on pictures that did not help to know it.

    The pictures are dealt into two halves, every second one. Of a picture that counts for filter k, with v_k the
    feature under it,

        answer = argmax_j cos(v_k − μ, q_j − μ),

    q_j the mean of v_j over the pictures of the other half that count for filter j, μ the mean of the q_j. A filter's
    identity is the share of its pictures whose answer is k. Filters of equal cosine share an answer.

    Args:
        features: [picture, filter, channel]: the mean feature of a picture's cells, weighed by a filter's map.
        counted: [picture, filter] bool: the filter is measured on the picture. Features elsewhere are not read.

    Returns:
        In 0–1; 1 / number of filters by chance. A picture whose other half has no q_k does not count; nan where none
        counts, and of a single filter.

    Raises:
        ShapeError: tensors without the axes above.
        ConfigError: a feature that counts is not finite.
    """
    return identity_answers(features, counted).nanmean(dim=0)


def identity_answers(features: Tensor, counted: Tensor) -> Tensor:  # [picture, filter] float64
    """Of every picture and filter the share of the answer that is the filter itself; nan where it does not count.

    Args, Raises: as of `identity`.
    """
    if features.ndim != 3:
        raise ShapeError(f"features: expected [picture, filter, channel], got {tuple(features.shape)}")
    if counted.shape != features.shape[:2] or counted.dtype != torch.bool:
        raise ShapeError(
            f"counted: expected bool [picture, filter] = {list(features.shape[:2])} as in features, "
            f"got {counted.dtype} {list(counted.shape)}"
        )
    values = features.detach().double().where(counted[..., None], 0)
    if not values.isfinite().all():
        raise ConfigError("features: expected finite numbers where a picture counts, got nan or infinity")
    found = values.new_full(values.shape[:2], math.nan)
    if features.shape[1] < 2:
        return found
    halves = [slice(0, None, 2), slice(1, None, 2)]
    for half, other in (halves, halves[::-1]):
        number = counted[other].sum(dim=0)
        known = values[other].sum(dim=0) / number.clamp(min=1)[:, None]
        answers = _answers(values[half], known, number > 0)
        found[half] = answers.masked_fill(~(counted[half] & (number > 0)), math.nan)
    return found


def _answers(values: Tensor, known: Tensor, is_known: Tensor) -> Tensor:
    """[picture, filter, channel], [filter, channel], [filter] → [picture, filter]: the part of the answer that is the
    filter itself."""
    center = known[is_known].mean(dim=0)
    cosines = F.normalize(values - center, dim=2) @ F.normalize(known - center, dim=1).T
    cosines = cosines.masked_fill(~is_known, -math.inf)  # [picture, filter, filter]
    is_best = cosines >= cosines.amax(dim=2, keepdim=True) - _AS_LIKE
    share = is_best.double() / is_best.sum(dim=2, keepdim=True)
    answers: Tensor = share.diagonal(dim1=1, dim2=2)
    return answers
