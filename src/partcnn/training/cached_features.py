"""A frozen trunk's projected maps of pictures and of their views: from the cache, or computed and kept there."""

import logging
import time
from collections.abc import Callable

import torch
from torch import nn

from partcnn.datasets import PartDataset
from partcnn.datasets.pictures import in_threads
from partcnn.foundation.disk_cache import CachedTensors, FeatureCache, content_key, network_digest
from partcnn.model.network import PartNetwork, PictureFeatures, conversion_of
from partcnn.training.features import FeatureViews, compute_features, compute_picture_features
from partcnn.training.projection import COMPONENT_VARIANCE, set_projection
from partcnn.training.views import PictureViews

_log = logging.getLogger("partcnn")
_TOLERANCE = 2**-7  # of the largest value: bfloat16 rounds to 2⁻⁹, and devices and libraries differ in the last bits


def trunk_features(
    model: PartNetwork,
    views: PictureViews,
    *,
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    cache: FeatureCache | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> FeatureViews:
    """Run a model's trunk and projection over every view; a model not trained yet first gets its projection.

    Args:
        model: its trunk is put in evaluation mode.
        views: of the training pictures, the first of each as it is measured.
        batch_size, seed: of the result's batches.
        num_workers: processes that decode pictures.
        cache: where the maps are looked for, and kept with the projection. None: they are computed.
        on_progress: called with the number of pictures done.
    """
    model.trunk.eval()
    key = features_key(model, views) if cache is not None else ""
    found = cache.find(key) if cache is not None else None
    if found is not None and _is_what_the_trunk_makes(model, views, found):
        _log.info("trunk features: from the cache, %.0f s spared", found.seconds)
        maps, frames = found.tensors["maps"], found.tensors["frames"]
        labels = torch.tensor([sample.label for sample in views.dataset.samples])
        return FeatureViews(maps, frames, labels, batch_size=batch_size, seed=seed)
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):  # loaders draw from it: dropout would be another one than with a cache
        if not conversion_of(model).is_trained:
            set_projection(model, views, num_workers=num_workers)
        computed = compute_features(
            nn.Sequential(model.trunk, model.projection),
            views,
            batch_size=batch_size,
            seed=seed,
            num_workers=num_workers,
            dtype=torch.bfloat16,
            on_progress=on_progress,
        )
    if cache is not None:
        seconds = time.monotonic() - began
        projection = {f"projection.{name}": value.cpu() for name, value in model.projection.state_dict().items()}
        size = cache.keep(key, {"maps": computed.maps, "frames": computed.frames, **projection}, seconds)
        if size:
            _log.info("trunk features: %.0f s, kept in %s, %d MiB", seconds, cache.directory, size >> 20)
    return computed


def picture_features(
    model: PartNetwork, dataset: PartDataset, *, cache: FeatureCache | None = None, num_workers: int = 0
) -> PictureFeatures:
    """Run a trained model's trunk and projection over every picture, whole.

    Args:
        model: left in evaluation mode.
        dataset: the pictures.
        cache: where the maps are looked for, and kept. None: they are computed.
        num_workers: processes that decode pictures.
    """
    model.eval()
    preprocessing = conversion_of(model).preprocessing
    key = ""
    if cache is not None:
        networks = [network_digest(part) for part in (model.trunk, model.projection)]
        key = content_key("whole", networks, preprocessing.to_spec(), digests(dataset))
        found = cache.find(key)
        if found is not None:
            return PictureFeatures(found.tensors["maps"], found.tensors["sizes"])
    began = time.monotonic()
    trunk = nn.Sequential(model.trunk, model.projection)
    made = compute_picture_features(trunk, dataset, preprocessing, num_workers=num_workers)
    if cache is not None:
        cache.keep(key, {"maps": made.maps, "sizes": made.sizes}, time.monotonic() - began)
    return made


def features_key(model: PartNetwork, views: PictureViews) -> str:
    """The name of these features in a cache: a hash of all that they follow from."""
    # A projection that is still to be set follows from the trunk, the pictures and the scale.
    is_set = conversion_of(model).is_trained
    projection = network_digest(model.projection) if is_set else (repr(model.projection), COMPONENT_VARIANCE)
    return content_key(network_digest(model.trunk), projection, views.settings, digests(views.dataset))


def digests(dataset: PartDataset) -> list[bytes]:
    """`Sample.picture_digest` of every picture, in order."""
    return in_threads(dataset.samples, lambda sample: sample.picture_digest())


def _is_what_the_trunk_makes(model: PartNetwork, views: PictureViews, found: CachedTensors) -> bool:
    """Give the model the projection of the cache, and hold its first map against the one there.

    The key knows a network's layers and weights; the code that ties them together may be another one.
    """
    maps = found.tensors["maps"]
    before = {name: value.clone() for name, value in model.projection.state_dict().items()}
    model.projection.load_state_dict({name: found.tensors[f"projection.{name}"] for name in before})
    first = views[0][0][:1].to(next(model.parameters()).device)
    with torch.no_grad():
        made = model.features(first).float().cpu()
    kept = maps[0, :1].float()
    if made.shape == kept.shape and bool((made - kept).abs().max() <= _TOLERANCE * made.abs().max()):
        return True
    model.projection.load_state_dict(before)
    _log.warning("trunk features: those in the cache are not what this network makes; they are computed anew")
    return False
