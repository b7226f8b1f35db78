"""Where the filters of the top part layer look in a picture, the filter that adds most first."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from partcnn.explanation.attribution import Attribution
from partcnn.explanation.given import GivenPicture
from partcnn.explanation.placed_map import PlacedMap, PlacedShares
from partcnn.model.competing_mask import CompetingMask
from partcnn.model.mask import part_masks
from partcnn.model.network import layer_field, unwrapped
from partcnn.networks.probing.receptive_field import ReceptiveField
from partcnn.plot.tiling import Outline, region_outlines


@dataclass(frozen=True)
class Look:
    """The top part layer on one picture.

    Args:
        given: the picture.
        found: what each filter adds, and its maps.
        field: of the cells of the maps.
        cells: [filter, 2] (row, col) of each filter's part.
        fires: [filter] bool, whether a filter found its part; where not, its cell means nothing.
        filter_category: [filter] index of the class that each filter serves,
        is_shared: unless several classes share all filters.
        is_competing: whether the filters' maps are shares of each cell.
    """

    given: GivenPicture
    found: Attribution
    field: ReceptiveField
    cells: Tensor
    fires: Tensor
    filter_category: Tensor
    is_shared: bool
    is_competing: bool

    @property
    def order(self) -> list[int]:
        """All filters by falling magnitude of what they add; of equal ones the lower number first."""
        return self.found.shares[0].abs().argsort(descending=True, stable=True).tolist()

    @cached_property
    def positions_px(self) -> Tensor:  # [filter, 2]
        """(x, y) in pixels of the given picture: the middle of what each filter's cell sees."""
        return self.given.from_input(self.field.centers_px(self.cells))

    @cached_property
    def boxes_px(self) -> Tensor:  # [filter, 4]
        """xyxy in pixels of the given picture: all that each filter's cell sees."""
        return self.given.from_input(self.field.boxes_px(self.cells))

    def placed_map(self, index: int) -> PlacedMap:
        """The masked map of a filter."""
        return PlacedMap(self.found.masked_feature_maps[0, index], self.field)

    @property
    def placed_shares(self) -> PlacedShares | None:
        """None where filters do not compete: those hold nothing alone."""
        return PlacedShares(self._shares, self.field) if self.is_competing else None

    @cached_property
    def outlines(self) -> list[Outline] | None:
        """Of what each filter holds, where they compete."""
        return region_outlines(self._shares, self.field) if self.is_competing else None

    @property
    def _shares(self) -> Tensor:
        """Of the filters that see their part; what others hold of cells is nobody's."""
        return self.found.feature_maps[0] * self.fires[:, None, None]


def looked(model: nn.Module, given: GivenPicture, found: Attribution) -> Look:
    """How the network that was split looked at the picture."""
    network = unwrapped(model)
    mask = dict(part_masks(network))[found.layer]
    field = layer_field(network, found.layer, given.input_size)
    cells = mask.part_cells(found.feature_maps)[0]
    is_competing = isinstance(mask, CompetingMask)
    fires = mask.peak_scores(found.feature_maps)[0] > 0
    return Look(given, found, field, cells, fires, mask.filter_category, mask.serves_all, is_competing)
