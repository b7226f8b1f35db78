"""What a conversion is asked for: every argument of `convert`, said and checked once."""

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, SupportsFloat

from partcnn.foundation.errors import ConfigError
from partcnn.model.competing_mask import COMPETING
from partcnn.model.mask import num_owners
from partcnn.networks.probing.layer_choice import AUTO
from partcnn.objectives.registry import default_objective, objective_named

HEADS = ("additive", "original")
_COUNTS = ("num_classes", "new_layers", "filters", "projection", "hidden", "background", "grid")
_MAY_BE_NONE = ("filters", "projection", "hidden", "background")
_NUMBERS = ("dropout", "erasing", "loss_weight")
_FLAGS = ("mask_skip", "masks", "multilabel")

_FILTERS_PER_CLASS = 32  # where no number is asked for
_COMPETING_OF_ONE, _COMPETING_OF_SEVERAL = 8, 16  # filters that compete, of one category and of several together
MANY_CLASSES = 24  # beyond, filters that compete grow with the square root of the number of classes
_MOST_HEAD_WEIGHTS = 2**25  # of the grid head: beyond, its grid is coarser
_BY_DATA_OF_ONE, _BY_DATA_OF_SEVERAL = (
    16,
    32,
)  # the same with filters="auto", before those that are no parts are dropped
# Settings that are not read where filters compete, as the record holds them.
UNREAD_BY_COMPETING: dict[str, Any] = {"masks": False, "hidden": None, "grid": 7, "places": "centroid"}
_MOST_HIDDEN = 128  # filters of the ordinary layer, unless they are asked for
# What networks were converted with before there was the choice: their files lack the entry.
_BEFORE_THE_CHOICE = {"mask_skip": True, "places": "peak"}


@dataclass(frozen=True, kw_only=True)
class ConversionSettings:
    """How a network is converted. A converted network's record holds those that it came out with (`resolved`).

    Args:
        layers: dotted module names, or "auto" alone: the deepest layer with a map of at least 12 × 12 cells, not in
            the middle of a block that makes it coarser. The additive head joins the maps of several layers at the
            finest's cells; there "auto" takes the deepest of at least 13 × 13 cells and, beside it, the deepest coarser
            block of at least 7 × 7.
        num_classes: of the task. With `head="original"` the number of outputs the network has.
        new_layers: part layers, at least 1 (this and the next three: additive head only). Above 1 the objective "auto"
            is "exact" or "labelled".
        filters: per part layer; None takes 8 filters that compete for one class and 16 for several, of more than 24
            classes 16 √(classes / 24), which is 103 for 1000; else 32 a class that owns any, at most the trunk's
            channels, but one a class. "auto", where filters compete, starts with 16 and 32, of which
            `fit` keeps those that are parts (`Conversion.drops_filters`).
        projection: channels that the trunk's maps are projected to, at most as many as they have; None or 0
            leaves them as they are. Fewer weights follow parts better on few pictures, and cost less.
        hidden: filters of an ordinary 3 × 3 layer below the part layers; None takes twice `filters`, at most 128;
            0 leaves it out.
        head: "additive" replaces what lies above the layer by part layers and a head that is linear in the masked
            maps; "original" puts masks in place, the network above and all its state-dict keys stay.
        mask_skip: original head only. True masks a layer's whole output; of a residual block that is the sum of
            its branch and its skip connection. False masks the branch alone, in the last residual block of the
            layer: what the skip connection carries passes beside the mask.
        objective: "competing" (additive head only): filters compete for every cell and tile the object; all serve all
            classes, and `hidden`, `grid`, `masks` and `places` are not read. Or a name in
            `partcnn.objectives.OBJECTIVES`, or None for no filter loss. "auto" is "competing" with the additive head
            and one part layer; else "exact", the paper's Eq. 1, where one class owns all filters, and "labelled",
            which ties each filter to a class, where several do.
        background: the class that owns no filter, or None.
        multilabel: whether a picture may show several classes or none; each logit is then that of its class alone,
            against its absence (sigmoid), and labels are marks [image, class]; without a mark, no object is shown.
        input_size: (height, width) in pixels, to choose and check layers by.
        grid: cells per side that the additive head pools each map to; fewer where classes × filters × cells would be
            more than 2²⁵ weights.
        dropout: share of the projected channels dropped in training; where filters compete, also of what each holds.
        erasing: share of the projected maps that lose a rectangle in training.
        masks: False leaves maps unmasked. With `objective=None` this is the plain network to compare with.
        places: how the place of a filter's part is read from its map: "peak", as in the paper, or "expected", the mean
            over all templates, for maps without masks (`objectives.part_places`). Nothing is trained differently.
        loss_weight: λ of each part layer.

    Raises:
        ConfigError: an argument is outside what it may be, whatever the network.
    """

    layers: tuple[str, ...] = (AUTO,)
    num_classes: int
    new_layers: int = 1
    filters: int | str | None = None
    projection: int | None = 128
    hidden: int | None = None
    head: str = "additive"
    mask_skip: bool = True
    objective: str | None = "auto"
    background: int | None = None
    multilabel: bool = False
    input_size: tuple[int, int] = (224, 224)
    grid: int = 7
    dropout: float = 0.2
    erasing: float = 0.5
    masks: bool = True
    places: str = "peak"
    loss_weight: float = 0.2

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if name != "filters" or not isinstance(value, str) or value != AUTO:
                object.__setattr__(self, name, _count(name, value, may_be_none=name in _MAY_BE_NONE))
        for name in _NUMBERS:
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        for name in _FLAGS:
            if not isinstance(getattr(self, name), (bool, int)):  # 0 and 1 are what JSON may hold
                raise ConfigError(f"{name}: expected True or False, got {getattr(self, name)!r:.50}")
        if not 0 <= self.dropout <= 1:
            raise ConfigError(f"dropout: expected a share in [0, 1], got {self.dropout}")
        if self.head not in HEADS:
            raise ConfigError(f"head: expected one of {', '.join(HEADS)}, got {self.head!r}")
        if self.num_classes < 2:
            raise ConfigError(f"num_classes: expected at least 2, got {self.num_classes}")
        if len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"layers: expected different layers, got {', '.join(self.layers)}")
        if self.new_layers < 1:
            raise ConfigError(f"new_layers: expected at least 1, got {self.new_layers}")
        if self.filters == AUTO and not self.is_competing:
            raise ConfigError(
                f"filters: 'auto' needs filters that compete, whose objective is {COMPETING!r}, got "
                f"{self.chosen_objective!r}; give a number"
            )
        if isinstance(self.filters, int) and self.filters < 1:
            raise ConfigError(f"filters: expected at least 1 per layer, 'auto' or None, got {self.filters}")
        if (self.projection or 0) < 0 or (self.hidden or 0) < 0:
            raise ConfigError(f"projection, hidden: expected channels, 0 or None, got {self.projection}, {self.hidden}")
        if self.grid < 1:
            raise ConfigError(f"grid: expected at least 1 cell per side, got {self.grid}")
        if self.is_competing and self.head != "additive":
            raise ConfigError("objective: competing needs head='additive', whose layer and head are its own")
        if self.is_competing and self.new_layers != 1:
            raise ConfigError(f"new_layers: expected 1 where filters compete, got {self.new_layers}")
        if self.background is not None and not 0 <= self.background < self.num_classes:
            raise ConfigError(
                f"background: expected a class index below {self.num_classes}, or None, got {self.background}"
            )

        if self.multilabel and self.background is not None:
            raise ConfigError(
                f"background: expected None with multilabel, where a picture without a class shows no object, got "
                f"{self.background}"
            )

    @property
    def num_owners(self) -> int:
        """How many classes own filters."""
        return num_owners(self.num_classes, self.background)

    @property
    def is_competing(self) -> bool:
        """Whether filters compete for cells, with a head and a layer of their own."""
        return self.chosen_objective == COMPETING

    @property
    def chosen_objective(self) -> str | None:
        """The objective, with the name that "auto" stands for."""
        if self.objective != AUTO:
            return self.objective
        return COMPETING if self.head == "additive" and self.new_layers == 1 else default_objective(self.num_owners)

    @property
    def chosen_filters(self) -> int | None:
        """Filters per part layer; None where their number depends on the trunk's channels, see `resolved`."""
        if isinstance(self.filters, int):
            return self.filters
        if not self.is_competing:
            return None
        of_one, of_several = _COMPETING_OF_ONE, _COMPETING_OF_SEVERAL
        if self.filters == AUTO:
            of_one, of_several = _BY_DATA_OF_ONE, _BY_DATA_OF_SEVERAL
        if self.num_owners == 1:
            return of_one
        return round(of_several * math.sqrt(max(1.0, self.num_owners / MANY_CLASSES)))

    @property
    def num_filters(self) -> int:
        """Filters per part layer of `resolved` settings."""
        assert isinstance(self.filters, int)
        return self.filters

    @property
    def num_hidden(self) -> int:
        """Filters of the ordinary layer, 0 for none, once the number of part filters is known."""
        return min(2 * self.num_filters, _MOST_HIDDEN) if self.hidden is None else self.hidden

    @property
    def of_masks(self) -> dict[str, Any]:
        """The keyword arguments of `PartMask` that follow."""
        return {
            "objective": self.objective,
            "enabled": self.masks,
            "places": self.places,
            "background": self.background,
            "loss_weight": self.loss_weight,
            "multilabel": self.multilabel,
        }

    def resolved(self, layers: tuple[str, ...], num_channels: int) -> "ConversionSettings":
        """With names, objective and number of filters in place of "auto" and None.

        Args:
            layers: those that were chosen.
            num_channels: of the first one's map.

        Raises:
            ConfigError: an unknown objective, or too few filters for the classes to share.
        """
        objective = self.chosen_objective
        if self.is_competing:
            return replace(self, layers=layers, filters=self.chosen_filters, objective=objective, **UNREAD_BY_COMPETING)
        most = max(num_channels, self.num_owners)
        filters = self.chosen_filters or min(_FILTERS_PER_CLASS * self.num_owners, most)
        is_shared_out = objective is not None and objective_named(objective).assignment == "even"
        if self.head == "additive" and is_shared_out and filters < self.num_owners:
            raise ConfigError(f"filters: expected at least one for each of {self.num_owners} classes, got {filters}")
        grid = self.grid if self.head != "additive" else self._grid_of(filters)
        return replace(self, layers=layers, objective=objective, filters=filters, grid=grid)

    def _grid_of(self, num_filters: int) -> int:
        """Cells per side: those that are asked for, or as many as the head's weights leave room for."""
        return min(self.grid, max(1, math.isqrt(_MOST_HEAD_WEIGHTS // (self.num_classes * num_filters))))

    def to_spec(self) -> dict[str, Any]:
        """Plain lists, numbers and texts, for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "ConversionSettings":
        """The inverse of `to_spec`. Entries that an earlier version did not write mean what it did.

        Raises:
            ConfigError: as of the class.
            TypeError: an unknown entry, or `num_classes` is missing.
        """
        entries: dict[str, Any] = {**_BEFORE_THE_CHOICE, **spec}
        entries |= {name: tuple(value) for name, value in spec.items() if isinstance(value, list)}
        if "objective" not in entries:
            classes = cls(num_classes=entries["num_classes"], background=entries.get("background"))
            entries["objective"] = default_objective(classes.num_owners)
        return cls(**entries)


def layers_named(layers: object) -> tuple[str, ...]:
    """One dotted name or several.

    Raises:
        ConfigError: it is something else.
    """
    names = (layers,) if isinstance(layers, str) else layers
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"layers: expected dotted names of modules, or 'auto', got {layers!r:.50}; model.named_modules() has them"
        )
    return tuple(names)


def sides(input_size: object) -> tuple[int, int]:
    """(height, width), whole numbers from 1.

    Raises:
        ConfigError: it is something else.
    """
    if isinstance(input_size, Sequence) and len(input_size) == 2 and not isinstance(input_size, str):
        height, width = (_whole(side) for side in input_size)
        if height is not None and width is not None and min(height, width) > 0:
            return height, width
    raise ConfigError(f"input_size: expected (height, width) in whole pixels from 1, got {input_size!r:.50}")


def _count(name: str, value: object, *, may_be_none: bool) -> int | None:
    count = _whole(value)
    if count is None and not (value is None and may_be_none):
        raise ConfigError(f"{name}: expected a whole number{' or None' * may_be_none}, got {value!r:.50}")
    return count


def _whole(value: object) -> int | None:
    """As a number of Python's, also of numpy's and of a tensor of one; None of anything else."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _number(name: str, value: object) -> float:
    if isinstance(value, (int, float)):
        return value
    try:
        return float(value if isinstance(value, SupportsFloat) else "no number")
    except (TypeError, ValueError, RuntimeError):
        raise ConfigError(f"{name}: expected a number, got {value!r:.50}") from None
