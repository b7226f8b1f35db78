"""A frozen trunk's maps of one task's pictures, computed once for every network that is trained on them."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from partcnn.backbones import Preprocessing
from partcnn.conversion import PartNetwork
from partcnn.datasets import PartDataset
from partcnn.feature_views import FeatureViews, PictureViews, compute_features, set_projection
from partcnn.training import Recipe


class RememberingTrunk(nn.Module):
    """A frozen trunk that keeps its maps, half precision, of every picture it has seen in a batch of several.

    In a data set of one category against background the background pictures come first, so that their views are the
    same in every category.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk.eval()
        self._maps: dict[bytes, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:  # [image, channel, row, col] -> [image, channel, row, col]
        if len(images) == 1:  # what traces receptive fields sends one picture of noise
            return self.trunk(images)  # type: ignore[no-any-return]
        keys = [hashlib.sha1(image.numpy(force=True).tobytes()).digest() for image in images]
        if not all(key in self._maps for key in keys):
            self._maps.update(zip(keys, self.trunk(images).half(), strict=True))
        return torch.stack([self._maps[key] for key in keys]).float()

    def __deepcopy__(self, memo: dict[int, object]) -> "RememberingTrunk":
        return self  # one memory for all


@dataclass(frozen=True)
class MeasuredPictures:
    """Whole pictures as a network is measured on them."""

    maps: Tensor  # [image, channel, row, col], of the trunk
    labels: Tensor  # [image]
    landmarks: Tensor  # [image, part, 2], (x, y) in pixels of the input; nan where absent


@dataclass(frozen=True)
class TaskMaps:
    """All that training and measuring on one task need of its pictures.

    Args:
        projection: the trunk's principal components on the training pictures, for all networks of the task.
        views: the projected maps of the training pictures' views.
        train, test: whole pictures.
    """

    projection: dict[str, Tensor]
    views: FeatureViews
    train: MeasuredPictures
    test: MeasuredPictures

    def projected(self, maps: Tensor) -> Tensor:
        """Maps of the trunk through the projection."""
        if not self.projection:
            return maps
        return nn.functional.conv2d(maps, self.projection["weight"], self.projection["bias"])


def task_maps(
    model: PartNetwork, preprocessing: Preprocessing, train: PartDataset, test: PartDataset, recipe: Recipe
) -> TaskMaps:
    """Run the model's trunk over all views of the training pictures and over the whole pictures of both splits.

    Args:
        model: gives the trunk and the shape of the projection, which is set.
        preprocessing: of the trunk.
        train, test: splits of one task.
        recipe: gives number, size and batches of the views. The random views are the same for every seed.
    """
    set_projection(model, PictureViews(train, preprocessing))
    views = PictureViews(train, preprocessing, num_views=recipe.num_views, min_crop_frac=recipe.min_crop_frac)
    first = nn.Sequential(model.trunk, model.projection)
    computed = compute_features(first, views, batch_size=recipe.batch_size, seed=0)
    projection = {name: value.clone() for name, value in model.projection.state_dict().items()}
    train_pictures, test_pictures = (measured_pictures(model.trunk, preprocessing, split) for split in (train, test))
    return TaskMaps(projection, computed, train_pictures, test_pictures)


def measured_pictures(trunk: nn.Module, preprocessing: Preprocessing, dataset: PartDataset) -> MeasuredPictures:
    """The maps of a trunk, in evaluation mode, of all pictures of a data set, whole."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    with torch.no_grad():
        for batch in DataLoader(dataset.with_transform(preprocessing.transform()), batch_size=8):
            found.append((trunk(batch.image), batch.label, batch.landmarks))
    maps, labels, landmarks = (torch.cat(column) for column in zip(*found, strict=True))
    return MeasuredPictures(maps, labels, landmarks)
