"""Which cells of a picture are the object's and which the rest's, without a label of a place.

Two mixtures of Gaussians over the cells of a frozen trunk's maps, fitted with EM. A background picture's cells z(c) are
from the rest's clusters; those of a picture of an object are the rest's or the object's:

    p(z) = Σ_k w_k N(z; μ_k, σ² I),    k over the rest's clusters and the object's, w summing to 1 − π and to π
    f(c) = Σ over the object's clusters of w_k N(z(c); μ_k, σ² I) / p(z(c))

All that is known is which pictures have an object, and that an object seldom reaches a picture's border. Ours, measured
in docs/results.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError
from partcnn.foundation.row_shards import Rows
from partcnn.objectives.drawn_cells import border, drawn_cells, everywhere
from partcnn.objectives.fitness import at_least_float32
from partcnn.objectives.k_means import k_means

_FAR = 0.6  # the object's clusters start at inner cells that are farther from the rest's than this share of them
_BORDER_NATS = 1.5  # in the fit, a cell on the border of a picture is this much less the object's
_BACKGROUND_WEIGHT = 0.5  # of all cells of background pictures, where those of objects' pictures weigh 1
_LEAST_CLUSTER = 1e-4  # of a mixture's weight
_LEAST_VARIANCE = 1e-12  # of maps that are the same everywhere
_NUM_START, _NUM_START_OBJECT = 5_000, 8_000  # cells for k-means
_NUM_INNER, _NUM_FITTED, _NUM_BACKGROUND = 30_000, 30_000, 14_000  # cells that are looked at, whatever the pictures
_CHUNK = 64  # pictures at a time


@dataclass(frozen=True)
class ObjectMap:
    """A fitted pair of mixtures.

    Attributes:
        means: μ, [cluster, channel], the rest's clusters first.
        log_weights: log w, [cluster], the prior included: together they sum to 1.
        variance: σ², of one channel.
        num_rest: how many clusters are the rest's.
    """

    means: Tensor
    log_weights: Tensor
    variance: float
    num_rest: int

    def share(self, maps: Rows) -> Tensor:  # [image, channel, row, col] → [image, row, col]
        """f of every cell, in 0–1: how far it is the object's. On the maps' device, in float32 or wider.

        Raises:
            ShapeError: maps with other channels than those of the fit.
        """
        num_channels = self.means.shape[1]
        if maps.ndim != 4 or maps.shape[1] != num_channels:
            raise ShapeError(
                f"maps: expected [image, channel, row, col] with {num_channels} channels as in the fit, "
                f"got {list(maps.shape)}"
            )
        return torch.cat([self._share(chunk) for chunk in maps.split(_CHUNK)])

    def _share(self, maps: Tensor) -> Tensor:
        cells = at_least_float32(maps).permute(0, 2, 3, 1)
        joint = self.log_joint(cells.flatten(0, 2)).softmax(dim=1)
        return joint[:, self.num_rest :].sum(dim=1).clamp(max=1).view(cells.shape[:3])

    def log_joint(self, cells: Tensor) -> Tensor:  # [cell, channel] → [cell, cluster]
        """log w_k N(z; μ_k, σ² I), less what all clusters have in common."""
        gaps = torch.cdist(cells, self.means.to(cells)).square()
        return self.log_weights.to(cells) - gaps / (2 * self.variance)


@dataclass(frozen=True)
class ObjectMapEnsemble:
    """Several fits from different starts; their mean share is steadier than any."""

    fits: tuple[ObjectMap, ...]

    def share(self, maps: Rows) -> Tensor:
        """The mean of the fits' shares, see `ObjectMap.share`."""
        return torch.stack([fit.share(maps) for fit in self.fits]).mean(dim=0)


@dataclass(frozen=True)
class SampledCells:
    """The cells that EM looks at."""

    of_objects: Tensor  # [cell, channel], of pictures of objects
    is_border: Tensor  # [cell], which of these are on the border of their picture
    of_background: Tensor  # [cell, channel], of pictures without; may be none


def fit_object_maps(
    object_maps: Rows, background_maps: Rows | None, *, num_fits: int = 3, seed: int = 0
) -> ObjectMapEnsemble:
    """`fit_object_map` from several starts.

    Raises:
        ConfigError: `num_fits` below 1.
        ShapeError: see `fit_object_map`.
    """
    if num_fits < 1:
        raise ConfigError(f"num_fits: expected at least 1, got {num_fits}")
    starts = range(seed * num_fits, (seed + 1) * num_fits)  # no start is in the ensembles of two seeds
    return ObjectMapEnsemble(tuple(fit_object_map(object_maps, background_maps, seed=start) for start in starts))


@torch.no_grad()
def fit_object_map(
    object_maps: Rows,  # [image, channel, row, col]
    background_maps: Rows | None,  # [image, channel, row, col]
    *,
    num_clusters: int = 16,
    prior: float = 0.4,
    rounds: int = 12,
    seed: int = 0,
) -> ObjectMap:
    """Two mixtures with EM, see the module.

    The rest's clusters start at k-means of background pictures' cells and of the border cells of objects' pictures,
    half and half; the object's at k-means of the 40 % of inner cells of objects' pictures that are farthest from them.
    Without background pictures, as where several categories are told from each other, the rest starts at border cells
    alone: then a ground that never reaches the border may be taken for the object. Cells are drawn, so that time and
    memory hardly grow with the number of pictures.

    Args:
        object_maps: of pictures of objects, on any device; half precision is computed in float32, on the processor.
        background_maps: of pictures without; None or no picture: there are none.
        num_clusters: of each of the two mixtures, at least 2.
        prior: π, the object's share of the cells of a picture of an object, in (0, 1).
        rounds: of EM.
        seed: the same seed gives the same fit, whatever was drawn elsewhere.

    Raises:
        ShapeError: no picture of an object, maps without an inner cell (3 × 3 is the smallest), or other channels.
        ConfigError: fewer than two clusters, or a prior outside (0, 1).
    """
    background_maps = object_maps[:0] if background_maps is None else background_maps
    _check_maps(object_maps, background_maps)
    if num_clusters < 2 or not 0 < prior < 1:
        raise ConfigError(
            f"num_clusters, prior: expected at least 2 and a share in (0, 1), got {num_clusters} and {prior}"
        )
    generator = torch.Generator().manual_seed(seed)
    rest = _rest_start(object_maps, background_maps, num_clusters, generator)
    objects = _object_start(object_maps, rest, num_clusters, generator)
    of_objects, numbers = drawn_cells(object_maps, everywhere(object_maps), _NUM_FITTED, generator)
    of_background, _ = drawn_cells(background_maps, everywhere(background_maps), _NUM_BACKGROUND, generator)
    cells = SampledCells(of_objects, border(object_maps).flatten()[numbers], of_background)
    fit = _started(rest, objects, cells.of_objects, prior)
    for _ in range(rounds):
        fit = refined(fit, cells, prior=prior)
    return fit


def refined(fit: ObjectMap, cells: SampledCells, *, prior: float) -> ObjectMap:
    """One round of EM: responsibilities r = p(k | z), then μ, w and σ² from them.

    A border cell's object terms get −1.5 nats; background pictures' cells are the rest's alone and weigh, in all, half
    as much as the others. σ² is the mean squared residual of the others, by channel. A cluster that holds less than a
    cell stays where it is.
    """
    joint = fit.log_joint(cells.of_objects)
    joint[:, fit.num_rest :] -= _BORDER_NATS * cells.is_border[:, None]
    shares = joint.softmax(dim=1)
    mass, total = shares.sum(dim=0), shares.T @ cells.of_objects
    if len(cells.of_background):
        weight = _BACKGROUND_WEIGHT * len(cells.of_objects) / len(cells.of_background)
        of_rest = weight * fit.log_joint(cells.of_background)[:, : fit.num_rest].softmax(dim=1)
        mass[: fit.num_rest] += of_rest.sum(dim=0)
        total[: fit.num_rest] += of_rest.T @ cells.of_background
    means = torch.where(mass[:, None] >= 1, total / mass.clamp(min=1)[:, None], fit.means)
    residual = (shares * torch.cdist(cells.of_objects, means).square()).sum(dim=1).mean() / means.shape[1]
    rest, objects = mass[: fit.num_rest], mass[fit.num_rest :]
    log_weights = torch.cat([_log_weights(rest, 1 - prior), _log_weights(objects, prior)])
    return ObjectMap(means, log_weights, max(residual.item(), _LEAST_VARIANCE), fit.num_rest)


def _log_weights(mass: Tensor, prior: float) -> Tensor:
    """Shares of the mass within a mixture, none forgotten for good, that sum to its prior."""
    share = (mass / mass.sum().clamp(min=1)).clamp(min=_LEAST_CLUSTER)
    return (prior * share / share.sum()).log()


def _started(rest: Tensor, objects: Tensor, cells: Tensor, prior: float) -> ObjectMap:
    means = torch.cat([rest, objects])
    log_weights = torch.cat(
        [_log_weights(torch.ones_like(rest[:, 0]), 1 - prior), _log_weights(torch.ones_like(objects[:, 0]), prior)]
    )
    residual = torch.cdist(cells, means).amin(dim=1).square().mean() / means.shape[1]
    return ObjectMap(means, log_weights, max(residual.item(), _LEAST_VARIANCE), len(rest))


def _rest_start(objects: Rows, background: Rows, num_clusters: int, generator: torch.Generator) -> Tensor:
    of_border, _ = drawn_cells(objects, border(objects), _NUM_START, generator)
    if not len(background):
        return k_means(of_border, num_clusters, generator=generator)
    of_background, _ = drawn_cells(background, everywhere(background), _NUM_START, generator)
    num_background = num_clusters // 2
    means = [
        k_means(of_background, num_background, generator=generator),
        k_means(of_border, num_clusters - num_background, generator=generator),
    ]
    return torch.cat(means)


def _object_start(objects: Rows, rest: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    inner, _ = drawn_cells(objects, ~border(objects), _NUM_INNER, generator)
    gaps = torch.cdist(inner, rest).amin(dim=1)
    far = inner[gaps >= gaps.quantile(_FAR)]
    far = far[torch.randperm(len(far), generator=generator)[:_NUM_START_OBJECT]]
    return k_means(far, num_clusters, generator=generator)


def _check_maps(objects: Rows, background: Rows) -> None:
    if objects.ndim != 4 or not len(objects) or min(objects.shape[2:]) < 3:
        raise ShapeError(
            "object_maps: expected at least one picture, [image, channel, row, col] with 3 × 3 cells or more, "
            f"got {list(objects.shape)}"
        )
    if background.ndim != 4 or background.shape[1] != objects.shape[1] or 0 in background.shape[2:]:
        raise ShapeError(
            f"background_maps: expected [image, {objects.shape[1]} channels as object_maps, row, col], "
            f"got {list(background.shape)}"
        )
