"""Objectives that hold each map against one template: the paper's Eq. 4, and its authors' code."""

import math

import torch
from torch import Tensor

from partcnn.objectives.fitness import at_least_float32, check_templates, checked_maps, template_fitness
from partcnn.objectives.templates import map_peaks, template_prior
from partcnn.objectives.values import ObjectiveValue, nothing, value_of


def assigned(
    feature_maps: Tensor, belongs: Tensor, *, tau: float | Tensor, beta: float | Tensor = 4.0
) -> ObjectiveValue:
    """The paper's one-template rule, Eq. 4, with the sign that decreases Eq. 1 (the paper prints the other).

    T̂ is the template of the map's own peak where the image belongs to the filter's category, T⁻ elsewhere:
    ∂loss/∂x_ij = −p(T̂) t̂_ij p(x|T̂) log( p(x|T̂) / p(x) ), with Z_T and p(x) constants taken over this batch.

    Returns:
        The share of Eq. 1 that the rule keeps, −Σ_x p(T̂) p(x|T̂) log( p(x|T̂) / p(x) ); its gradient is the
        rule above, not the derivative of this value. Terms: the shares `positive` and `negative`.

    Raises:
        ShapeError: maps, `belongs` or β have the wrong shape.
        ConfigError: τ, or β as a number, is not positive.
    """
    maps = at_least_float32(checked_maps(feature_maps, belongs))
    if maps.shape[0] == 0:
        return nothing(maps, "positive", "negative")
    prior = template_prior((maps.shape[2], maps.shape[3]), dtype=maps.dtype, device=maps.device)
    fitness = template_fitness(maps, tau=tau, beta=beta)
    peaks = map_peaks(maps.detach())
    own = torch.where(belongs, 1 + peaks[..., 0] * maps.shape[3] + peaks[..., 1], 0)[..., None]
    with torch.no_grad():
        log_p_x_given_t = fitness.log_softmax(dim=0)
        log_p_x = (log_p_x_given_t + prior.log()).logsumexp(dim=2)
        log_p_own = log_p_x_given_t.gather(2, own)[..., 0]
        strength = prior[own[..., 0]] * log_p_own.exp() * (log_p_own - log_p_x)
    value = -strength
    surrogate = value * fitness.gather(2, own)[..., 0]
    per_image = value + (surrogate - surrogate.detach())  # the value of the first, the gradient of the second
    return value_of(
        per_image.sum(dim=0),
        positive=(per_image * belongs).sum(dim=0),
        negative=(per_image * ~belongs).sum(dim=0),
    )


def official(
    feature_maps: Tensor, belongs: Tensor, *, tau: float | Tensor, beta: float | Tensor = 4.0
) -> ObjectiveValue:
    """The rule of the authors' published code, which differs from their paper.

    The template sits at the rounded centroid of the map, Z comes from mismatched templates of the batch,
    log p(x) is dropped, and strengths are divided by their mean: with T̂ the template at the centroid,

        e = s_T̂(x),  ŝ = exp(e) (e − log Z⁺ + 1) / mean,  log Z⁺ = log mean_x exp s_{T of another map}(x)

    on images of the filter's category, and the same with T⁻ elsewhere. Their exponent has τ = 2/n²; where all
    filters share one category images weigh 1, otherwise 0.5/density of their kind, as in their code. See
    `centroid_slopes` for the learned β.

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
    if maps.shape[0] == 0:
        return nothing(maps, "positive", "negative")
    templates = tau * _centroid_templates(maps, beta)
    present = (maps * templates).sum(dim=(2, 3))
    mismatched = (maps.detach() * templates.flip(0, 1)).sum(dim=(2, 3))
    absent = -tau * maps.sum(dim=(2, 3))
    positive = _normalised_strength(present.detach(), mismatched, belongs)
    negative = _normalised_strength(absent.detach(), absent.detach(), ~belongs)
    density = belongs.to(maps).mean(dim=0)
    has_one_category = (belongs == belongs[:, :1]).all()
    weight_positive = torch.where(has_one_category, 1.0, 0.5 / density.clamp(min=1 / len(maps)))
    weight_negative = torch.where(has_one_category, 1.0, 0.5 / (1 - density).clamp(min=1 / len(maps)))
    per_image = -torch.where(belongs, weight_positive * positive * present, weight_negative * negative * absent) / len(
        maps
    )
    return value_of(
        per_image.sum(dim=0),
        positive=(per_image * belongs).sum(dim=0),
        negative=(per_image * ~belongs).sum(dim=0),
    )


def centroid_slopes(feature_maps: Tensor, belongs: Tensor, *, beta: Tensor) -> Tensor:  # [filter]
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
    mean_deviation = (deviation * counts).sum(dim=0) / counts.sum(dim=0).clamp(min=1)
    normalised = (3 / mean_deviation.clamp(min=1e-9)).clamp(1.5, 3.0)
    return torch.where(counts.any(dim=0), normalised * 2 * side / max(side - 1, 1), beta)


def _normalised_strength(exponent: Tensor, partition_exponent: Tensor, counted: Tensor) -> Tensor:
    """exp(e)(e − log Z + 1), divided by its mean over the counted images; [image, filter], no gradient."""
    log_partition = partition_exponent.logsumexp(dim=0) - math.log(len(exponent))
    top = exponent.masked_fill(~counted, -torch.inf).amax(dim=0)
    shift = top.nan_to_num(neginf=0.0)  # cancels in the division, and exp cannot overflow
    strength = ((exponent - shift).exp() * (exponent - log_partition + 1)).masked_fill(~counted, 0)
    mean = strength.sum(dim=0) / counted.sum(dim=0).clamp(min=1)
    usable = mean.isfinite() & (mean != 0)
    return torch.where(usable, strength / torch.where(usable, mean, 1.0), 0.0)


def _centroid_templates(maps: Tensor, beta: float | Tensor) -> Tensor:
    """Templates of height 1 at the rounded activation-weighted centroid; no gradient."""
    height, width = maps.shape[2:]
    rows, cols = _centroid_gaps(maps.detach())
    slope = beta.to(maps)[:, None, None] if isinstance(beta, Tensor) else beta
    distances = rows.abs()[..., :, None] + cols.abs()[..., None, :]
    return (1 - slope * distances / math.sqrt(height * width)).clamp(min=-1)


def _squared_distances_from_centroid(maps: Tensor) -> Tensor:
    rows, cols = _centroid_gaps(maps)
    return rows.square()[..., :, None] + cols.square()[..., None, :]


def _centroid_gaps(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of every cell relative to the rounded centroid: [image, filter, row], [.., col]."""
    rows = torch.arange(maps.shape[2], device=maps.device, dtype=maps.dtype)
    cols = torch.arange(maps.shape[3], device=maps.device, dtype=maps.dtype)
    mass = maps.sum(dim=(2, 3)).clamp(min=1e-9)  # an all-zero map has its centroid at cell (0, 0)
    # Halves round up, as in MATLAB; torch's round would take the even cell.
    row = ((maps.sum(dim=3) @ rows) / mass + 0.5).floor()
    col = ((maps.sum(dim=2) @ cols) / mass + 0.5).floor()
    return rows - row[..., None], cols - col[..., None]
