"""Where the filters of the top part layer look in a picture, the filter that adds most first."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor, nn

from partcnn.explanation.attribution import Attribution
from partcnn.explanation.given import GivenPicture
from partcnn.model.mask import part_masks
from partcnn.model.network import layer_field, unwrapped
from partcnn.networks.probing.receptive_field import ReceptiveField, upsample_map


@dataclass(frozen=True)
class Look:
    """The top part layer on one picture.

    Args:
        given: the picture.
        found: what each filter adds, and its maps.
        field: of the cells of the maps.
        cells: [filter, 2] (row, col) of each filter's part.
        filter_category: [filter] index of the class that each filter serves,
        is_shared: unless several classes share all filters.
    """

    given: GivenPicture
    found: Attribution
    field: ReceptiveField
    cells: Tensor
    filter_category: Tensor
    is_shared: bool

    @property
    def order(self) -> list[int]:
        """All filters by falling magnitude of what they add; of equal ones the lower number first."""
        return self.found.shares[0].abs().argsort(descending=True, stable=True).tolist()

    @property
    def fires(self) -> Tensor:  # [filter] bool
        """Whether a filter found anything; where not, its cell means nothing."""
        return self.found.feature_maps[0].amax(dim=(1, 2)) > 0

    @cached_property
    def positions_px(self) -> Tensor:  # [filter, 2]
        """(x, y) in pixels of the given picture: the middle of what each filter's cell sees."""
        return self.given.from_input(self.field.centers_px(self.cells))

    @cached_property
    def boxes_px(self) -> Tensor:  # [filter, 4]
        """xyxy in pixels of the given picture: all that each filter's cell sees."""
        return self.given.from_input(self.field.boxes_px(self.cells))

    def heatmap(self, index: int) -> Tensor:  # [height, width] of the given picture
        """The masked map of a filter, upsampled."""
        return upsample_map(self.found.masked_feature_maps[0, index], self.given.size, self.field)


def looked(model: nn.Module, given: GivenPicture, found: Attribution) -> Look:
    """How the network that was split looked at the picture."""
    network = unwrapped(model)
    mask = dict(part_masks(network))[found.layer]
    field = layer_field(network, found.layer, given.input_size)
    return Look(given, found, field, mask.part_cells(found.feature_maps)[0], mask.filter_category, mask.serves_all)
