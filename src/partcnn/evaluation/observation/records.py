"""What the bootstrap needs of single pictures: of all, or of a sample of a large data set drawn beforehand."""

import torch
from torch import Tensor


class PictureRecords:
    """A few numbers per picture and filter, of at most so many pictures.

    Args:
        num_pictures: of the data set.
        num_parts: of the hits.
        most: recorded; of more pictures so many are drawn.

    Attributes:
        is_wanted: [picture] bool: those that are recorded.
    """

    def __init__(self, num_pictures: int, num_parts: int, *, most: int) -> None:
        self.is_wanted = torch.ones(num_pictures, dtype=torch.bool)
        if num_pictures > most:
            order = torch.randperm(num_pictures, generator=torch.Generator().manual_seed(0))
            self.is_wanted[order[most:]] = False
        self._num_parts = num_parts
        self._rows: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
        self._hits: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, index: Tensor, labels: Tensor, is_right: Tensor, sums: Tensor) -> None:
        """[image], [image] a group of each, [image] bool, [image, filter] summed activation."""
        wanted = self.is_wanted[index]
        self._rows.append((index[wanted], labels[wanted], is_right[wanted], sums[wanted]))

    def add_hits(self, index: Tensor, shown: Tensor, pointing: Tensor) -> None:
        """Of pictures that show a part: [image], [image, part] bool, [image, filter, part] bool."""
        wanted = self.is_wanted[index]
        for number, parts, hits in zip(index[wanted].tolist(), shown[wanted], pointing[wanted], strict=True):
            self._hits[number] = (parts, hits)

    def of_group(self, label: int) -> tuple[Tensor, Tensor, Tensor]:
        """The pictures of a group: index [image], is_right [image] bool, sums [image, filter]."""
        index, labels, is_right, sums = (torch.cat(columns) for columns in zip(*self._rows, strict=True))
        own = labels == label
        return index[own], is_right[own], sums[own]

    def shown(self, index: Tensor) -> Tensor:
        """[image, part] bool: the parts that these pictures show."""
        nothing = torch.zeros(self._num_parts, dtype=torch.bool)
        return torch.stack([self._hits[number][0] if number in self._hits else nothing for number in index.tolist()])

    def pointing(self, index: Tensor, filters: Tensor) -> Tensor:
        """[image, filter, part] bool: hits of some filters in these pictures."""
        nothing = torch.zeros(len(filters), self._num_parts, dtype=torch.bool)
        found = [self._hits[number][1][filters] if number in self._hits else nothing for number in index.tolist()]
        return torch.stack(found)
