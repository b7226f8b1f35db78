"""How a network is trained."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from partcnn.foundation.errors import ConfigError

if TYPE_CHECKING:  # the command line shows a recipe's settings without torch
    from torch import nn

PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}
SCHEDULES = ("constant", "linear", "inverse")
_EPOCHS, _LEAST_STEPS, _HEAD_FRAC = 20, 300, 0.3
_LR, _LR_OF_SEVERAL = 3e-3, 2e-3


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults are those of `partcnn train`; docs/results says what its figures had.

    Args:
        epochs: passes over the training pictures. None takes 20, or as many as 300 steps need: with fifty pictures
            filters have hardly moved after 20.
        head_epochs: of the second stage, in which the head alone is fitted anew (`training.head_training`); where
            filters do not compete there is none. None takes 0.3 of `epochs`.
        batch_size: pictures per step, each in two of its views.
        lr: highest learning rate of the one-cycle schedule, AdamW. None takes 3e-3 where one category owns all
            filters, 2e-3 where several do: with 24 animals a fifth of them died at 3e-3.
        trunk_lr_frac: the trunk's learning rate as a share of `lr`, when it is fine-tuned. None takes 0.03, right
            for pretrained weights; `partcnn train` takes 1 for a trunk without.
        weight_decay: of AdamW.
        loss_weight: λ, weight of the filter loss in every part layer.
        equivariance: weight of the term that asks a part's place to differ between pictures and not between two
            views of one (`partcnn.objectives.equivariance`); 0 leaves the paper's loss alone.
        diversity: weight of the term that spreads a category's filters over different places
            (`objectives.diversity`). Filters then follow more parts, and fewer of them the one that is followed best.
        memory: maps of each filter's category, from earlier batches, that "labelled" counts beside the batch's where
            several classes own filters (`objectives.category_memory`); the equivariance term counts half as many
            pictures. 0 counts the batch alone.
        loss_weight_schedule: "constant"; "linear", from 2λ down to 0; or "inverse", λ/epoch as in the paper.
        num_views: views of each picture that are made once, the first the picture itself, the others random crops
            with flips; a frozen trunk's maps of them too. With a trunk that learns and views of over 2 GiB every
            epoch makes a new view of each picture.
        min_crop_frac: smallest side of a random crop as a share of the picture's.
        precision: "fp32" or "bf16" (autocast; the filter loss stays in float32).
    """

    epochs: int | None = None
    head_epochs: int | None = None
    batch_size: int = 32
    lr: float | None = None
    trunk_lr_frac: float | None = None
    weight_decay: float = 0.3
    loss_weight: float = 0.2
    equivariance: float = 0.1
    diversity: float = 0.0
    memory: int = 16
    loss_weight_schedule: str = "constant"
    num_views: int = 5
    min_crop_frac: float = 0.6
    precision: str = "fp32"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "num_views"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name}: expected at least 1, got {getattr(self, name)}")
        for name in (
            "head_epochs",
            "trunk_lr_frac",
            "weight_decay",
            "loss_weight",
            "equivariance",
            "diversity",
            "memory",
        ):
            if (getattr(self, name) or 0) < 0:
                raise ConfigError(f"{name}: expected at least 0, got {getattr(self, name)}")
        if self.lr is not None and self.lr <= 0:
            raise ConfigError(f"lr: expected a number above 0, got {self.lr}")
        if self.loss_weight_schedule not in SCHEDULES:
            raise ConfigError(
                f"loss_weight_schedule: expected one of {', '.join(SCHEDULES)}, got {self.loss_weight_schedule!r}"
            )
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}")

    def resolved(self, num_pictures: int) -> "Recipe":
        """With the numbers of epochs for so many training pictures in place of None."""
        steps = -(-num_pictures // self.batch_size)
        epochs = self.epochs or max(_EPOCHS, -(-_LEAST_STEPS // max(1, steps)))
        head_epochs = math.ceil(_HEAD_FRAC * epochs) if self.head_epochs is None else self.head_epochs
        return replace(self, epochs=epochs, head_epochs=head_epochs)

    def learning_rate(self, model: "nn.Module") -> float:
        """`lr`, or what None takes for this network."""
        if self.lr is not None:
            return self.lr
        from partcnn.model.network import conversion_of  # brings torch

        return _LR if conversion_of(model).settings.num_owners == 1 else _LR_OF_SEVERAL

    def loss_weight_at(self, epoch: int) -> float:
        """λ in an epoch, counted from 0."""
        factors = {"constant": 1.0, "linear": 2 * (1 - epoch / (self.epochs or _EPOCHS)), "inverse": 1 / (1 + epoch)}
        return self.loss_weight * factors[self.loss_weight_schedule]
