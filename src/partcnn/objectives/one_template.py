"""Objectives that hold each map against one template: the paper's Eq. 4, and its authors' code."""

import math

import torch
from torch import Tensor

from partcnn.foundation.ranks import ONE_PROCESS, Ranks
from partcnn.objectives.fitness import at_least_float32, check_templates, checked_maps, template_fitness
from partcnn.objectives.templates import map_peaks, template_prior
from partcnn.objectives.values import ObjectiveValue, nothing, value_of


def assigned(
    feature_maps: Tensor,
    belongs: Tensor,
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    ranks: Ranks = ONE_PROCESS,
) -> ObjectiveValue:
    """The paper's one-template rule, Eq. 4, with the sign that decreases Eq. 1 (the paper prints the other).

    T̂ is the template of the map's own peak where the image belongs to the filter's category, T⁻ elsewhere:
    ∂loss/∂x_ij = −p(T̂) t̂_ij p(x|T̂) log( p(x|T̂) / p(x) ), with Z_T and p(x) constants taken over this batch,
    that of all `ranks`.

    Returns:
        The share of Eq. 1 that the rule keeps, −Σ_x p(T̂) p(x|T̂) log( p(x|T̂) / p(x) ); its gradient is the
        rule above, not the derivative of this value. Terms: the shares `positive` and `negative`.

    Raises:
        ShapeError: maps, `belongs` or β have the wrong shape.
        ConfigError: τ, or β as a number, is not positive.
    """
    maps = at_least_float32(checked_maps(feature_maps, belongs))
    if maps.shape[0] == 0 and ranks.size == 1:
        return nothing(maps, "positive", "negative")
    prior = template_prior((maps.shape[2], maps.shape[3]), dtype=maps.dtype, device=maps.device)
    fitness = template_fitness(maps, tau=tau, beta=beta)
    peaks = map_peaks(maps.detach())
    own = torch.where(belongs, 1 + peaks[..., 0] * maps.shape[3] + peaks[..., 1], 0)[..., None]
    with torch.no_grad():
        log_p_x_given_t = ranks.log_softmax(fitness)
        log_p_x = (log_p_x_given_t + prior.log()).logsumexp(dim=2)
        log_p_own = log_p_x_given_t.gather(2, own)[..., 0]
        strength = prior[own[..., 0]] * log_p_own.exp() * (log_p_own - log_p_x)
    value = -strength
    surrogate = value * fitness.gather(2, own)[..., 0]
    per_image = value + (surrogate - surrogate.detach())  # the value of the first, the gradient of the second
    return value_of(
        ranks.sum(per_image),
        positive=ranks.sum((per_image * belongs).detach()),
        negative=ranks.sum((per_image * ~belongs).detach()),
    )


def official(
    feature_maps: Tensor,
    belongs: Tensor,
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    ranks: Ranks = ONE_PROCESS,
) -> ObjectiveValue:
    """The rule of the authors' published code, which differs from their paper.

    The template sits at the rounded centroid of the map, Z comes from mismatched templates of the batch,
    log p(x) is dropped, and strengths are divided by their mean: with T̂ the template at the centroid,

        e = s_T̂(x),  ŝ = exp(e) (e − log Z⁺ + 1) / mean,  log Z⁺ = log mean_x exp s_{T of another map}(x)

    on images of the filter's category, and the same with T⁻ elsewhere. Their exponent has τ = 2/n²; where all
    filters share one category images weigh 1, otherwise 0.5/density of their kind, as in their code. See
    `centroid_slopes` for the learned β.

    Among `ranks` a map's centroid is told to all, two numbers, since another map is held against its template.

    Returns:
        mean over images of −w⁺ ŝ e (belongs) and −w⁻ ŝ e⁻ (others), ŝ held constant. The authors compute no
        value: this is the function whose gradient is their rule. A strength whose mean is 0 or not finite is
        0 (their code relies on MATLAB's max and min ignoring NaN). Terms: `positive` and `negative`.

    Raises:
        ShapeError: maps, `belongs` or β have the wrong shape.
        ConfigError: τ, or β as a number, is not positive.
    """
    maps = at_least_float32(checked_maps(feature_maps, belongs))
    check_templates(tau, beta, maps.shape[1])
    if maps.shape[0] == 0 and ranks.size == 1:
        return nothing(maps, "positive", "negative")
    cells = _centroid_cells(maps.detach())
    templates = tau * _templates_at(cells, maps, beta)
    present = (maps * templates).sum(dim=(2, 3))
    if ranks.size > 1:  # the template of the map that is as far from the end as this one from the start
        opposite = ranks.joined(cells).flip(0)[ranks.places(cells)]
        mismatched = (maps.detach() * tau * _templates_at(opposite, maps, beta).flip(1)).sum(dim=(2, 3))
    else:
        mismatched = (maps.detach() * templates.flip(0, 1)).sum(dim=(2, 3))
    absent = -tau * maps.sum(dim=(2, 3))
    positive = _normalised_strength(present.detach(), mismatched, belongs, ranks)
    negative = _normalised_strength(absent.detach(), absent.detach(), ~belongs, ranks)
    num_images = ranks.count(maps)
    density = ranks.sum(belongs.to(maps)) / num_images
    least = density.new_ones(()) / num_images
    has_one_category = ranks.total((belongs != belongs[:, :1]).sum()) == 0
    weight_positive = torch.where(has_one_category, 1.0, 0.5 / density.clamp(min=least))
    weight_negative = torch.where(has_one_category, 1.0, 0.5 / (1 - density).clamp(min=least))
    of_belonging, of_others = weight_positive * positive * present, weight_negative * negative * absent
    per_image = -torch.where(belongs, of_belonging, of_others) / num_images
    return value_of(
        ranks.sum(per_image),
        positive=ranks.sum((per_image * belongs).detach()),
        negative=ranks.sum((per_image * ~belongs).detach()),
    )


def centroid_slopes(
    feature_maps: Tensor, belongs: Tensor, *, beta: Tensor, ranks: Ranks = ONE_PROCESS
) -> Tensor:  # [filter]
    """The β that the authors' code moves each filter towards: the narrower the map, the steeper the template.

    In their normalised coordinates 3 / (mean spatial deviation in cells), clipped to [1.5, 3]; here in the
    paper's units, 2n / max(n−1, 1) times that. Their mean over images weighs by strength; ours is plain, because
    strengths may be negative. A filter without an image that belongs, or silent on them, keeps its β.
    """
    maps = at_least_float32(checked_maps(feature_maps, belongs).detach())
    height, width = maps.shape[2:]
    side = math.sqrt(height * width)
    mass = maps.sum(dim=(2, 3))
    squared = _squared_distances_from_centroid(maps)
    deviation = ((maps * squared).sum(dim=(2, 3)) / mass.clamp(min=1e-9)).sqrt()
    counts = belongs & (mass > 0)
    num_counted = ranks.sum(counts)
    mean_deviation = ranks.sum(deviation * counts) / num_counted.clamp(min=1)
    normalised = (3 / mean_deviation.clamp(min=1e-9)).clamp(1.5, 3.0)
    return torch.where(num_counted > 0, normalised * 2 * side / max(side - 1, 1), beta)


def _normalised_strength(
    exponent: Tensor, partition_exponent: Tensor, counted: Tensor, ranks: Ranks = ONE_PROCESS
) -> Tensor:
    """exp(e)(e − log Z + 1), divided by its mean over the counted images; [image, filter], no gradient."""
    log_partition = _log_mean_exp(partition_exponent, ranks)
    top = ranks.largest(exponent.masked_fill(~counted, -torch.inf))
    shift = top.nan_to_num(neginf=0.0)  # cancels in the division, and exp cannot overflow
    strength = ((exponent - shift).exp() * (exponent - log_partition + 1)).masked_fill(~counted, 0)
    mean = ranks.sum(strength) / ranks.sum(counted).clamp(min=1)
    usable = mean.isfinite() & (mean != 0)
    return torch.where(usable, strength / torch.where(usable, mean, 1.0), 0.0)


def _log_mean_exp(values: Tensor, ranks: Ranks) -> Tensor:  # [image, filter] → [filter]
    """Over the images of all ranks."""
    if ranks.size == 1:
        return values.logsumexp(dim=0) - math.log(len(values))
    top = ranks.largest(values)
    return top + (ranks.sum((values - top).exp()) / ranks.count(values)).log()


def _templates_at(cells: Tensor, maps: Tensor, beta: float | Tensor) -> Tensor:
    """Templates of height 1 at a cell (row, col) of each map: [image, filter, row, col]; no gradient."""
    height, width = maps.shape[2:]
    rows, cols = _gaps(cells, maps)
    slope = beta.to(maps)[:, None, None] if isinstance(beta, Tensor) else beta
    distances = rows.abs()[..., :, None] + cols.abs()[..., None, :]
    return (1 - slope * distances / math.sqrt(height * width)).clamp(min=-1)


def _squared_distances_from_centroid(maps: Tensor) -> Tensor:
    rows, cols = _gaps(_centroid_cells(maps), maps)
    return rows.square()[..., :, None] + cols.square()[..., None, :]


def _centroid_cells(maps: Tensor) -> Tensor:  # [image, filter, 2]
    """The rounded activation-weighted centroid (row, col) of every map."""
    rows = torch.arange(maps.shape[2], device=maps.device, dtype=maps.dtype)
    cols = torch.arange(maps.shape[3], device=maps.device, dtype=maps.dtype)
    mass = maps.sum(dim=(2, 3)).clamp(min=1e-9)  # an all-zero map has its centroid at cell (0, 0)
    # Halves round up, as in MATLAB; torch's round would take the even cell.
    row = ((maps.sum(dim=3) @ rows) / mass + 0.5).floor()
    col = ((maps.sum(dim=2) @ cols) / mass + 0.5).floor()
    return torch.stack([row, col], dim=-1)


def _gaps(cells: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of every cell relative to a cell of each map: [image, filter, row], [.., col]."""
    rows = torch.arange(maps.shape[2], device=maps.device, dtype=maps.dtype)
    cols = torch.arange(maps.shape[3], device=maps.device, dtype=maps.dtype)
    return rows - cells[..., :1], cols - cells[..., 1:]
