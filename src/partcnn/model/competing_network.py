"""A network whose filters compete: trunk, projection, one layer of shares, and a head that sums parts."""

from collections.abc import Sequence

from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError
from partcnn.model.competing import CompetingScores, SumOfParts
from partcnn.model.competing_mask import CompetingMask
from partcnn.model.network import PartNetwork


class CompetingLayer(nn.Module):
    """Features [image, channel, row, col] → the share that each filter has of each cell [image, filter, row, col].

    Args:
        in_channels: of the features.
        num_filters, num_classes, background, loss_weight, multilabel: as of `CompetingMask`.
    """

    def __init__(
        self,
        in_channels: int,
        num_filters: int,
        num_classes: int,
        *,
        background: int | None = None,
        loss_weight: float = 0.2,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        self.scores = CompetingScores(in_channels, num_filters)
        self.mask = CompetingMask(
            num_filters,
            num_classes,
            in_channels,
            background=background,
            loss_weight=loss_weight,
            multilabel=multilabel,
        )

    def forward(self, dropped: Tensor, features: Tensor) -> Tensor:
        """Shares from the features as training drops them; the loss knows filters by the features as they are."""
        return self.mask.compete(self.scores(dropped), features)


class CompetingNetwork(PartNetwork):
    """A `PartNetwork` of one layer whose filters compete, and a head that is an exact sum over them.

    Args:
        trunk, projection, dropout, erasing, layers, trunk_channels: as of `PartNetwork`.
        part_layer: gives the filters' shares.
        head: sums what they hold.
    """

    head: SumOfParts

    def __init__(
        self,
        trunk: nn.Module,
        projection: nn.Module,
        part_layer: CompetingLayer,
        head: SumOfParts,
        *,
        dropout: float,
        erasing: float,
        layers: Sequence[str],
        trunk_channels: Sequence[int],
    ) -> None:
        super().__init__(
            trunk,
            projection,
            nn.Identity(),
            [part_layer],
            head,
            dropout=dropout,
            erasing=erasing,
            layers=layers,
            trunk_channels=trunk_channels,
        )

    def forward_from_features(self, features: Tensor) -> Tensor:
        """The logits from the projected maps."""
        dropped = self.dropout(self.erasing(features))
        return self.head(self.layer_of_parts(dropped, features), features)  # type: ignore[no-any-return]

    def logit_terms(self, masked_feature_maps: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `PartNetwork.logit_terms`; of the pictures of the last forward pass."""
        terms = self.head.contributions(masked_feature_maps, self._last_features(masked_feature_maps))
        return terms[..., :-1], terms[..., -1]

    def logit_maps(self, masked_feature_maps: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `PartNetwork.logit_maps`; of the pictures of the last forward pass."""
        maps = self.head.contribution_maps(masked_feature_maps, self._last_features(masked_feature_maps))
        return maps[:, :, :-1], maps[:, :, -1]

    def _last_features(self, masked_feature_maps: Tensor) -> Tensor:
        features = self.layer_of_parts.mask.last_features
        if features is None or features.shape[0] != masked_feature_maps.shape[0]:  # len() would fix it in an export
            raise ConfigError("contributions: expected a forward pass of these pictures before, got none")
        return features

    @property
    def layer_of_parts(self) -> CompetingLayer:
        """The one part layer."""
        layer = self.part_layers[0]
        assert isinstance(layer, CompetingLayer)
        return layer
