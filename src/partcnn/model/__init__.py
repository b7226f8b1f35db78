"""A network with part filters: mask, layers, losses, conversion, and saving."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.model.conversion import HEADS, MASK_NAME, convert, remove_masks
    from partcnn.model.losses import diversity_loss, equivariance_loss, filter_loss, filter_loss_terms
    from partcnn.model.mask import ASSIGNMENTS, PartMask, num_owners, part_masks
    from partcnn.model.modules import AdditiveHead, MapErasing, PartConv2d
    from partcnn.model.network import Conversion, PartNetwork, conversion_of, recorded_feature_maps, unwrapped
    from partcnn.model.trunks import HookedTrunk

_HOMES = {
    "HEADS": "conversion",
    "MASK_NAME": "conversion",
    "convert": "conversion",
    "remove_masks": "conversion",
    "filter_loss": "losses",
    "filter_loss_terms": "losses",
    "equivariance_loss": "losses",
    "diversity_loss": "losses",
    "ASSIGNMENTS": "mask",
    "PartMask": "mask",
    "num_owners": "mask",
    "part_masks": "mask",
    "PartConv2d": "modules",
    "AdditiveHead": "modules",
    "MapErasing": "modules",
    "Conversion": "network",
    "PartNetwork": "network",
    "conversion_of": "network",
    "recorded_feature_maps": "network",
    "unwrapped": "network",
    "HookedTrunk": "trunks",
}

__all__ = [
    "ASSIGNMENTS",
    "HEADS",
    "MASK_NAME",
    "AdditiveHead",
    "Conversion",
    "HookedTrunk",
    "MapErasing",
    "PartConv2d",
    "PartMask",
    "PartNetwork",
    "conversion_of",
    "convert",
    "diversity_loss",
    "equivariance_loss",
    "filter_loss",
    "filter_loss_terms",
    "num_owners",
    "part_masks",
    "recorded_feature_maps",
    "remove_masks",
    "unwrapped",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
