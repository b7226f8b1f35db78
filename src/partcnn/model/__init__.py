"""A network with part filters: mask, layers, losses, conversion, and saving."""

from typing import TYPE_CHECKING

from partcnn.foundation.faces import lazy_names

if TYPE_CHECKING:
    from partcnn.model.conversion import MASK_NAME, convert, converted, remove_masks
    from partcnn.model.losses import diversity_loss, equivariance_loss, filter_loss, filter_loss_terms
    from partcnn.model.mask import ASSIGNMENTS, PartMask, num_owners, part_masks, top_mask
    from partcnn.model.modules import AdditiveHead, MapErasing, PartConv2d
    from partcnn.model.naming import filter_names, name_filters
    from partcnn.model.network import (
        Conversion,
        PartNetwork,
        conversion_of,
        layer_field,
        recorded_feature_maps,
        unwrapped,
    )
    from partcnn.model.settings import HEADS, ConversionSettings
    from partcnn.model.trunks import HookedTrunk

_HOMES = {
    "MASK_NAME": "conversion",
    "convert": "conversion",
    "converted": "conversion",
    "remove_masks": "conversion",
    "filter_loss": "losses",
    "filter_loss_terms": "losses",
    "equivariance_loss": "losses",
    "diversity_loss": "losses",
    "ASSIGNMENTS": "mask",
    "PartMask": "mask",
    "num_owners": "mask",
    "part_masks": "mask",
    "top_mask": "mask",
    "PartConv2d": "modules",
    "AdditiveHead": "modules",
    "MapErasing": "modules",
    "filter_names": "naming",
    "name_filters": "naming",
    "Conversion": "network",
    "PartNetwork": "network",
    "conversion_of": "network",
    "layer_field": "network",
    "recorded_feature_maps": "network",
    "unwrapped": "network",
    "HEADS": "settings",
    "ConversionSettings": "settings",
    "HookedTrunk": "trunks",
}

__all__ = [
    "ASSIGNMENTS",
    "HEADS",
    "MASK_NAME",
    "AdditiveHead",
    "Conversion",
    "ConversionSettings",
    "HookedTrunk",
    "MapErasing",
    "PartConv2d",
    "PartMask",
    "PartNetwork",
    "conversion_of",
    "convert",
    "converted",
    "diversity_loss",
    "equivariance_loss",
    "filter_loss",
    "filter_loss_terms",
    "filter_names",
    "layer_field",
    "name_filters",
    "num_owners",
    "part_masks",
    "recorded_feature_maps",
    "remove_masks",
    "top_mask",
    "unwrapped",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
