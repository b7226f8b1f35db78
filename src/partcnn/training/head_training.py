"""The second stage, where filters compete: they stand, and the head is fitted anew to what they hold."""

from typing import Any

import torch
from torch import Tensor, nn

from partcnn.foundation.ranks import joined_ranks
from partcnn.model.competing_network import CompetingNetwork
from partcnn.training.module import PartTraining, share_right, task_loss_of
from partcnn.training.recipe import Recipe


class HeadTraining(PartTraining):
    """Task loss alone, AdamW, one cycle; all but the head is as it is in use, without dropout or erasing.

    While filters move the head learns of maps that are not the last ones, and they bend to what it has learnt by
    heart. A new head, of filters that stand, errs less often and is less sure where it errs.

    Args:
        model: its head is trained from the weights that it has.
        recipe, takes_features: as of `PartTraining`.
    """

    model: CompetingNetwork

    def __init__(self, model: CompetingNetwork, recipe: Recipe, *, takes_features: bool) -> None:
        super().__init__(model, recipe, is_trunk_frozen=True, takes_features=takes_features)

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        inputs, _, labels, *_ = batch
        num_views = inputs.shape[1]
        inputs, labels = inputs.transpose(0, 1).flatten(0, 1), torch.cat([labels] * num_views)
        with torch.no_grad():
            features = inputs if self.takes_features else self.model.features(inputs)
            shares = self.model.layer_of_parts(features, features)
        logits = self.model.head(shares, features)
        ranks = joined_ranks()
        loss = task_loss_of(logits, labels, ranks)
        accuracy = ranks.mean(share_right(logits, labels))
        self.count({"task_loss": loss, "accuracy": accuracy}, ranks.count(labels))
        return loss

    def _set_masks(self) -> None:
        """What they remember, and the weight of their loss, is not read."""

    def train(self, mode: bool = True) -> "HeadTraining":
        nn.Module.train(self, mode)
        self.model.eval()
        self.model.head.train(mode)
        return self

    def _parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.model.head.parameters()), "lr": self.recipe.learning_rate(self.model)}]
