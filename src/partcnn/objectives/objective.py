"""A row of the table of objectives: a function, and what it asks of the mask that calls it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from partcnn.foundation.ranks import ONE_PROCESS, Ranks
from partcnn.objectives.category_memory import counted_for_all
from partcnn.objectives.values import ObjectiveValue


class SlopeTarget(Protocol):
    """The β that the maps of a batch draw each filter to: [filter]."""

    def __call__(
        self, feature_maps: Tensor, belongs: Tensor, *, beta: Tensor, ranks: Ranks = ONE_PROCESS
    ) -> Tensor: ...


@dataclass(frozen=True)
class Objective:
    """What a mask must know of an objective. Calling it calls its function.

    Args:
        function: takes maps, `belongs`, τ and β as `partcnn.objectives.values.FilterObjective` says.
        assignment: the category that each filter serves, unless a mask is told otherwise. "even" shares the filters
            out over the classes from the start, for a function that asks each filter about its own class;
            "activation" lets a filter follow the class that it answers most.
        counts_earlier: in training, maps of earlier batches count beside the batch's where several classes own
            filters. The function then also takes `counted`, [image, filter] bool: which images there are for a filter.
        slope_target: β is learned: it moves towards what this gives. None: β stays as it is given.
        joins_ranks: the function, and `slope_target`, also take `ranks` (`partcnn.foundation.ranks.Ranks`) and sum over
            the pictures of all of them. Of one that does not, each of several devices has the loss of its own pictures.
    """

    function: Callable[..., ObjectiveValue]
    assignment: str = "activation"
    counts_earlier: bool = False
    slope_target: SlopeTarget | None = None
    joins_ranks: bool = False

    def __call__(
        self,
        feature_maps: Tensor,  # [image, filter, row, col]
        belongs: Tensor,  # [image, filter] bool
        *,
        tau: float | Tensor,
        beta: float | Tensor = 4.0,
        **more: Any,
    ) -> ObjectiveValue:
        """The value on these maps; `more` is what the function takes beside."""
        return self.function(feature_maps, belongs, tau=tau, beta=beta, **more)

    def with_earlier(
        self,
        feature_maps: Tensor,  # [image, filter, row, col]
        belongs: Tensor,  # [image, filter] bool
        remembered: Tensor,  # [slot, filter, row, col]
        is_remembered: Tensor,  # [slot, filter] bool
        *,
        tau: float | Tensor,
        beta: float | Tensor = 4.0,
        ranks: Ranks = ONE_PROCESS,
    ) -> ObjectiveValue:
        """The value on these maps and those that are remembered of each filter's category; see `counts_earlier`."""
        joining = {"ranks": ranks} if ranks.size > 1 else {}
        return self.function(
            torch.cat([counted_for_all(feature_maps, belongs, is_remembered, ranks), remembered]),
            torch.cat([belongs, is_remembered]),
            tau=tau,
            beta=beta,
            counted=torch.cat([torch.ones_like(belongs), is_remembered]),
            **joining,
        )
