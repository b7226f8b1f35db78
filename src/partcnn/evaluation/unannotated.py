"""What can be measured of filters where nothing is annotated: whether they move with their pictures and are known."""

from collections.abc import Callable

import torch
from torch import Tensor

from partcnn.evaluation.figures import LayerFigures, nothing_of_dead
from partcnn.evaluation.observation.groups import in_groups
from partcnn.evaluation.observation.together import TogetherObservation
from partcnn.evaluation.observation.two_views import TwoViewsObservation
from partcnn.metrics.functional.identity import identity_answers
from partcnn.metrics.functional.steadiness import ResampledSteadiness, steadiness

OF_TWO_VIEWS = ("steadiness", "identity")
_NUM_RANDOM = 16


class UnannotatedFigures:
    """Of each filter on the pictures of its category.

    Args:
        views: what was seen in two views of some of the pictures. None: steadiness and identity are nan.
        together: what was seen of all pictures of objects.
        figures: of each filter; a dead one that cannot be measured has steadiness and identity 0.

    Attributes:
        views: as given.
        of_filters: measure → [filter].
        resampled: measure → of counts [resample, picture of `views`] the figures of filters [resample, filter].
    """

    def __init__(self, views: TwoViewsObservation | None, together: TogetherObservation, figures: LayerFigures) -> None:
        self.views = views
        serving = figures.observed.serving(figures.categories).T  # [group, filter]
        serves = serving[together.labels]
        nothing = torch.full((len(figures.categories),), torch.nan, dtype=torch.float64)
        self.of_filters = dict.fromkeys(OF_TWO_VIEWS, nothing)
        self.of_filters["presence"] = (together.fires & serves).sum(dim=0) / serves.sum(dim=0).double()
        self.resampled: dict[str, Callable[[Tensor], Tensor]] = {}
        if views is None or not len(views.labels):
            return
        counted, is_dead = views.have_places & in_groups(views.labels, serving), figures.is_dead
        steady = ResampledSteadiness(views.first, views.second, counted)
        self.resampled["steadiness"] = lambda counts: nothing_of_dead(steady(counts), is_dead)
        if views.features is not None:
            answers = identity_answers(views.features, counted)
            self.resampled["identity"] = lambda counts: nothing_of_dead(_shares(answers, counts), is_dead)
        every = torch.ones(1, len(counted), dtype=torch.float64)
        self.of_filters |= {name: found(every)[0] for name, found in self.resampled.items()}

    def baselines(self) -> dict[str, dict[str, float]]:
        """Of a filter that answers the middle of each view, and of one that answers a point drawn anew in each."""
        views, num_filters = self.views, len(self.of_filters["presence"])
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


def _shares(answers: Tensor, counts: Tensor) -> Tensor:  # [picture, filter], [resample, picture] → [resample, filter]
    """The mean of those that are not nan."""
    asked = (~answers.isnan()).double()
    return (counts @ answers.nan_to_num()) / (counts @ asked)  # 0 / 0 is nan
