"""The trunk of the demonstration: WideFieldNet, trained from random weights on drawings and what each of them shows.

It learns two tasks at once, of every cell for itself, so that no part of an animal can be left out because another part
tells it well enough:

    which kind of animal, or none, does the picture show?    Cross-entropy at each cell, against the picture's label.
    where is this cell in another view of the picture?       Among 32 places of a picture that both of two views show,
                                                             a place in one is told by its feature from the others.

A picture's label is all that is given; no part, box or place.
"""

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from partcnn.datasets import PartDataset
from partcnn.datasets.catalogue import BACKGROUND, Catalogue
from partcnn.datasets.drawn.dataset import DrawnSample
from partcnn.datasets.loading import load_dataset
from partcnn.networks.demo_net import WideFieldNet
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.batches import EpochBatches
from partcnn.training.features import compute_features
from partcnn.training.threads import fitting_threads
from partcnn.training.views import PictureViews

LAYER = "features.block5"  # whose maps parts are found on
EPOCHS = 11  # with 16 it knew the training drawings better, and parts of others less well
_INPUT_SIZE = (112, 112)  # crops are enlarged to that: parts are then as large as in whole pictures of 160 pixels
_NUM_VIEWS, _MIN_CROP_FRAC = 9, 0.3
_BATCH_SIZE = 16
_LR, _WEIGHT_DECAY = 1e-2, 0.1
_KIND_WEIGHT = 2.0  # of the first task, where the second weighs 1
_NUM_PLACES, _NUM_DIMENSIONS, _TEMPERATURE = 32, 32, 0.2
_LEAST_OVERLAP = 0.15  # of both sides of the picture: views that have less in common are not compared
_COLOUR_STD = 0.15  # of a random change of each view's light and colours, in standard deviations of pixels


def trained_trunk(dataset: PartDataset, *, epochs: int, seed: int, is_progress_shown: bool = True) -> WideFieldNet:
    """A trained network, in evaluation mode.

    Args:
        dataset: drawings by kind, scenery without animals one of the classes.
        epochs: passes over the drawings, each in two of its views.
        seed: of the weights, views and batches.
        is_progress_shown: a bar on the terminal.
    """
    views = PictureViews(
        dataset, Preprocessing(input_size=_INPUT_SIZE), num_views=_NUM_VIEWS, min_crop_frac=_MIN_CROP_FRAC, seed=seed
    )
    batches = EpochBatches(compute_features(nn.Identity(), views), batch_size=_BATCH_SIZE, seed=seed)
    torch.manual_seed(seed)
    network = WideFieldNet(len(dataset.classes)).train()
    of_places = nn.Conv2d(network.classifier.in_features, _NUM_DIMENSIONS, 1)
    optimizer = torch.optim.AdamW([*network.parameters(), *of_places.parameters()], weight_decay=_WEIGHT_DECAY)
    num_steps = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_LR, total_steps=max(2, num_steps))
    steps = (batch for _ in range(epochs) for batch in batches)
    with fitting_threads(torch.device("cpu")):
        for pictures, frames, labels, _ in track(
            steps, "trunk", num_steps, transient=True, disable=not is_progress_shown
        ):
            maps = network.features(recoloured(pictures.transpose(0, 1).flatten(0, 1)))
            found = of_places(maps).unflatten(0, (2, -1))
            loss = _KIND_WEIGHT * kind_loss(network.classifier(maps.movedim(1, -1)), labels.repeat(2))
            loss = loss + place_loss(found[0], found[1], frames)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def all_kinds(spec: str, count: int) -> PartDataset:
    """The training drawings of all animals, and of scenery as one more class."""
    animals = load_dataset(spec, split="all")
    scenery = [DrawnSample(BACKGROUND, i, len(animals.classes)) for i in range(count)]
    return PartDataset(
        Catalogue([*animals.samples, *scenery], [*animals.classes, BACKGROUND], animals.parts), split="train"
    )


def kind_loss(logits: Tensor, labels: Tensor) -> Tensor:  # [image, row, col, class], [image]
    """Mean over cells of the cross-entropy against the label of their picture."""
    of_cells = labels[:, None, None].expand(logits.shape[:3])
    return F.cross_entropy(logits.flatten(0, 2), of_cells.flatten())


def place_loss(first: Tensor, second: Tensor, frames: Tensor) -> Tensor:
    """Mean cross-entropy, over places drawn in what two views share, of cos(u_i, v_j) / 0.2 against j = i.

    Args:
        first, second: maps of the two views, [picture, channel, row, col]; u and v are read from them, bilinearly.
        frames: of the views, [picture, 2, 2, 3], see `PictureViews`.

    Returns:
        A scalar; 0 with a graph where no two views have enough in common.
    """
    corners = torch.stack([frames[..., 2], frames[..., 2] + frames.diagonal(dim1=2, dim2=3)])  # [2, picture, view, 2]
    low, high = corners.amin(dim=0).amax(dim=1), corners.amax(dim=0).amin(dim=1)
    is_shared = (high - low > _LEAST_OVERLAP).all(dim=1)
    size = (high - low)[is_shared, None]
    places = low[is_shared, None] + torch.rand(len(size), _NUM_PLACES, 2) * size  # in pictures
    u, v = (
        F.normalize(_read(maps[is_shared], places, frames[is_shared, view]), dim=2)
        for view, maps in enumerate((first, second))
    )
    logits = u @ v.transpose(1, 2) / _TEMPERATURE
    answers = torch.arange(_NUM_PLACES).repeat(len(logits))
    return F.cross_entropy(logits.flatten(0, 1), answers, reduction="sum") / max(1, len(answers))


def recoloured(views: Tensor) -> Tensor:  # [image, 3, row, col] → the same
    """Each in another light: contrast by channel, brightness, tint."""
    of_channels, of_image = (len(views), 3, 1, 1), (len(views), 1, 1, 1)
    contrast = 1 + _COLOUR_STD * torch.randn(of_channels)
    shift = _COLOUR_STD * (torch.randn(of_image) + torch.randn(of_channels) / 2)
    return (views * contrast + shift).contiguous(memory_format=torch.channels_last)


def _read(maps: Tensor, places: Tensor, frames: Tensor) -> Tensor:  # → [picture, place, channel]
    """A view's features at places [picture, place, 2] of its pictures; frames are [picture, 2, 3]."""
    in_view = (places - frames[:, None, :, 2]) / frames.diagonal(dim1=1, dim2=2)[:, None]
    read = F.grid_sample(maps, 2 * in_view[:, :, None] - 1, padding_mode="border", align_corners=False)
    return read[..., 0].transpose(1, 2)
