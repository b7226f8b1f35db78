"""The mask of filters that compete: it keeps their shares of each cell, and gives the loss that tiles the object."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from partcnn.foundation.labels import shows_object
from partcnn.model.mask import PartMask, is_backward_pass, keep_finite
from partcnn.objectives import competing
from partcnn.objectives.fitness import at_least_float32
from partcnn.objectives.values import ObjectiveValue

COMPETING = "competing"  # the objective's name
_HELD = 0.5  # a cell is a filter's where its share is more: more than all others' and the rest's together
_IDENTITY_RATE = 0.1  # of the running means of what filters are


@dataclass(frozen=True)
class TermWeights:
    """The weights of the terms of `partcnn.objectives.competing`, for λ = 0.2 and `equivariance` = 0.1, the recipe's.

    Beside a task loss of weight 1 the terms then weigh a fifth, and steadiness a tenth, of what stands here.
    """

    rest: float = 5.0
    use: float = 5.0
    use_in_picture: float = 5.0
    certainty: float = 1.5
    object: float = 2.5  # where it is known how far each cell is the object's, else `size`
    size: float = 2.5
    presence: float = 2.5
    compactness: float = 40.0
    identity: float = 5.0
    steadiness: float = 10.0


class CompetingMask(PartMask):
    """Keeps the shares that filters have of each cell, and passes them on unmasked.

    All filters serve all classes but the background alike. `filter_loss` needs one view of each picture; what a second
    view is for, that a filter moves with its picture, is `equivariance_loss`, as with every mask.

    Args:
        num_filters, num_classes, background, loss_weight: as of `PartMask`.
        num_channels: of the features by which filters are known.
        weights: of the terms.

    Attributes:
        identities: buffer [filter, channel]: running mean of the feature under each filter.
        object_share: [image, row, col] in 0–1, how far each cell of the last pass's pictures is the object's; set by
            `fit` before the loss is asked for, None where it is not known.
    """

    identities: Tensor
    is_shared = True

    def __init__(
        self,
        num_filters: int,
        num_classes: int,
        num_channels: int,
        *,
        background: int | None = None,
        loss_weight: float = 0.2,
        weights: TermWeights | None = None,
        multilabel: bool = False,
    ) -> None:
        super().__init__(
            num_filters,
            num_classes,
            objective=None,
            enabled=False,
            background=background,
            assignment="even",
            loss_weight=loss_weight,
            places="centroid",
            multilabel=multilabel,
        )
        self.weights = weights or TermWeights()
        self.object_share: Tensor | None = None
        self._log_shares: Tensor | None = None
        self._features: Tensor | None = None
        self.register_buffer("identities", torch.zeros(num_filters, num_channels))

    def compete(self, scores: Tensor, features: Tensor) -> Tensor:
        """Scores [image, K + 1, row, col], the rest's last, and the features beside → the filters' shares."""
        shares, log_shares = competing.shares_of_cells(at_least_float32(scores))
        if not is_backward_pass():
            self._log_shares, self._features, self.object_share = log_shares, features, None
        recorded: Tensor = self(shares[:, :-1])
        return recorded

    def release(self) -> None:
        super().release()
        self._log_shares = self._features = self.object_share = None

    def peak_scores(self, feature_maps: Tensor) -> Tensor:
        """As of `PartMask`. Shares are never 0: a filter is silent where it has no cell by more than half."""
        peaks = super().peak_scores(feature_maps)
        return peaks.where(peaks > _HELD, 0)

    def rest_of(self, feature_maps: Tensor) -> Tensor:  # [image, filter, row, col] → [image, row, col]
        return (1 - at_least_float32(feature_maps).sum(dim=1)).clamp(min=0)

    def filter_objective(self, labels: Tensor, objective: str | None = None) -> ObjectiveValue:
        """The weighted sum of the terms over the last forward pass; see `PartMask.filter_objective`."""
        if objective is not None:
            return super().filter_objective(labels, objective)
        maps = self._recorded(labels)
        if self.training and (len(maps) or self.ranks.size > 1) and "maps" not in self._observed:
            self.observe(maps, labels)
        terms = self._terms(labels)
        total = sum((getattr(self.weights, name) * term for name, term in terms.items()), maps.sum() * 0)
        of_filters = total.expand(self.num_filters)
        return ObjectiveValue(of_filters, {name: term.detach() for name, term in terms.items()})

    @property
    def has_loss(self) -> bool:
        """As of `PartMask`; the objective is the mask's own."""
        return self.loss_weight > 0

    @property
    def last_features(self) -> Tensor | None:
        """The features of the last forward pass."""
        return self._features

    @torch.no_grad()
    def observe(self, maps: Tensor, labels: Tensor) -> None:
        """As of `PartMask`, and the running mean of the feature under each filter."""
        super().observe(maps, labels)
        is_object, ranks = self._is_object(labels), self.ranks
        num_objects = ranks.total(is_object.sum())
        if self._features is None or not bool(num_objects):
            return
        features = at_least_float32(self._features[is_object]).to(maps)
        found = ranks.sum(competing.mean_features(maps[is_object], features)) / num_objects
        is_first = not bool(self.identities.any())
        rate = 1.0 if is_first else _IDENTITY_RATE
        keep_finite(self.identities, self.identities.lerp(found.to(self.identities), rate))

    def equivariance(self, labels: Tensor, frames: Tensor, centers: tuple[Tensor, Tensor]) -> Tensor:  # [filter]
        """How far filters fail to move with their pictures: `partcnn.objectives.competing.steadiness_loss`."""
        maps = self._recorded(labels)
        is_object = self._is_object(labels)
        steadiness = competing.steadiness_loss(maps[is_object], frames[is_object], centers, ranks=self.ranks)
        return (self.weights.steadiness * steadiness).expand(self.num_filters)

    def _terms(self, labels: Tensor) -> Mapping[str, Tensor]:
        assert self._log_shares is not None  # recorded with the maps, as the features
        assert self._features is not None
        is_object, ranks = self._is_object(labels), self.ranks
        log_shares = self._log_shares[is_object]
        features = self._features[is_object].to(log_shares)
        shares = log_shares.exp()
        of_filters = shares[:, :-1]
        use, use_in_picture = competing.use_losses(of_filters, ranks=ranks)
        terms = {
            "rest": competing.rest_loss(self._log_shares[~is_object], ranks=ranks),
            "use": use,
            "use_in_picture": use_in_picture,
            "certainty": competing.certainty_loss(shares, log_shares, ranks=ranks),
            "presence": competing.presence_loss(of_filters, ranks=ranks),
            "compactness": competing.compactness_loss(of_filters, _even_centers(of_filters), ranks=ranks),
        }
        if self.object_share is None:
            terms["size"] = competing.size_loss(of_filters, ranks=ranks)
        else:
            terms["object"] = competing.object_loss(log_shares, self.object_share[is_object], ranks=ranks)
        if bool(self.identities.any()):
            found = competing.mean_features(of_filters, features)
            terms["identity"] = competing.identity_loss(found, self.identities.to(found), ranks=ranks)
        return terms

    def _is_object(self, labels: Tensor) -> Tensor:  # [image] bool
        return shows_object(labels, self.background)

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_log_shares": None, "_features": None, "object_share": None}


def competing_masks(model: nn.Module) -> list[CompetingMask]:
    """Those of a network; none where its filters do not compete."""
    return [module for module in model.modules() if isinstance(module, CompetingMask)]


def _even_centers(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Cells' middles as shares of the map's sides: compactness asks for no more than distances between them."""
    rows, cols = ((torch.arange(count, dtype=maps.dtype, device=maps.device) + 0.5) / count for count in maps.shape[2:])
    return rows, cols
