"""A frozen trunk's projected maps of pictures and of their views: from the cache, or computed and kept there."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.datasets import PartDataset, Sample
from partcnn.datasets.pictures import PictureChangedError, in_threads
from partcnn.foundation.disk_cache import CachedTensors, FeatureCache, content_key, network_digest
from partcnn.model.network import PartNetwork, PictureFeatures, SecondFeatures, conversion_of
from partcnn.model.second_views import SecondViews
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.features import (
    FeatureViews,
    compute_features,
    compute_picture_features,
    compute_second_features,
    device_of,
)
from partcnn.training.projection import origin_of_projection, prepare
from partcnn.training.views import PictureViews

_log = logging.getLogger("partcnn")
_CHANGED = "trunk features: they are computed anew and not kept, since a picture changed meanwhile: %s"
_PROJECTION = "projection."  # the name of each of its tensors begins so
_TOLERANCE = 2**-7  # of the largest value: bfloat16 rounds to 2⁻⁹, and devices and libraries differ in the last bits


def trunk_features(
    model: PartNetwork,
    views: PictureViews,
    *,
    num_workers: int = 0,
    cache: FeatureCache | None = None,
    keeps_whole: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> FeatureViews:
    """Run a model's trunk and projection over every view; a model not trained yet first gets its projection.

    Args:
        model: its trunk is put in evaluation mode.
        views: of the training pictures, the first of each as it is measured.
        num_workers: processes that decode pictures.
        cache: where the maps are looked for, and kept with the projection. None: they are computed.
        keeps_whole: keep there also what `picture_features` will look for, to measure on these pictures.
        on_progress: called with the number of pictures done.
    """
    model.trunk.eval()
    if cache is None:
        return _computed(model, views, num_workers=num_workers, on_progress=on_progress)
    pinned = views.pinned()
    try:
        return _found_or_kept(model, pinned, cache, num_workers, keeps_whole, on_progress)
    except PictureChangedError as error:
        _log.warning(_CHANGED, error)
        return _computed(model, views, num_workers=num_workers, on_progress=on_progress)


def _found_or_kept(
    model: PartNetwork,
    views: PictureViews,
    cache: FeatureCache,
    num_workers: int,
    keeps_whole: bool,
    on_progress: Callable[[int], None] | None,
) -> FeatureViews:
    """Of pinned pictures, so that what is kept is made of the bytes that are in its key."""
    key = features_key(model, views)
    found = cache.find(key)
    if found is not None and _is_what_the_trunk_makes(model, views, found):
        _log.info("trunk features: from the cache, %.0f s spared", found.seconds)
        labels = torch.tensor([sample.label for sample in views.dataset.samples])
        return FeatureViews(found.tensors["maps"], found.tensors["frames"], labels)
    began = time.monotonic()
    computed = _computed(model, views, num_workers=num_workers, keeps_whole=keeps_whole, on_progress=on_progress)
    seconds = time.monotonic() - began
    if computed.whole is not None:
        cache.keep(whole_key(model, views.preprocessing, views.dataset), _tensors(computed.whole), seconds)
    _keep_views(cache, key, computed, model.projection, seconds)  # last: where there is room for one, it is this
    return replace(computed, whole=None)


def _computed(model: PartNetwork, views: PictureViews, *, num_workers: int, **settings: Any) -> FeatureViews:
    # Loaders draw from the generator: dropout would be another one than with a cache.
    with torch.random.fork_rng(devices=[]), views.remembering():
        prepare(model, views, num_workers=num_workers)
        trunk = nn.Sequential(model.trunk, model.projection)
        return compute_features(trunk, views, num_workers=num_workers, dtype=torch.bfloat16, **settings)


def _keep_views(cache: FeatureCache, key: str, computed: FeatureViews, projection: nn.Module, seconds: float) -> None:
    tensors = {f"{_PROJECTION}{name}": value.cpu() for name, value in projection.state_dict().items()}
    size = cache.keep(key, {"maps": computed.maps, "frames": computed.frames, **tensors}, seconds)
    if size:
        _log.info("trunk features: %.0f s, kept in %s, %d MiB", seconds, cache.directory, size >> 20)


def _tensors(whole: PictureFeatures) -> dict[str, Tensor]:
    return {"maps": whole.maps, "sizes": whole.sizes}


def picture_features(
    model: PartNetwork,
    dataset: PartDataset,
    *,
    has_second_views: bool = False,
    cache: FeatureCache | None = None,
    num_workers: int = 0,
) -> PictureFeatures:
    """Run a trained model's trunk and projection over every picture, whole.

    Args:
        model: left in evaluation mode.
        dataset: the pictures.
        has_second_views: run them over the other views of some of the pictures too, see
            `partcnn.model.second_views`.
        cache: where the maps are looked for, and kept. None: they are computed.
        num_workers: processes that decode pictures.
    """
    model.eval()
    preprocessing = conversion_of(model).preprocessing
    trunk = nn.Sequential(model.trunk, model.projection)

    def whole(pictures: PartDataset) -> dict[str, Tensor]:
        return _tensors(compute_picture_features(trunk, pictures, preprocessing, num_workers=num_workers))

    def second(pictures: PartDataset) -> dict[str, Tensor]:
        views = SecondViews(pictures, preprocessing)
        made = compute_second_features(trunk, views, num_workers=num_workers)
        return {"maps": made.maps, "frames": made.frames}

    found = _cached(cache, dataset, lambda pictures: whole_key(model, preprocessing, pictures), whole)
    features = PictureFeatures(found["maps"], found["sizes"])
    if not has_second_views:
        return features
    found = _cached(cache, dataset, lambda pictures: second_key(model, SecondViews(pictures, preprocessing)), second)
    return replace(features, second=SecondFeatures(found["maps"], found["frames"]))


def _cached(
    cache: FeatureCache | None,
    dataset: PartDataset,
    key: Callable[[PartDataset], str],
    compute: Callable[[PartDataset], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """What a cache has of the pictures; or it is computed, and kept there."""
    if cache is None:
        return compute(dataset)
    pinned = dataset.pinned()
    name = key(pinned)
    found = cache.find(name)
    if found is not None:
        return found.tensors
    began = time.monotonic()
    try:
        made = compute(pinned)
    except PictureChangedError as error:
        _log.warning(_CHANGED, error)
        return compute(dataset)
    cache.keep(name, made, time.monotonic() - began)
    return made


def features_key(model: PartNetwork, views: PictureViews) -> str:
    """The name of these features in a cache: a hash of all that they follow from."""
    origin = origin_of_projection(model)
    return content_key(network_digest(model.trunk), origin, views.settings, digests(views.dataset.samples))


def whole_key(model: PartNetwork, preprocessing: Preprocessing, dataset: PartDataset) -> str:
    """The name in a cache of the maps of whole pictures; the model's projection is set."""
    return content_key("whole", _digests_below(model), preprocessing.to_spec(), digests(dataset.samples))


def second_key(model: PartNetwork, views: SecondViews) -> str:
    """The name in a cache of the maps of second views; the model's projection is set."""
    return content_key("second", _digests_below(model), views.settings, digests(views.samples))


def _digests_below(model: PartNetwork) -> list[bytes]:
    """Of all below the part layers."""
    return [network_digest(part) for part in (model.trunk, model.projection)]


def digests(samples: Sequence[Sample]) -> list[bytes]:
    """`Sample.picture_digest` of every picture, in order."""
    return in_threads(samples, lambda sample: sample.picture_digest())


def _is_what_the_trunk_makes(model: PartNetwork, views: PictureViews, found: CachedTensors) -> bool:
    """Give the model the projection of the cache, and hold its first map against the one there.

    The key knows a network's layers and weights; the code that ties them together may be another one.
    """
    maps = found.tensors["maps"]
    before = {name: value.clone() for name, value in model.projection.state_dict().items()}
    model.projection.load_state_dict({name: found.tensors[f"{_PROJECTION}{name}"] for name in before})
    first = views[0][0][:1].to(device_of(model))
    with torch.no_grad():
        made = model.features(first).float().cpu()
    kept = maps[0, :1].float()
    if made.shape == kept.shape and bool((made - kept).abs().max() <= _TOLERANCE * made.abs().max()):
        return True
    model.projection.load_state_dict(before)
    _log.warning("trunk features: those in the cache are not what this network makes; they are computed anew")
    return False
