"""A frozen trunk's maps of one task's pictures, computed once for every network that is trained on them."""

import copy
import hashlib
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from partcnn.datasets import PartDataset
from partcnn.foundation.disk_cache import FeatureCache, content_key, network_digest
from partcnn.foundation.errors import DataError
from partcnn.model.network import PartNetwork
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.cached_features import digests, trunk_features
from partcnn.training.features import FeatureViews
from partcnn.training.recipe import Recipe
from partcnn.training.views import PictureViews


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
        keys = [hashlib.sha256(image.numpy(force=True).tobytes()).digest() for image in images]
        if not all(key in self._maps for key in keys):
            self._maps.update(zip(keys, self.trunk(images).half(), strict=True))
        return torch.stack([self._maps[key] for key in keys]).float()

    def __deepcopy__(self, memo: dict[int, object]) -> "RememberingTrunk":
        copied = RememberingTrunk(copy.deepcopy(self.trunk, memo))  # whose layers may be changed, as `fast_trunk` does
        copied._maps = self._maps  # one memory for all
        return copied


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
    model: PartNetwork,
    preprocessing: Preprocessing,
    train: PartDataset,
    test: PartDataset,
    recipe: Recipe,
    cache: FeatureCache | None = None,
) -> TaskMaps:
    """Run the model's trunk over all views of the training pictures and over the whole pictures of both splits.

    Args:
        model: gives the trunk and the shape of the projection, which is set.
        preprocessing: of the trunk.
        train, test: splits of one task.
        recipe: gives number and size of the views. The random views are the same for every seed.
        cache: where all maps are looked for, and kept for the next time.
    """
    views = PictureViews(train, preprocessing, num_views=recipe.num_views, min_crop_frac=recipe.min_crop_frac)
    computed = trunk_features(model, views, cache=cache)
    if computed is None:
        raise DataError(f"data: no room for the maps of {len(views)} pictures; set PARTCNN_CACHE_GIB higher")
    projection = {name: value.clone() for name, value in model.projection.state_dict().items()}
    train_pictures, kept_out_pictures = (
        measured_pictures(model.trunk, preprocessing, split, cache) for split in (train, test)
    )
    return TaskMaps(projection, computed, train_pictures, kept_out_pictures)


def measured_pictures(
    trunk: nn.Module, preprocessing: Preprocessing, dataset: PartDataset, cache: FeatureCache | None = None
) -> MeasuredPictures:
    """The maps of a trunk, in evaluation mode, of all pictures of a data set, whole; in a cache in half precision."""
    labels = dataset.labels()
    key = ""
    if cache is not None:
        landmarks = [dataset.landmarks(index).tolist() for index in range(len(dataset))]
        key = content_key(network_digest(trunk), preprocessing.to_spec(), digests(dataset.samples), landmarks)
        found = cache.find(key)
        if found is not None:
            return MeasuredPictures(found.tensors["maps"].float(), labels, found.tensors["landmarks"])
    began = time.monotonic()
    rows: list[tuple[Tensor, Tensor]] = []
    transform, size = preprocessing.transform(), preprocessing.input_size
    with torch.no_grad():
        for batch in DataLoader(dataset.with_transform(transform, resized_to=size), batch_size=8):
            rows.append((trunk(batch.image), batch.landmarks))
    maps, points = (torch.cat(column) for column in zip(*rows, strict=True))
    if cache is not None:
        cache.keep(key, {"maps": maps.half(), "landmarks": points}, time.monotonic() - began)
    return MeasuredPictures(maps, labels, points)
