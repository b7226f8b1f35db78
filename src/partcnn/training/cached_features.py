"""A frozen trunk's projected maps of pictures and of their views: from the cache, or computed and kept there."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from partcnn.datasets import PartDataset, Sample
from partcnn.datasets.pictures import PictureChangedError, in_threads
from partcnn.foundation.disk_cache import FeatureCache, content_key, network_digest
from partcnn.foundation.row_shards import Rows, RowShards
from partcnn.model.network import PartNetwork, PictureFeatures, SecondFeatures, conversion_of
from partcnn.model.second_views import NoisyPictures, SecondLooks, SecondViews
from partcnn.networks.preprocessing import Preprocessing
from partcnn.training.dealing import Dealer
from partcnn.training.feature_shards import Batches, KnownRows, RowsToStore, known_rows, store_rows
from partcnn.training.features import (
    FeatureViews,
    batches_of_pictures,
    batches_of_views,
    compute_second_features,
    device_of,
)
from partcnn.training.projection import origin_of_projection, prepare
from partcnn.training.views import PictureViews

_log = logging.getLogger("partcnn")
_CHANGED = "trunk features: they are computed anew and not kept, since a picture changed meanwhile: %s"
_Pictures = TypeVar("_Pictures", PartDataset, PictureViews)
_R = TypeVar("_R")
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
) -> FeatureViews | None:
    """Run a model's trunk and projection over every view; a model not trained yet first gets its projection.

    Maps of many pictures lie in files, shard by shard; what a run that was stopped has left is not computed again.

    Args:
        model: its trunk is put in evaluation mode.
        views: of the training pictures, the first of each as it is measured.
        num_workers: processes that decode pictures.
        cache: where the maps are looked for, and kept with the projection. None: they are computed, and those of many
            pictures lie in a temporary directory.
        keeps_whole: keep there also what `picture_features` will look for, to measure on these pictures.
        on_progress: called with the number of pictures done.

    Returns:
        None where there is no room for the maps: then the trunk is to run in every epoch. The model has its projection.
    """
    model.trunk.eval()
    store = partial(_stored, model, num_workers=num_workers, keeps_whole=keeps_whole, on_progress=on_progress)
    return _unless_changed(views, cache, store)


def _stored(
    model: PartNetwork,
    views: PictureViews,
    cache: FeatureCache | None,
    *,
    num_workers: int,
    keeps_whole: bool,
    on_progress: Callable[[int], None] | None,
) -> FeatureViews | None:
    key = "" if cache is None else features_key(model, views)
    known = None if cache is None else known_rows(cache, key, len(views))
    if known is not None and not _is_what_the_trunk_makes(model, views, known):
        known = None
    labels = views.dataset.labels()
    if known is not None and not known.missing:
        _log.info("trunk features: from the cache, %.0f s spared", known.seconds)
        return _views_of({name: known.rows(name) for name in ("maps", "frames")}, labels)
    # Loaders draw from the generator: dropout would be another one than with a cache.
    with torch.random.fork_rng(devices=[]), views.remembering():
        began = time.monotonic()
        if known is None:
            prepare(model, views, num_workers=num_workers)
        else:
            _log.info("trunk features: %d of %d pictures are computed", len(known.missing_rows), len(views))
        key_of_whole = partial(whole_key, model, views.preprocessing, views.dataset)
        keeps_whole = keeps_whole and cache is not None
        wanted = _rows_of_views(nn.Sequential(model.trunk, model.projection), views, num_workers, keeps_whole)
        wanted.extra, wanted.on_progress = lambda: _projection(model), on_progress
        made = store_rows(wanted, cache, key=key, key_beside=key_of_whole, known=known)
    if made is None:
        return None
    seconds = time.monotonic() - began
    if cache is not None and made.is_small:
        if made.beside:
            cache.keep(key_of_whole(), made.beside, seconds)
        kept = made.tensors | _projection(model)
        _told(cache, seconds, cache.keep(key, kept, seconds))  # last: where there is room for one, it is this
    elif cache is not None:
        _told(cache, seconds, sum(rows.num_bytes for rows in made.rows.values() if isinstance(rows, RowShards)))
    return _views_of(made.rows, labels)


def views_in_files(
    views: PictureViews, *, num_workers: int = 0, on_progress: Callable[[int], None] | None = None
) -> FeatureViews | None:
    """Every view of every picture, as a network takes it, in float16: few in memory, many in a temporary directory.

    Returns:
        None where there is no room.
    """
    wanted = _rows_of_views(nn.Identity(), views, num_workers, False, torch.float16)
    wanted.on_progress = on_progress
    made = store_rows(wanted, None)
    labels = views.dataset.labels()
    return None if made is None else _views_of(made.rows, labels)


def _rows_of_views(
    trunk: nn.Module,
    views: PictureViews,
    num_workers: int,
    keeps_whole: bool,
    dtype: torch.dtype = torch.bfloat16,
) -> RowsToStore:
    batches = partial(batches_of_views, trunk, views, num_workers=num_workers, dtype=dtype, keeps_whole=keeps_whole)
    what = f"{len(views)} pictures × {views.num_views} views"
    beside = {"whole": "maps", "sizes": "sizes"} if keeps_whole else {}
    return RowsToStore(len(views), batches, what, ("maps", "frames"), beside)


def _views_of(rows: Mapping[str, Rows], labels: Tensor) -> FeatureViews:
    frames = rows["frames"]
    return FeatureViews(rows["maps"], frames[:] if isinstance(frames, RowShards) else frames, labels)


def _projection(model: PartNetwork) -> dict[str, Tensor]:
    return {f"{_PROJECTION}{name}": value.cpu() for name, value in model.projection.state_dict().items()}


def _told(cache: FeatureCache, seconds: float, size: int) -> None:
    if size:
        _log.info("trunk features: %.0f s, kept in %s, %d MiB", seconds, cache.directory, size >> 20)


def picture_features(
    model: PartNetwork,
    dataset: PartDataset,
    *,
    has_second_views: bool = False,
    cache: FeatureCache | None = None,
    num_workers: int = 0,
    dealer: Dealer | None = None,
) -> PictureFeatures | None:
    """Run a trained model's trunk and projection over every picture, whole.

    Args:
        model: left in evaluation mode.
        dataset: the pictures.
        has_second_views: run them over the other views of some of the pictures too, and, where parts are annotated,
            over some of them with noise; see `partcnn.model.second_views`.
        cache: where the maps are looked for, and kept. None: they are computed, and those of many pictures lie in a
            temporary directory.
        num_workers: processes that decode pictures.
        dealer: deals the pass out among several devices; None: this process makes all of it.

    Returns:
        None where there is no room for the maps.
    """
    model.eval()
    preprocessing = conversion_of(model).preprocessing
    trunk = nn.Sequential(model.trunk, model.projection)

    def whole(pictures: PartDataset, cache: FeatureCache | None) -> Mapping[str, Rows] | None:
        batches: Batches = partial(batches_of_pictures, trunk, pictures, preprocessing, num_workers=num_workers)
        if dealer is not None:
            batches = dealer.dealt(batches, pictures.samples)
        wanted = RowsToStore(len(pictures), batches, f"{len(pictures)} pictures", ("maps", "sizes"))
        return _whole_rows(wanted, cache, "" if cache is None else whole_key(model, preprocessing, pictures))

    def second(
        pictures: PartDataset, cache: FeatureCache | None, *, looks: type[SecondViews] | type[NoisyPictures]
    ) -> dict[str, Tensor]:
        views = looks(pictures, preprocessing)

        def compute() -> dict[str, Tensor]:
            made = compute_second_features(trunk, views, num_workers=num_workers)
            return {"maps": made.maps, "frames": made.frames}

        return _cached(cache, lambda: second_key(model, views), compute)

    rows = _unless_changed(dataset, cache, whole)
    if rows is None:
        return None
    sizes = rows["sizes"]
    features = PictureFeatures(rows["maps"], sizes[:] if isinstance(sizes, RowShards) else sizes)
    if not has_second_views:
        return features
    found = _unless_changed(dataset, cache, partial(second, looks=SecondViews))
    features = replace(features, second=SecondFeatures(found["maps"], found["frames"]))
    if not dataset.parts:
        return features
    found = _unless_changed(dataset, cache, partial(second, looks=NoisyPictures))
    return replace(features, noisy=SecondFeatures(found["maps"], found["frames"]))


def _whole_rows(wanted: RowsToStore, cache: FeatureCache | None, key: str) -> Mapping[str, Rows] | None:
    known = None if cache is None else known_rows(cache, key, wanted.num_rows)
    if known is not None and not known.missing:
        return {name: known.rows(name) for name in wanted.names}
    made = store_rows(wanted, cache, key=key, known=known)
    if made is None:
        return None
    if cache is not None and made.is_small:
        cache.keep(key, made.tensors, made.seconds)
    return made.rows


def _unless_changed(
    pictures: _Pictures, cache: FeatureCache | None, work: Callable[[_Pictures, FeatureCache | None], _R]
) -> _R:
    """What work gives of pictures that are pinned, so that what is kept is made of the bytes that are in its key; of
    pictures that change meanwhile, nothing is kept."""
    if cache is not None:
        try:
            return work(pictures.pinned(), cache)
        except PictureChangedError as error:
            _log.warning(_CHANGED, error)
    return work(pictures, None)


def _cached(
    cache: FeatureCache | None, key: Callable[[], str], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What a cache has; or it is computed, and kept there."""
    if cache is None:
        return compute()
    name = key()
    found = cache.find(name)
    if found is not None:
        return found.tensors
    began = time.monotonic()
    made = compute()
    cache.keep(name, made, time.monotonic() - began)
    return made


def features_key(model: PartNetwork, views: PictureViews) -> str:
    """The name of these features in a cache: a hash of all that they follow from."""
    origin = origin_of_projection(model)
    return content_key(network_digest(model.trunk), origin, views.settings, digests(views.dataset.samples))


def whole_key(model: PartNetwork, preprocessing: Preprocessing, dataset: PartDataset) -> str:
    """The name in a cache of the maps of whole pictures; the model's projection is set."""
    return content_key("whole", _digests_below(model), preprocessing.to_spec(), digests(dataset.samples))


def second_key(model: PartNetwork, views: SecondLooks) -> str:
    """The name in a cache of the maps of second views or noisy pictures; the model's projection is set."""
    return content_key("second", _digests_below(model), views.settings, digests(views.samples))


def _digests_below(model: PartNetwork) -> list[bytes]:
    """Of all below the part layers."""
    return [network_digest(part) for part in (model.trunk, model.projection)]


def digests(samples: Sequence[Sample]) -> list[bytes]:
    """`Sample.picture_digest` of every picture, in order."""
    return in_threads(samples, lambda sample: sample.picture_digest())


def _is_what_the_trunk_makes(model: PartNetwork, views: PictureViews, known: KnownRows) -> bool:
    """Give the model the projection of the cache, and hold its first map against the one there.

    The key knows a network's layers and weights; the code that ties them together may be another one.
    """
    before = {name: value.clone() for name, value in model.projection.state_dict().items()}
    model.projection.load_state_dict({name: known.first[f"{_PROJECTION}{name}"] for name in before})
    first = views[0][0][:1].to(device_of(model))
    with torch.no_grad():
        made = model.features(first).float().cpu()
    kept = known.first["maps"][0, :1].float()
    if made.shape == kept.shape and bool((made - kept).abs().max() <= _TOLERANCE * made.abs().max()):
        return True
    model.projection.load_state_dict(before)
    _log.warning("trunk features: those in the cache are not what this network makes; they are computed anew")
    return False
