"""What the logits of pictures are the sums of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from partcnn.datasets import PartDataset
from partcnn.foundation.errors import LayerError
from partcnn.foundation.row_shards import large_zeros
from partcnn.model.mask import top_mask
from partcnn.model.network import PartNetwork, PictureFeatures, conversion_of, recorded_feature_maps, unwrapped
from partcnn.networks.probing.probe import evaluation_mode


@dataclass(frozen=True)
class Terms:
    """What each logit of each picture is the sum of.

    Args:
        values: [image, class, term] t, the filters and, with `has_surroundings`, these last.
        bias: [class].
        labels: [image].
        has_surroundings: whether there is a term that is no filter's.
    """

    values: Tensor
    bias: Tensor
    labels: Tensor
    has_surroundings: bool

    @property
    def logits(self) -> Tensor:
        """[image, class]."""
        return self.values.sum(dim=2) + self.bias

    @property
    def logits_without_surroundings(self) -> Tensor:
        """[image, class], the surroundings put to their mean over all classes, each class counted once."""
        around = self.values[:, :, -1]
        usual = torch.stack([around[self.labels == label].mean(dim=0) for label in self.labels.unique()]).mean(dim=0)
        return self.logits - around + usual

    @cached_property
    def means(self) -> Tensor:
        """[class of the pictures, class, term]: mean of the pictures of every class; nan of one without pictures."""
        num_classes = self.values.shape[1]
        own = [self.values[self.labels == label].mean(dim=0) for label in range(num_classes)]
        return torch.stack(own)

    def margins(self, label: int) -> Tensor:
        """[image, term] d: of a class, less the mean of the others."""
        return _margins(self.values, self._sums, label)

    def mean_margins(self, label: int) -> Tensor:
        """[class of the pictures, term]: their means."""
        return _margins(self.means, self._sums_of_means, label)

    @cached_property
    def _sums(self) -> Tensor:
        return self.values.sum(dim=1)

    @cached_property
    def _sums_of_means(self) -> Tensor:
        return self.means.sum(dim=1)


def _margins(values: Tensor, sums: Tensor, label: int) -> Tensor:
    """[row, class, term] and their sums over classes → [row, term]."""
    own, num_others = values[:, label], values.shape[1] - 1
    return own - (sums - own) / num_others


def observed_terms(
    model: nn.Module,
    dataset: PartDataset,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    features: Callable[[PartDataset], PictureFeatures | None] | None = None,
) -> Terms:
    """One pass over the pictures; arguments and errors as of `audit`."""
    network = unwrapped(model)
    if not isinstance(network, PartNetwork):
        raise LayerError(
            "model: expected a network whose logits are sums over filters, as convert makes with head='additive', got "
            "one with a head of its own"
        )
    known = None if features is None else features(dataset)
    device, mask = next(network.parameters()).device, top_mask(model)[1]
    values, has_surroundings = torch.empty(0), False
    with evaluation_mode(model), torch.inference_mode(), recorded_feature_maps(model):
        for images, inputs in _inputs(network, dataset, known, batch_size, num_workers):
            below = inputs.to(device) if known is not None else network.features(inputs.to(device))
            network.forward_from_features(below)
            assert mask.feature_maps is not None  # the forward pass just recorded them
            shares, around = network.logit_terms(mask.masked(mask.feature_maps))
            has_surroundings = around is not None
            found = shares if around is None else torch.cat([shares, around[..., None]], dim=2)
            if not len(values):
                values = large_zeros(len(dataset), len(dataset.classes), mask.num_filters + has_surroundings)
            values[images] = found.float().cpu()
        bias = network.bias.float().cpu()
    return Terms(values, bias, dataset.labels(), has_surroundings)


def _inputs(
    network: nn.Module, dataset: PartDataset, known: PictureFeatures | None, batch_size: int, num_workers: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Numbers of pictures, and these as the network takes them or their maps where they are known."""
    numbers = torch.arange(len(dataset)).split(batch_size)
    if known is not None:
        for images in numbers:
            yield images.tolist(), known.maps[images]
        return
    preprocessing = conversion_of(network).preprocessing
    pictures = dataset.with_transform(preprocessing.transform(), resized_to=preprocessing.input_size)
    loader = DataLoader(pictures, batch_size=batch_size, num_workers=num_workers)
    for images, batch in zip(numbers, loader, strict=True):
        yield images.tolist(), batch.image
