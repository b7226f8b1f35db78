"""The LightningModule: task loss, filter loss and what goes with it; optimiser and schedule."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.foundation.errors import ConfigError
from partcnn.foundation.labels import are_marks, right_answers
from partcnn.foundation.ranks import Ranks, joined_ranks
from partcnn.model.competing_mask import CompetingMask, competing_masks
from partcnn.model.losses import diversity_loss, equivariance_loss, filter_loss_terms
from partcnn.model.mask import part_masks
from partcnn.model.network import PartNetwork, layer_field
from partcnn.networks.probing.receptive_field import cell_centers
from partcnn.objectives.object_cells import carried_into_views
from partcnn.training.recipe import Recipe

_PRETRAINED_TRUNK_LR_FRAC = 0.03


class PartTraining(L.LightningModule):
    """Task loss + filter loss + equivariance + diversity, AdamW, one cycle.

    On several devices every loss is that of all ranks' pictures (`partcnn.foundation.ranks`), and what is logged too.

    Args:
        model: made by `partcnn.convert`.
        recipe: of the training.
        is_trunk_frozen: the trunk and its projection keep their weights and their statistics.
        takes_features: batches hold the trunk's projected maps and not pictures.

    Attributes:
        object_share: [image, row, col] of the training pictures, how far each cell is the object's, where filters
            compete (`competing_start`); set by `fit`.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, *, is_trunk_frozen: bool, takes_features: bool) -> None:
        super().__init__()
        self.model, self.recipe = model, recipe
        self.is_trunk_frozen, self.takes_features = is_trunk_frozen, takes_features
        is_competing = bool(competing_masks(model))
        self.centers = _cell_centers(model) if recipe.equivariance or is_competing else {}
        self.object_share: Tensor | None = None
        self._sums: dict[str, Any] = {}
        self._count: int | Tensor = 0  # pictures in the sums

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        # [picture, view, channel, row, col], [picture, view, 2, 3], [picture] and, from `fit`, the pictures' numbers
        inputs, frames, labels, *images = batch
        num_views = inputs.shape[1]
        inputs, frames = (values.transpose(0, 1).flatten(0, 1) for values in (inputs, frames))  # all first views first
        labels = torch.cat([labels] * num_views)
        logits = self.model.forward_from_features(inputs) if self.takes_features else self.model(inputs)  # type: ignore[operator]
        self._show_objects(frames, num_views, *images)
        for _, mask in part_masks(self.model):
            mask.num_views = num_views
        ranks = joined_ranks()
        task_loss = task_loss_of(logits, labels, ranks)
        filter_loss, terms = filter_loss_terms(self.model, labels)
        loss = task_loss + filter_loss
        if self.recipe.equivariance and num_views == 2:
            terms["equivariance"] = equivariance_loss(self.model, labels, frames, self.centers)
            loss = loss + self.recipe.equivariance * terms["equivariance"]
        if self.recipe.diversity:
            terms["diversity"] = diversity_loss(self.model, labels)
            loss = loss + self.recipe.diversity * terms["diversity"]
        accuracy = ranks.mean(share_right(logits, labels))
        shown = {"task_loss": task_loss, "filter_loss": filter_loss, "accuracy": accuracy} | terms
        self.count(shown, ranks.count(labels))
        return loss

    def _show_objects(self, frames: Tensor, num_views: int, images: Tensor | None = None) -> None:
        """Tell filters that compete how far each cell of this step's views is the object's."""
        if self.object_share is None or images is None:
            return
        share, images = self.object_share, images.to(self.object_share.device)
        for name, mask in part_masks(self.model):
            if isinstance(mask, CompetingMask):
                in_pictures = frames.to(share).unflatten(0, (num_views, len(images))).transpose(0, 1)
                carried = carried_into_views(share[images], in_pictures, self.centers[name])
                mask.object_share = carried.transpose(0, 1).flatten(0, 1).to(frames.device)

    def on_train_batch_end(self, *_: Any) -> None:
        """Log the epoch's means with its last batch: a call of Lightning's per value and step took 7 % of the time."""
        if self.trainer.is_last_batch:
            values, is_shared = self.means(), self.trainer.world_size > 1
            self.log_dict(values, on_step=False, on_epoch=True, prog_bar=True, batch_size=1, sync_dist=is_shared)

    def count(self, values: dict[str, Tensor], number: int | Tensor) -> None:
        """Take the means of a step's pictures into those of the epoch."""
        self._count = self._count + number
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach() * number

    def start_counting(self) -> None:
        """A new epoch."""
        self._sums, self._count = {}, 0

    def means(self) -> dict[str, Tensor]:
        """What is logged, over the pictures of the epoch so far."""
        return {name: total / self._count for name, total in self._sums.items()}

    def on_train_start(self) -> None:
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, GradientAccumulationScheduler):
                self._check_accumulation(*callback.scheduling.values())
        self._set_masks()  # training may go on within an epoch

    def on_train_epoch_start(self) -> None:
        self._check_accumulation(self.trainer.accumulate_grad_batches)
        self.start_counting()
        self._set_masks()

    def _set_masks(self) -> None:
        for _, mask in part_masks(self.model):
            mask.loss_weight, mask.memory = self.recipe.loss_weight_at(self.current_epoch), self.recipe.memory

    @staticmethod
    def _check_accumulation(*numbers: int) -> None:
        for number in numbers:
            if number != 1:
                raise ConfigError(
                    f"accumulate_grad_batches: expected 1, got {number}; the filter loss couples the pictures of a "
                    "step, and of several small batches it is not the loss of a large one: set batch_size, or devices"
                )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """All that a training goes on with beside what Lightning keeps. What does not change is left out."""
        state, unchanged = checkpoint["state_dict"], self._unchanged()
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name not in unchanged}
        checkpoint["means"] = {"sums": self._sums, "count": self._count}
        is_whole = joined_ranks().size == 1  # else each device has a part of what is remembered
        masks = part_masks(self.model) if is_whole else []
        checkpoint["memory"] = {name: mask.remembered() for name, mask in masks}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = checkpoint["state_dict"] | self._unchanged()
        self._sums, self._count = checkpoint["means"]["sums"], checkpoint["means"]["count"]
        for name, mask in part_masks(self.model):
            mask.memory = self.recipe.memory
            mask.remember_again(checkpoint["memory"].get(name, {}) if joined_ranks().size == 1 else {})

    def _unchanged(self) -> dict[str, Tensor]:
        """Of the state: the trunk and its projection, where training is on what they gave."""
        below = ("model.trunk.", "model.projection.")
        state = self.state_dict() if self.takes_features else {}
        return {name: value for name, value in state.items() if name.startswith(below)}

    def train(self, mode: bool = True) -> "PartTraining":
        super().train(mode)
        if self.is_trunk_frozen and isinstance(self.model, PartNetwork):
            self.model.trunk.eval()  # its batch norms keep their statistics
        return self

    def configure_optimizers(self) -> Any:
        groups = self._parameter_groups()
        optimizer = torch.optim.AdamW(groups, weight_decay=self.recipe.weight_decay)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=max(2, int(self.trainer.estimated_stepping_batches)),
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        recipe, lr = self.recipe, self.recipe.learning_rate(self.model)
        if not isinstance(self.model, PartNetwork):
            return [{"params": list(self.model.parameters()), "lr": lr}]
        trunk = [*self.model.trunk.parameters(), *self.model.projection.parameters()]
        in_trunk = {id(parameter) for parameter in trunk}
        above = [parameter for parameter in self.model.parameters() if id(parameter) not in in_trunk]
        groups = [{"params": above, "lr": lr}]
        if not self.is_trunk_frozen and trunk:
            share = _PRETRAINED_TRUNK_LR_FRAC if recipe.trunk_lr_frac is None else recipe.trunk_lr_frac
            groups.append({"params": trunk, "lr": lr * share})
        return groups


def _cell_centers(model: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: cell_centers(layer_field(model, name)) for name, _ in part_masks(model)}


def task_loss_of(logits: Tensor, labels: Tensor, ranks: Ranks) -> Tensor:
    """Mean over the pictures of all ranks, in float32: cross-entropy of class indices [image]; of marks [image, class]
    the sum of each class's binary cross-entropy."""
    if are_marks(labels):
        of_classes = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
        return ranks.mean(of_classes.sum(dim=1))
    if ranks.size == 1:
        return F.cross_entropy(logits.float(), labels)
    return ranks.mean(F.cross_entropy(logits.float(), labels, reduction="none"))


def share_right(logits: Tensor, labels: Tensor) -> Tensor:  # [image]
    """1 where the largest logit is the class's, else 0; of marks the share of logits that have the right sign."""
    is_right = right_answers(logits, labels).float()
    return is_right.mean(dim=1) if are_marks(labels) else is_right
