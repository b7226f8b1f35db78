"""Of very many filters a page shows some: else it would be too large to open."""

from dataclasses import replace

import torch

from partcnn.evaluation import Evaluation
from partcnn.reporting.gathering import Attributed, Gathered

MOST_FILTERS = 256  # on one page


def folded(evaluation: Evaluation, gathered: Gathered) -> tuple[Evaluation, Gathered]:
    """The filters that add most to the logits of the page's pictures, under their own numbers; the summary stays.

    What the others add to a logit goes into its remainder, so that sums stay sums. Filters that compete stay all: they
    tile a picture together.

    Args:
        evaluation: its filters by number, all of them.
        gathered: of the same filters.

    Returns:
        Both as they are, where there are at most 256 filters.
    """
    if len(evaluation.filters) <= MOST_FILTERS or gathered.tiles is not None:
        return evaluation, gathered
    use = torch.stack([one.shares for one in gathered.predicted]).abs().sum(dim=0)
    kept = use.argsort(descending=True, stable=True)[:MOST_FILTERS].sort().values
    shown = kept.tolist()
    return replace(evaluation, filters=[evaluation.filters[place] for place in shown]), replace(
        gathered,
        cells=gathered.cells[:, kept],
        scores=gathered.scores[:, kept],
        predicted=[_folded(one, kept) for one in gathered.predicted],
        others={place: [_folded(one, kept) for one in of] for place, of in gathered.others.items()},
        top=[gathered.top[place] for place in shown],
        top_maps=gathered.top_maps[kept],
        likeness=gathered.likeness[kept][:, kept],
        slopes=gathered.slopes[kept],
        num_filters=len(evaluation.filters),
    )


def _folded(one: Attributed, kept: torch.Tensor) -> Attributed:
    shares = one.shares[kept]
    return replace(one, shares=shares, remainder=one.remainder + float(one.shares.sum() - shares.sum()))
