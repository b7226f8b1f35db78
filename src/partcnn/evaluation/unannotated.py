"""What can be measured of filters where nothing is annotated: whether they move with their pictures and are known."""

import torch

from partcnn.evaluation.figures import LayerFigures
from partcnn.evaluation.observation.together import TogetherObservation
from partcnn.evaluation.observation.two_views import TwoViewsObservation
from partcnn.metrics.functional.identity import identity
from partcnn.metrics.functional.steadiness import steadiness

OF_TWO_VIEWS = ("steadiness", "identity")
_NUM_RANDOM = 16


class UnannotatedFigures:
    """Of each filter on the pictures of its category.

    Args:
        views: what was seen in two views of some of the pictures. None: steadiness and identity are nan.
        together: what was seen of all pictures of objects.
        figures: of each filter; a dead one has steadiness and identity 0.

    Attributes:
        of_filters: measure → [filter].
    """

    def __init__(self, views: TwoViewsObservation | None, together: TogetherObservation, figures: LayerFigures) -> None:
        self._views = views
        serving = figures.observed.serving(figures.categories).T  # [class, filter]
        serves = serving[together.labels]
        is_present = ~together.places.isnan().any(dim=-1)
        nothing = torch.full((len(figures.categories),), torch.nan, dtype=torch.float64)
        self.of_filters = dict.fromkeys(OF_TWO_VIEWS, nothing)
        self.of_filters["presence"] = (is_present & serves).sum(dim=0) / serves.sum(dim=0).double()
        if views is None or not len(views.labels):
            return
        counted = views.fires & serving[views.labels]
        self.of_filters["steadiness"] = steadiness(views.first, views.second, counted).masked_fill(figures.is_dead, 0)
        if views.features is not None:
            self.of_filters["identity"] = identity(views.features, counted).masked_fill(figures.is_dead, 0)

    def baselines(self) -> dict[str, dict[str, float]]:
        """Of a filter that answers the middle of each view, and of one that answers a point drawn anew in each."""
        views, num_filters = self._views, len(self.of_filters["presence"])
        if views is None or not len(views.labels):
            return {}
        every = torch.ones(len(views.labels), _NUM_RANDOM, dtype=torch.bool)
        middles = steadiness(*views.places_of(torch.full((2, len(every), 1, 2), 0.5)), every[:, :1])
        drawn = torch.rand(2, *every.shape, 2, generator=torch.Generator().manual_seed(0))
        at_random = steadiness(*views.places_of(drawn), every)
        guessed = {"identity": 1 / num_filters} if views.features is not None and num_filters > 1 else {}
        return {
            "constant_point": {"steadiness": middles.mean().item()} | guessed,
            "random_filter": {"steadiness": at_random.mean().item()} | guessed,
        }
