"""What a training logged."""

from dataclasses import dataclass, field

import lightning as L

from partcnn.training.head_training import HeadTraining


@dataclass
class History:
    """What training logged, one row per epoch: task_loss, filter_loss, its terms, accuracy (of the training set).

    `head_epochs` are those of the second stage, where filters compete.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    head_epochs: list[dict[str, float]] = field(default_factory=list)
    is_interrupted: bool = False
    seconds: float = 0.0

    def rows_of(self, module: L.LightningModule) -> list[dict[str, float]]:
        """Those of the stage that a module trains."""
        return self.head_epochs if isinstance(module, HeadTraining) else self.epochs
