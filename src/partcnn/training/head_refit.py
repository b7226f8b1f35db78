"""The second stage of filters that compete: their maps stay as they are, and the head is trained anew on them."""

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.model.competing import SumOfParts
from partcnn.model.competing_network import CompetingNetwork
from partcnn.training.features import FeatureViews

_EPOCHS, _BATCH, _LR, _WEIGHT_DECAY = 12, 64, 3e-3, 0.3
_MOST_VIEWS = 3


def refit_head(model: CompetingNetwork, features: FeatureViews, *, seed: int) -> None:
    """Train a new head on the shares that filters have now: 12 epochs, AdamW, one cycle.

    Trained with the maps the head loses half a point to a point of accuracy (docs/results): the loss of the maps
    pulls at what it reads.

    Args:
        model: its head is replaced; on the CPU or where it is.
        features: projected maps of every view, of which the first three are read.
        seed: of the weights, the order and the choice of views.
    """
    device = model.head.weight.device
    maps = features.maps[:, :_MOST_VIEWS]
    shares = _shares(model, maps, device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = _fresh(model.head).to(device).train()
        optimizer = torch.optim.AdamW(head.parameters(), _LR, weight_decay=_WEIGHT_DECAY)
        steps = _EPOCHS * -(-len(maps) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LR, total_steps=steps)
        for _ in range(_EPOCHS):
            for images in torch.randperm(len(maps)).split(_BATCH):
                views = torch.randint(maps.shape[1], (len(images),))
                batch = (shares[images, views].to(device).float(), maps[images, views].to(device).float())
                loss = F.cross_entropy(head(*batch), features.labels[images].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    model.head = head.eval()


def _shares(model: CompetingNetwork, maps: Tensor, device: torch.device) -> Tensor:
    """Of every view, in half precision: [image, view, filter, row, col]."""
    was_training = model.training
    model.eval()
    layer = model.layer_of_parts
    with torch.no_grad():
        found = [
            layer(batch, batch).cpu().half()
            for batch in (chunk.flatten(0, 1).to(device).float() for chunk in maps.split(_BATCH // 2))
        ]
    model.train(was_training)
    shares: Tensor = torch.cat(found).unflatten(0, maps.shape[:2])
    return shares


def _fresh(head: SumOfParts) -> SumOfParts:
    """One of the same sizes, not trained."""
    num_classes, num_filters, width = head.weight.shape
    made = SumOfParts(head.value.in_channels, num_filters, num_classes, values=width - 1, dropout=head.dropout.p)
    return copy.deepcopy(made).to(head.weight.dtype)
