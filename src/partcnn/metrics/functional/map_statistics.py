"""How alike filters are: covariance and peaks of their maps, the number that they are worth, and which to keep.

All are functions of sums that add up over batches. Filters that are constant on all pictures are called silent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from partcnn.foundation.errors import ConfigError, ShapeError

_RIDGE = 1e-3  # of the mean variance: what keeps nearly equal filters from large weights of opposite sign


@dataclass(frozen=True)
class MapMoments:
    """Sums over images and cells, float64; of several batches by `+`."""

    count: int  # images × cells
    total: Tensor  # [filter]
    products: Tensor  # [filter, filter]

    @classmethod
    def of(cls, feature_maps: Tensor) -> "MapMoments":  # [image, filter, row, col]
        if feature_maps.ndim != 4:
            raise ShapeError(f"feature_maps: expected [image, filter, row, col], got {tuple(feature_maps.shape)}")
        cells = feature_maps.movedim(1, -1).flatten(0, 2).double().cpu()
        return cls(len(cells), cells.sum(dim=0), cells.T @ cells)

    def __add__(self, other: "MapMoments") -> "MapMoments":
        return MapMoments(self.count + other.count, self.total + other.total, self.products + other.products)

    @property
    def mean(self) -> Tensor:  # [filter]
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:  # [filter, filter], of the population
        return self.products / self.count - self.mean.outer(self.mean)

    @property
    def correlation(self) -> Tensor:
        """Pearson's, over all cells of all images: [filter, filter], 1 on the diagonal; 0 all along silent filters."""
        covariance = self.covariance
        variance = covariance.diagonal()
        # A variance of 1e-12 of the mean square is what rounding leaves of none.
        is_silent = variance <= 1e-12 * (self.products.diagonal() / self.count)
        scale = torch.where(is_silent, 0, variance.clamp(min=1e-300).rsqrt())
        correlation = (covariance * scale.outer(scale)).clamp(-1, 1)
        correlation.diagonal().copy_((~is_silent).double())
        return correlation


@dataclass(frozen=True)
class PeakPairs:
    """Counts of images for every two filters; of several batches by `+`."""

    num_near: Tensor  # [filter, filter] both fire, and their peaks lie within one cell of each other
    num_both: Tensor  # [filter, filter] both fire

    @classmethod
    def of(cls, peaks: Tensor, fires: Tensor) -> "PeakPairs":
        """From peaks [image, filter, 2] in cells and whether each filter fires [image, filter]."""
        if peaks.ndim != 3 or fires.shape != peaks.shape[:2]:
            raise ShapeError(
                f"peaks, fires: expected [image, filter, 2] and [image, filter], got {tuple(peaks.shape)} "
                f"and {tuple(fires.shape)}"
            )
        num_near = torch.zeros(peaks.shape[1], peaks.shape[1], dtype=torch.int64)
        for cells, fired in zip(peaks.short(), fires, strict=True):  # all at once would need gigabytes of many filters
            gaps = (cells[:, None] - cells).abs().amax(dim=-1)  # to one of the eight neighbours: 1
            num_near += (gaps <= 1) & fired & fired[:, None]
        fired = fires.double()
        return cls(num_near, (fired.T @ fired).long())

    def __add__(self, other: "PeakPairs") -> "PeakPairs":
        return PeakPairs(self.num_near + other.num_near, self.num_both + other.num_both)

    @property
    def agreement(self) -> Tensor:
        """[filter, filter]: share, of the images on which both fire, of those with peaks within one cell; nan: none."""
        return self.num_near / torch.where(self.num_both > 0, self.num_both, torch.nan)


def mean_over_pairs(table: Tensor) -> float:
    """Mean of the values above the diagonal of [filter, filter] that are not nan; nan where there is none."""
    above = torch.ones_like(table, dtype=torch.bool).triu(diagonal=1)
    return float(table[above].nanmean())


def effective_number(correlation: Tensor) -> float:
    """How many filters of no correlation would be worth as much: exp(−∑ p log p), p = eigenvalues / their sum.

    The effective rank of Roy & Vetterli, "The effective rank: a measure of effective dimensionality" (EUSIPCO 2007),
    with the eigenvalues of the correlation matrix for p.

    Args:
        correlation: [filter, filter], as of `MapMoments.correlation`.

    Returns:
        From 1, all filters say the same, to their number, no two of them do; silent filters count nothing: 0 for none.
    """
    eigenvalues = torch.linalg.eigvalsh(correlation.double()).clamp(min=0)
    if eigenvalues.sum() <= 0:
        return 0.0
    shares = eigenvalues / eigenvalues.sum()
    return float(torch.special.entr(shares).sum().exp())


def participation_ratio(correlation: Tensor) -> float:
    """How many filters of no correlation would be worth as much: (∑λ)² / ∑λ², λ the eigenvalues.

    `effective_number` counts weak directions more: of filters that nearly copy each other this comes nearer to 1.

    Args:
        correlation: [filter, filter], as of `MapMoments.correlation`.

    Returns:
        From 1, all filters say the same, to their number, no two of them do; silent filters count nothing: 0 for none.
    """
    # Of a symmetric matrix ∑λ is the trace and ∑λ² the sum of all squares.
    squares = float(correlation.double().square().sum())
    return float(correlation.double().trace()) ** 2 / squares if squares > 0 else 0.0


def agreement_groups(agreement: Tensor, *, least: float = 0.5) -> list[list[int]]:
    """Groups of filters whose peaks agree, on average between members, on at least this share of the pictures.

    Hierarchical clustering with average linkage of the distances 1 − agreement (scipy), cut at 1 − least. Filters that
    never fire together agree on nothing.

    Args:
        agreement: [filter, filter], as of `PeakPairs.agreement`.
        least: in (0, 1].

    Returns:
        All filters, each in one group, the largest group first.

    Raises:
        ConfigError: `least` is outside its range.
    """
    if not 0 < least <= 1:
        raise ConfigError(f"least: expected a share in (0, 1], got {least}")
    num_filters = len(agreement)
    if num_filters == 1:
        return [[0]]
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    distances = 1 - agreement.double().nan_to_num(0)
    distances = distances.fill_diagonal_(0)
    tree = linkage(squareform(distances.numpy(), checks=False), method="average")
    members: dict[int, list[int]] = {}
    for index, group in enumerate(fcluster(tree, t=1 - least + 1e-9, criterion="distance")):
        members.setdefault(int(group), []).append(index)
    return sorted(members.values(), key=lambda group: (-len(group), group))


def chosen_filters(
    correlation: Tensor, importance: Tensor, count: int, categories: Tensor | None = None
) -> Tensor:  # [count], ascending
    """Which filters to keep: important ones whose maps the others do not tell already.

    Greedy: the filter of largest importance² · (share of its maps' variance that no linear combination of the chosen
    ones gives) is chosen next; Cholesky's factorisation of s_i s_j r_ij with diagonal pivoting (Higham 1990).
    Of filters with the same maps one is chosen before any second, however important they are.

    Args:
        correlation: r [filter, filter].
        importance: s [filter], ≥ 0.
        count: how many, at least 1 and at most all.
        categories: [filter], the class each serves: as far as `count` reaches, each class keeps a filter.

    Raises:
        ConfigError: the count is outside its range.
    """
    num_filters = len(importance)
    if not 1 <= count <= num_filters:
        raise ConfigError(f"count: expected 1 to {num_filters} filters, got {count}")
    importance = importance.double()
    scaled = correlation.double() * importance.outer(importance)
    left = scaled.diagonal().clone()
    factors = torch.zeros(num_filters, 0, dtype=torch.float64)
    chosen: list[int] = []
    lacking = set() if categories is None else set(categories.tolist())
    while len(chosen) < count:
        may_be = torch.ones(num_filters, dtype=torch.bool)
        if categories is not None and lacking and len(lacking) >= count - len(chosen):
            may_be = torch.isin(categories, torch.tensor(sorted(lacking)))
        may_be[chosen] = False
        best = int(torch.where(may_be, left, -torch.inf).argmax())
        chosen.append(best)
        if categories is not None:
            lacking.discard(int(categories[best]))
        if left[best] > 1e-12 * scaled.diagonal().max():
            column = (scaled[:, best] - factors @ factors[best]) / left[best].sqrt()
            factors = torch.cat([factors, column[:, None]], dim=1)
            left = (left - column.square()).clamp(min=0)
    return torch.tensor(sorted(chosen))


def merging_weights(second_moments: Tensor, kept: Tensor) -> Tensor:  # [dropped, kept]
    """The linear combinations of kept maps that come nearest to the dropped ones: B = M_dk (M_kk + εI)⁻¹.

    Least squares over all cells of all images; ε is 0.001 of the kept maps' mean second moment.

    Args:
        second_moments: M [filter, filter]: of the covariance, for combinations with an intercept; else of x xᵀ.
        kept: indices.
    """
    dropped = dropped_filters(len(second_moments), kept)
    inner = second_moments[kept][:, kept].double()
    ridge = _RIDGE * inner.diagonal().mean().clamp(min=1e-30)
    inner = inner + ridge * torch.eye(len(kept), dtype=torch.float64)
    combinations: Tensor = torch.linalg.solve(inner, second_moments[kept][:, dropped].double()).T
    return combinations


def dropped_filters(num_filters: int, kept: Tensor) -> Tensor:
    """The indices below `num_filters` that are not kept, ascending."""
    is_kept = torch.zeros(num_filters, dtype=torch.bool)
    is_kept[kept] = True
    return (~is_kept).nonzero().flatten()
