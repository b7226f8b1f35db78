"""A LightningModule of one's own around a converted network; the trainer brings devices, precision and loggers."""

import partcnn  # first: its import makes torchvision's possible where torch is another build (torchvision_shim)

# isort: split
import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from partcnn.model.network import conversion_of
from partcnn.networks import DemoNet


class Classifier(L.LightningModule):
    """As any other, but for the line of the filter loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def training_step(self, batch: tuple[Tensor, ...], batch_index: int) -> Tensor:
        images, labels = batch[:2]
        losses = {
            "task": F.cross_entropy(self.model(images), labels),
            "filter": partcnn.filter_loss(self.model, labels),
        }
        self.log_dict(losses, on_step=False, on_epoch=True, batch_size=len(images))
        return losses["task"] + losses["filter"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


if __name__ == "__main__":
    L.seed_everything(0, verbose=False)
    giraffes = partcnn.load_dataset("demo:50", category="giraffe")
    model = partcnn.convert(DemoNet(), num_classes=2, filters=6, background=0, input_size=(112, 112))
    own = conversion_of(model).preprocessing
    pictures = giraffes.with_transform(own.transform(), resized_to=own.input_size)
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = L.Trainer(max_epochs=3, **dict.fromkeys(quiet, False))
    trainer.fit(Classifier(model), DataLoader(pictures, batch_size=32, shuffle=True))
    print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
