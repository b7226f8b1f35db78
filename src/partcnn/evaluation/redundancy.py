"""How redundant a network's filters are, on pictures: do they look at the same place, do their maps say the same?"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from rich.table import Table
from torch import nn
from torch.utils.data import DataLoader

from partcnn.datasets import PartDataset
from partcnn.datasets.arguments import check_dataset
from partcnn.evaluation.result import COVERAGE_R2
from partcnn.foundation.labels import shows_object
from partcnn.foundation.number_text import NONE
from partcnn.metrics.functional.map_statistics import (
    MapMoments,
    PeakPairs,
    agreement_groups,
    effective_number,
    mean_over_pairs,
)
from partcnn.model.mask import top_mask
from partcnn.model.network import conversion_of, recorded_feature_maps, unwrapped
from partcnn.networks.probing.probe import evaluation_mode

SAME_PLACE = 0.5  # filters of a group have peaks within one cell on at least this share of the pictures


@dataclass(frozen=True)
class Redundancy:
    """Of the filters of one layer.

    Args:
        layer: dotted name of the part mask.
        num_filters: of the layer.
        num_silent: of them, those whose masked maps are constant on all pictures.
        peak_agreement: of two filters, the share of the pictures of objects on which both fire and their peaks are
            within one cell, of those on which both fire; mean over all pairs. nan for one filter.
        correlation: |Pearson's correlation| of two filters' masked maps over all cells of all pictures; mean over
            pairs.
        effective_number: from 1 to `num_filters`; see `partcnn.metrics.functional.map_statistics.effective_number`.
        groups: filters that follow the same place, see `map_statistics.agreement_groups`; the largest first.
        num_images: pictures, those without an object included.
    """

    layer: str
    num_filters: int
    num_silent: int
    peak_agreement: float
    correlation: float
    effective_number: float
    groups: list[list[int]]
    num_images: int

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for JSON."""
        return asdict(self)


def measure_redundancy(
    model: nn.Module, dataset: PartDataset, *, batch_size: int = 32, num_workers: int = 0
) -> Redundancy:
    """Measure the top part layer on the pictures of a data set; to say something, on pictures kept out of training.

    Args:
        model: made by `partcnn.convert`; left in the mode it was in.
        dataset: the pictures. Those of its background class count for maps, not for peaks: they show no part.
        batch_size, num_workers: of the pass.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
    """
    record, inner = conversion_of(model), unwrapped(model)
    check_dataset(dataset)
    name, mask = top_mask(inner)
    preprocessing = record.preprocessing
    pictures = dataset.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
    loader = DataLoader(pictures, batch_size=batch_size, num_workers=num_workers)
    device = next(inner.parameters()).device
    moments: MapMoments | None = None
    pairs: PeakPairs | None = None
    num_images = 0
    with evaluation_mode(inner), torch.inference_mode(), recorded_feature_maps(inner) as maps:
        for batch in loader:
            inner(batch.image.to(device))
            found = maps[name]
            is_object = shows_object(batch.label, dataset.background).to(device)
            own = MapMoments.of(mask.masked(found))
            near = PeakPairs.of(mask.part_cells(found[is_object]).cpu(), (mask.peak_scores(found[is_object]) > 0).cpu())
            moments, pairs = own if moments is None else moments + own, near if pairs is None else pairs + near
            num_images += len(found)
    assert moments is not None  # a data set has at least one picture
    assert pairs is not None
    correlation = moments.correlation
    return Redundancy(
        layer=name,
        num_filters=mask.num_filters,
        num_silent=int((correlation.diagonal() == 0).sum()),
        peak_agreement=mean_over_pairs(pairs.agreement),
        correlation=mean_over_pairs(correlation.abs()),
        effective_number=effective_number(correlation),
        groups=agreement_groups(pairs.agreement, least=SAME_PLACE),
        num_images=num_images,
    )


def redundancy_table(found: Mapping[str, Redundancy], parts: Mapping[str, Mapping[int, str]] | None = None) -> Table:
    """Runs side by side; `parts` names, of some runs, the part that a filter follows where it was measured."""
    table = Table(title="redundancy of filters")
    table.add_column("")
    for name in found:
        table.add_column(name, justify="right", overflow="fold")
    runs = list(found.values())
    rows = {
        "filters": [str(one.num_filters) for one in runs],
        "of them silent": [str(one.num_silent) for one in runs],
        "effective number": [f"{one.effective_number:.1f}" for one in runs],
        "peaks within one cell, mean over pairs": [f"{one.peak_agreement:.1%}" for one in runs],
        "|correlation of maps|, mean over pairs": [f"{one.correlation:.2f}" for one in runs],
        f"groups with the same place (≥ {SAME_PLACE:.0%})": [str(len(one.groups)) for one in runs],
        "filters in the largest groups": [", ".join(str(len(group)) for group in one.groups[:3]) for one in runs],
    }
    if parts:
        named = [_followed(parts.get(name, {}), one) for name, one in found.items()]
        rows[f"follow a part (R² ≥ {COVERAGE_R2})"] = named
    for label, values in rows.items():
        table.add_row(label, *values)
    return table


def _followed(parts: Mapping[int, str], one: Redundancy) -> str:
    counts = {part: list(parts.values()).count(part) for part in dict.fromkeys(parts.values())}
    return ", ".join(f"{part} {count} of {one.num_filters}" for part, count in counts.items()) or NONE
