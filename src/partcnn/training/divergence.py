"""Training stops at the first loss or weight that is not finite, with the last weights that were."""

from collections.abc import Iterator

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from partcnn.foundation.errors import DivergedError
from partcnn.model.mask import part_masks
from partcnn.training.module import PartTraining


class FiniteGuard(Callback):
    """Looks at the loss of every step and at the weights of every epoch; keeps those of the last good epoch.

    Raises:
        DivergedError: one is not finite. The network then has the weights kept.
    """

    def __init__(self) -> None:
        self._good: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._keep(_trained(module))

    def on_before_backward(self, trainer: L.Trainer, module: L.LightningModule, loss: Tensor) -> None:
        if not bool(loss.isfinite()):
            step = trainer.fit_loop.batch_idx + 1
            self._stop(trainer, module, f"the loss of step {step} is {loss.item()}")

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        bad = next(_not_finite(_state_of(_trained(module).model)), None)
        if bad is not None:
            self._stop(trainer, module, bad)
        self._keep(_trained(module))

    def _keep(self, module: PartTraining) -> None:
        self._good = {name: value.detach().clone() for name, value in _state_of(module.model).items()}

    def _stop(self, trainer: L.Trainer, module: L.LightningModule, seen: str) -> None:
        model = _trained(module).model
        where = next(_not_finite(_state_of(model)), None) or next(_of_maps(model), None)
        reason = seen if where in (None, seen) else f"{seen}, and {where}"
        with torch.no_grad():
            for name, value in _state_of(model).items():
                value.copy_(self._good[name])
        raise DivergedError(
            f"training diverged in epoch {trainer.current_epoch + 1}: {reason}; the network is as it was after epoch "
            f"{trainer.current_epoch}. Try a lower recipe.lr ({_trained(module).recipe.learning_rate(model):g}), a "
            "lower recipe.loss_weight, or recipe.precision fp32"
        )


def _trained(module: L.LightningModule) -> PartTraining:
    assert isinstance(module, PartTraining)
    return module


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    """What training may change: weights that learn, and statistics."""
    learns = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return learns | dict(model.named_buffers())


def _not_finite(state: dict[str, Tensor]) -> Iterator[str]:
    for name, value in state.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            layer, _, kind = name.rpartition(".")
            yield f"{kind} of layer {layer}{_filter(value)} is not finite"


def _of_maps(model: nn.Module) -> Iterator[str]:
    """The first layer of parts whose maps were not finite in the last step."""
    for name, mask in part_masks(model):
        maps = mask.feature_maps
        if maps is not None and not bool(maps.isfinite().all()):
            yield f"the maps of layer {name}{_filter(maps.detach().transpose(0, 1))} are not finite"


def _filter(values: Tensor) -> str:
    """The first filter, of those on the first axis, that has a value that is not finite."""
    if values.ndim == 0:
        return ""
    is_bad = ~values.isfinite().flatten(1).all(dim=1) if values.ndim > 1 else ~values.isfinite()
    return f", filter {int(is_bad.nonzero()[0])},"
