"""The part mask: keeps what lies around each map's peak, and holds what the filter objective has learned."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError, LayerError, ShapeError
from partcnn.foundation.labels import are_marks, class_marks, shows_category
from partcnn.foundation.ranks import ONE_PROCESS, Ranks, joined_ranks
from partcnn.objectives.category_memory import CategoryMemory
from partcnn.objectives.diversity import diversity
from partcnn.objectives.equivariance import equivariance
from partcnn.objectives.fitness import at_least_float32, in_full_precision
from partcnn.objectives.objective import Objective
from partcnn.objectives.part_places import FITNESS_SCALE, check_places, part_places
from partcnn.objectives.registry import objective_named
from partcnn.objectives.templates import part_mask, peak_templates
from partcnn.objectives.values import ObjectiveValue

ASSIGNMENTS = ("even", "activation")
ALL_CATEGORIES = "all categories"  # what filters serve that serve every class of objects alike, as a name to show
_NOTHING_YET = "none by this network (a copy has seen none); call model(images) first"
_MOMENTUM = 0.1  # of the running statistics; the authors' code keeps 0.9 of the old value too
_SLOPE_RATE = 0.02  # of a learned β: the authors' multiplier, learning rate and momentum together, per step


class PartMask(nn.Module):
    """Keeps, of each filter's map, what lies around its peak, and holds what the filter objective has learned.

    It is a layer of its own and also the hook of another layer: `layer.register_forward_hook(mask.hook)`.
    The forward pass reads no labels. The maps of the last forward pass stay in `feature_maps` (after the ReLU,
    before the mask), with their graph, until the next one: `filter_loss` and the measurements read them there.

    In training on several devices a batch is that of all ranks of torch.distributed's default group: losses and
    statistics sum over the pictures of all (`partcnn.foundation.ranks`), and every rank asks for every loss. In
    evaluation mode each rank's are its own.

    Asking for a loss changes nothing but once: the first request for the filter objective of a pass, in training mode,
    has the mask `observe` that pass, and the loss then reads the statistics with that pass in them. Every further
    request for the same pass finds them as they are. Where a step makes several passes, each is observed with its
    own first request.

    Args:
        num_filters, num_classes: at least 1.
        objective: a name in `partcnn.objectives.OBJECTIVES`, or None: no filter loss.
        enabled: False passes the maps through unchanged (the plain network to compare with).
        background: the class that owns no filter (pictures without an object), or None.
        assignment: which category a filter serves. "even" shares the filters out over the classes from the
            start; "activation" is the paper's argmax over classes of the mean activation, followed while
            training. None takes what the objective asks for: "even" for "labelled", "activation" for the others.
        loss_weight: λ of this layer's filter loss.
        fitness_scale: n²τ for maps whose mean peak is 1. Maps are divided by the running mean of their peaks
            before the objective, and τ = fitness_scale / n². The paper's 0.5 on unscaled activations gives a
            loss of about 1e-4 nats, which teaches nothing.
        beta: slope of the templates; the start value where the objective learns it, as "official" does.
        is_signed: the maps may be negative, as on a residual branch. The mask then keeps both signs around the
            peak, and the positive part of the maps is what counts as `feature_maps`.
        places: how a filter's place is read from its map when it is measured or shown: "peak", where the mask is, or
            "expected", for a mask that is not enabled (`partcnn.objectives.part_places`).
        memory: maps of each filter's own category, from earlier batches, that an objective which asks for them
            ("labelled") counts beside the batch's in training, where several classes own filters
            (`category_memory`); `equivariance` counts half as many pictures, of which a batch holds two maps each.
            They are no part of the state. 0: none.
        multilabel: whether labels are marks [image, class], see `foundation.labels`, and not class indices.

    Attributes:
        feature_maps: [image, filter, row, col] of the last forward pass, ≥ 0, or None.
        mean_peak: buffer, scalar: running mean of the maps' peaks; 0 before the first training batch.
        filter_category: buffer [filter]: the class each filter serves.
        class_activation: buffer [filter, class]: running mean of the summed activation on each class.
        slopes: buffer [filter], only where the objective learns it: β.
        num_views: of each picture in a batch, all first views first: the order of the pictures that several ranks have.
        joins_ranks: False: a rank's losses and statistics are of its own pictures, also in training.
        is_shared: the filters serve all classes but the background alike, whatever `filter_category` says.

    The buffers change in `observe` alone.
    """

    mean_peak: Tensor
    filter_category: Tensor
    class_activation: Tensor
    slopes: Tensor
    is_shared = False
    num_views = 1
    joins_ranks = True

    def __init__(
        self,
        num_filters: int,
        num_classes: int,
        *,
        objective: str | None = "labelled",
        enabled: bool = True,
        background: int | None = None,
        assignment: str | None = None,
        loss_weight: float = 0.2,
        fitness_scale: float = FITNESS_SCALE,
        beta: float = 4.0,
        is_signed: bool = False,
        places: str = "peak",
        memory: int = 0,
        multilabel: bool = False,
    ) -> None:
        super().__init__()
        row = _row(objective)
        assignment = assignment or row.assignment
        if assignment not in ASSIGNMENTS:
            raise ConfigError(f"assignment: expected one of {', '.join(ASSIGNMENTS)}, got {assignment!r}")
        if not (loss_weight >= 0 and fitness_scale > 0 and beta > 0):
            raise ConfigError(
                "loss_weight, fitness_scale, beta: expected λ ≥ 0 and the others above 0, "
                f"got {loss_weight}, {fitness_scale}, {beta}"
            )
        if memory < 0:
            raise ConfigError(f"memory: expected at least 0 maps, got {memory}")
        check_places(places)
        if enabled and places != "peak":
            raise ConfigError(f"places: expected peak with a mask, which is about the peak, got {places}")
        self.num_filters, self.num_classes = num_filters, num_classes
        self.places, self.memory, self.multilabel = places, memory, multilabel
        self._remembered: dict[str, CategoryMemory] = {}
        self._observed: tuple[str, ...] = ()  # what was observed of the last forward pass: "maps", "points"
        self._slopes_before: Tensor | None = None  # β as that pass had it, once it is observed
        self.objective, self.enabled, self.background = objective, enabled, background
        self.assignment, self.loss_weight = assignment, loss_weight
        self.fitness_scale, self.beta, self.is_signed = fitness_scale, beta, is_signed
        self.feature_maps: Tensor | None = None
        self._instead_of_maps = _NOTHING_YET  # where there are none, in an error's words
        self.register_buffer("mean_peak", torch.zeros(()))
        self.register_buffer("filter_category", _even_categories(num_filters, num_classes, background))
        self.register_buffer("class_activation", torch.zeros(num_filters, num_classes))
        if row.slope_target is not None:
            self.register_buffer("slopes", torch.full((num_filters,), float(beta)))

    def forward(self, feature_maps: Tensor) -> Tensor:
        """[image, filter, row, col], ≥ 0 unless `is_signed` → the masked maps (unchanged when not `enabled`)."""
        if is_within_transform():
            self.release()  # maps that a transform of torch.func wraps mean nothing outside of it
            self._instead_of_maps = "one within torch.func, whose maps cannot be kept; call model(images) outside of it"
        elif not is_backward_pass():
            self.feature_maps = feature_maps.clamp(min=0) if self.is_signed else feature_maps
            self._observed, self._slopes_before = (), None
        return self.masked(feature_maps)

    def masked(self, feature_maps: Tensor) -> Tensor:
        """What the layers above see of these maps; records nothing."""
        if not self.enabled:
            return feature_maps
        if self.is_signed:
            return feature_maps * peak_templates(feature_maps, beta=self.template_slope)
        return part_mask(feature_maps, beta=self.template_slope)

    def part_cells(self, feature_maps: Tensor, places: str | None = None) -> Tensor:  # [image, filter, 2] (row, col)
        """`partcnn.objectives.part_places.part_places` of maps before the mask; by default as this mask reads them."""
        return part_places(feature_maps, places or self.places, beta=self.template_slope)

    def peak_scores(self, feature_maps: Tensor) -> Tensor:  # [image, filter, row, col] → [image, filter]
        """The activation at each filter's peak; 0 where the filter is silent: its part is not seen in the picture."""
        return feature_maps.amax(dim=(2, 3))

    def rest_of(self, feature_maps: Tensor) -> Tensor | None:  # [image, filter, row, col] → [image, row, col]
        """What is left of each cell to none of the filters, where the maps are shares of cells; else None."""
        return None

    def hook(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        """A forward hook. A bound method, so that a deep copy of the network calls its own copy of the mask."""
        masked: Tensor = self(output)
        return masked.clone() if masked is output else masked  # a layer behind may change in place what it is given

    def filter_objective(self, labels: Tensor, objective: str | None = None) -> ObjectiveValue:
        """The objective over the maps of the last forward pass, in float32.

        In training mode the first request for a pass has it observed before the value is computed (`observe`). Asked
        again about the same pass, nothing changes, neither the value nor the statistics nor what is remembered.

        Args:
            labels: [image] class indices of the pictures of that pass, or [image, class] marks, see
                `foundation.labels`.
            objective: a name to use in place of the mask's own; where neither is given: a loss of 0. What is observed
                hangs on the mask's own alone.

        Raises:
            ShapeError: not one label per image.
            ConfigError: no forward pass yet, or an unknown objective.
        """
        maps = self._recorded(labels)
        name = objective or self.objective
        row, ranks = _row(name), self.ranks
        if self.training and (len(maps) or ranks.size > 1) and "maps" not in self._observed:
            self.observe(maps, labels)
        belongs, tau = self._belongs_and_tau(maps, labels)
        joining = _joining(row, ranks)
        beta = self.template_slope if self._slopes_before is None else self._slopes_before
        if row.counts_earlier and name == self.objective and self._counts_earlier("maps", maps):
            kept, is_kept = self._memory_of("maps").recalled(maps, self.filter_category)
            return row.with_earlier(maps, belongs, kept, is_kept, tau=tau, beta=beta, **joining)
        return row(maps, belongs, tau=tau, beta=beta, **joining)

    @torch.no_grad()
    def observe(self, maps: Tensor, labels: Tensor) -> None:
        """Take the maps of one forward pass into the statistics: what the filter loss learns beside the weights.

        What comes out other than finite, of maps that are not, is left as it was. Updates `mean_peak` and
        `class_activation`; `filter_category` where the assignment is by activation; the maps
        that later batches remember, and `slopes`, where the mask's objective asks for them. Every call is one more
        observation. A loop of one's own need not call it: the filter loss does, once a pass, in training mode.

        Args:
            maps: [image, filter, row, col], after the ReLU and before the mask, of at least one image on one rank.
            labels: [image] class indices, or [image, class] marks, see `foundation.labels`.
        """
        row, ranks = _row(self.objective), self.ranks
        if maps is self.feature_maps and "maps" not in self._observed:
            self._observed = (*self._observed, "maps")
            self._slopes_before = self.slopes.clone() if row.slope_target is not None else None
        with in_full_precision(maps.device):
            self._observe_activation(maps, labels)
            belongs = shows_category(labels, self.filter_category)
            if row.counts_earlier and self._memory_size("maps"):
                self._memory_of("maps").remember(maps, belongs, self.filter_category, ranks)
            if row.slope_target is not None:
                target = row.slope_target(maps, belongs, beta=self.slopes, **_joining(row, ranks)).to(self.slopes)
                keep_finite(self.slopes, self.slopes.lerp(target, _SLOPE_RATE))

    def equivariance(self, labels: Tensor, frames: Tensor, centers: tuple[Tensor, Tensor]) -> Tensor:  # [filter]
        """`partcnn.objectives.equivariance.equivariance` of the maps of the last forward pass, in float32.

        The statistics are read and stay as they are. What later batches remember of these pictures, where `memory`
        asks for it, is remembered once a pass.

        Args:
            labels: [2 · picture] class indices: of the first views, then of the second views.
            frames, centers: see there.

        Raises:
            ShapeError: shapes that do not fit together.
            ConfigError: no forward pass yet.
        """
        maps = self._recorded(labels)
        belongs, tau = self._belongs_and_tau(maps, labels)
        earlier = None
        if self._counts_earlier("points", maps):
            earlier = partial(self._earlier_points, belongs=belongs[: len(maps) // 2])
        beta = self.template_slope
        return equivariance(maps, belongs, frames, centers, tau=tau, beta=beta, earlier=earlier, ranks=self.ranks)

    def diversity(self, labels: Tensor) -> Tensor:  # scalar
        """`partcnn.objectives.diversity.diversity` of the maps of the last forward pass, in float32.

        Args:
            labels: [image] class indices of the pictures of that pass, or [image, class] marks, see
                `foundation.labels`.

        Raises:
            ShapeError: not one label per image.
            ConfigError: no forward pass yet.
        """
        maps = self._recorded(labels)
        belongs, tau = self._belongs_and_tau(maps, labels)
        return diversity(maps, belongs, tau=tau, beta=self.template_slope, ranks=self.ranks)

    def forget(self) -> None:
        """Empty the memory: other pictures, or other weights, are to come."""
        self._remembered.clear()

    def remembered(self) -> dict[str, Any]:
        """The memory, which is no part of the network's state, for a training that will go on: tensors by name."""
        return {what: memory.state_dict() for what, memory in self._remembered.items()}

    def remember_again(self, state: Mapping[str, Any]) -> None:
        """What `remembered` gave."""
        self.forget()
        for what, of_memory in state.items():
            self._memory_of(what).load_state_dict(of_memory)

    def release(self) -> None:
        """Let go of what the last forward pass recorded, and of its graph."""
        if self.feature_maps is not None:
            self._instead_of_maps = "one whose maps were let go, as explain and evaluate do; call model(images) again"
        self.feature_maps = None

    @property
    def ranks(self) -> Ranks:
        """Those that share a batch with this one."""
        return joined_ranks(self.num_views) if self.training and self.joins_ranks else ONE_PROCESS

    @property
    def serves_all(self) -> bool:
        """Several classes of objects share every filter."""
        return self.is_shared and num_owners(self.num_classes, self.background) > 1

    @property
    def has_loss(self) -> bool:
        """Whether the filter loss asks anything of these filters."""
        return self.objective is not None and self.loss_weight > 0

    @property
    def template_slope(self) -> float | Tensor:
        """β: a number, or [filter] where it is learned."""
        return self.slopes if "slopes" in self._buffers else self.beta

    def extra_repr(self) -> str:
        return (
            f"{self.num_filters} filters, objective={self.objective}, enabled={self.enabled}, "
            f"loss_weight={self.loss_weight:g}"
        )

    def __getstate__(self) -> dict[str, Any]:
        # Maps with a graph can be neither copied nor pickled, and belong to one forward pass only.
        of_a_pass = {"feature_maps": None, "_instead_of_maps": _NOTHING_YET, "_observed": (), "_slopes_before": None}
        return {**self.__dict__, **of_a_pass, "_remembered": {}}

    def _counts_earlier(self, what: str, maps: Tensor) -> bool:
        return self.training and (len(maps) > 0 or self.ranks.size > 1) and self._memory_size(what) > 0

    def _memory_size(self, what: str) -> int:
        """How many "maps" or "points" of each category are remembered; 0 where one class alone owns the filters."""
        if num_owners(self.num_classes, self.background) < 2:
            return 0
        return self.memory if what == "maps" else self.memory // 2  # a batch holds two maps of each picture

    def _memory_of(self, what: str) -> CategoryMemory:
        memory = self._remembered.get(what)
        if memory is None or memory.size != self._memory_size(what):
            memory = self._remembered[what] = CategoryMemory(self._memory_size(what))
        return memory

    def _earlier_points(self, points: Tensor, *, belongs: Tensor) -> tuple[Tensor, Tensor]:
        """What is remembered of earlier batches' points; these are remembered for later ones, once a pass."""
        memory = self._memory_of("points")
        if "points" not in self._observed:
            memory.remember(points, belongs, self.filter_category, self.ranks.of_pictures)
            self._observed = (*self._observed, "points")
        return memory.recalled(points, self.filter_category)

    def _observe_activation(self, maps: Tensor, labels: Tensor) -> None:
        """Running means over batches, and the categories that follow from them."""
        ranks = self.ranks
        peak = ranks.mean(maps.amax(dim=(2, 3)).to(self.mean_peak))
        keep_finite(self.mean_peak, torch.where(self.mean_peak > 0, self.mean_peak.lerp(peak, _MOMENTUM), peak))
        activation = maps.sum(dim=(2, 3), dtype=self.mean_peak.dtype)  # [image, filter]
        is_class = class_marks(labels, self.num_classes).to(activation)
        counts = ranks.sum(is_class)
        mean = ranks.total(activation.T @ is_class) / counts.clamp(min=1)  # [filter, class]
        blend = torch.where(self.class_activation > 0, self.class_activation.lerp(mean, _MOMENTUM), mean)
        keep_finite(self.class_activation, torch.where(counts > 0, blend, self.class_activation))
        if self.assignment == "activation":
            self.filter_category.copy_(self._most_active_category())

    def _most_active_category(self) -> Tensor:  # [filter]
        activation = self.class_activation.clone()
        if self.background is not None:
            activation[:, self.background] = -torch.inf
        return activation.argmax(dim=1)

    def _belongs_and_tau(self, maps: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Which image belongs to which filter, and the τ that suits the maps' scale: their fitness is that of maps
        whose mean peak is 1 with τ = fitness_scale / n², and no scaled copy of them is made."""
        belongs = shows_category(labels, self.filter_category)
        return belongs, self.fitness_scale / (maps.shape[2] * maps.shape[3]) / self._scale(maps)

    def _scale(self, maps: Tensor) -> Tensor:
        """What divides the maps: the running mean peak, or this batch's where nothing was observed yet."""
        batch = self.ranks.mean(maps.detach().amax(dim=(2, 3)).to(self.mean_peak))
        scale = torch.where(self.mean_peak > 0, self.mean_peak, batch)
        return torch.where(scale > 0, scale, 1.0)

    def _recorded(self, labels: Tensor) -> Tensor:
        if is_within_transform():
            raise ConfigError(
                "filter_loss: expected a call outside of torch.func (grad, vmap, jvp, …), got one within; the loss "
                "reads what the masks recorded and learns statistics: take loss.backward() or torch.autograd.grad"
            )
        if self.feature_maps is None:
            raise ConfigError(f"filter_loss: expected a forward pass just before it, got {self._instead_of_maps}")
        maps = self.feature_maps
        check_tensor(labels, "labels", "[image, class] of marks" if self.multilabel else "[image] of class indices")
        if labels.device != maps.device:
            raise ShapeError(f"labels: expected them on {maps.device} as the maps are, got {labels.device}")
        if self.multilabel and labels.shape != (len(maps), self.num_classes):
            raise ShapeError(
                f"labels: expected {[len(maps), self.num_classes]} marks, 1 of each class that an image of the "
                f"last forward pass shows, got {labels.dtype} {tuple(labels.shape)}"
            )
        if not self.multilabel and (labels.shape != maps.shape[:1] or labels.is_floating_point()):
            raise ShapeError(
                f"labels: expected {len(maps)} class indices, one per image of the last forward pass, "
                f"got {labels.dtype} {tuple(labels.shape)}; marks of several classes need convert(multilabel=True)"
            )
        if labels.device.type == "cpu" and len(labels):  # only where looking does not wait for a device
            self._check_values(labels)
        return maps

    def _check_values(self, labels: Tensor) -> None:
        if not are_marks(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_classes:
            raise ShapeError(
                f"labels: expected class indices below {self.num_classes}, "
                f"got {int(labels.min())} to {int(labels.max())}"
            )
        if are_marks(labels) and not bool(((labels == 0) | (labels == 1)).all()):
            raise ShapeError(
                f"labels: expected marks of 0 or 1, got {float(labels.min())} to {float(labels.max())}; a loss of "
                "softened labels takes these, the filter loss the marks"
            )


def part_masks(model: nn.Module) -> Iterator[tuple[str, PartMask]]:
    """The part masks of a network by dotted name, in the order of the forward pass as far as names tell.

    Raises:
        LayerError: there is none.
    """
    if not isinstance(model, nn.Module):
        raise LayerError(f"model: expected a network with part filters, got a {type(model).__name__}")
    masks = [(name, module) for name, module in model.named_modules() if isinstance(module, PartMask)]
    if not masks:
        raise LayerError("model: expected a network with part filters, got one without; see partcnn.convert")
    yield from masks


def top_mask(model: nn.Module) -> tuple[str, PartMask]:
    """The part mask of the top part layer, whose filters make the logits, and its dotted name.

    Raises:
        LayerError: the network has no part masks.
    """
    *_, top = part_masks(model)
    return top


def num_owners(num_classes: int, background: int | None) -> int:
    """How many classes own filters: all but the background."""
    return num_classes - (background is not None)


def is_backward_pass() -> bool:
    """Whether layers run within the backward pass: an activation checkpoint runs them again there, which is no new look
    at pictures."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def check_tensor(value: object, argument: str, expected: str) -> None:
    """Whether a tensor, or what stands for one while torch.fx traces, is where one belongs.

    Raises:
        ShapeError: a list, an array or a number does.
    """
    if not isinstance(value, (Tensor, torch.fx.Proxy)):
        raise ShapeError(
            f"{argument}: expected a tensor {expected}, got a {type(value).__name__}; torch.as_tensor makes one"
        )


def is_within_transform() -> bool:
    """Whether layers run within torch.func.grad, vmap, jvp or their like."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None


def keep_finite(buffer: Tensor, values: Tensor) -> None:
    """Set a buffer where the new values are finite; one bad batch spoils no statistic."""
    buffer.copy_(torch.where(values.isfinite(), values, buffer))


def _joining(row: Objective, ranks: Ranks) -> dict[str, Ranks]:
    """What tells an objective of the ranks that share a batch, where it asks and there are several."""
    return {"ranks": ranks} if row.joins_ranks and ranks.size > 1 else {}


def _row(objective: str | None) -> Objective:
    return Objective(_no_objective) if objective is None else objective_named(objective)


def _no_objective(maps: Tensor, belongs: Tensor, **_: Any) -> ObjectiveValue:
    """A loss of 0 with a graph."""
    return ObjectiveValue(at_least_float32(maps).sum(dim=(0, 2, 3)) * 0, {})


def _even_categories(num_filters: int, num_classes: int, background: int | None) -> Tensor:
    owners = [label for label in range(num_classes) if label != background]
    if not owners:
        raise ConfigError(f"num_classes: expected a class beside the background, got {num_classes} in all")
    return torch.tensor([owners[index % len(owners)] for index in range(num_filters)])
