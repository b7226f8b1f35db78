"""Filter objectives: what a filter of a part layer is asked to do, as functions of its maps.

Notation of Zhang, Wu & Zhu (2018): x is one filter's map on one image, T a part template,
s_T(x) = Σ_ij x_ij t_ij the fitness of x to T, p(x|T) = exp s_T(x) / Z_T with Z_T summed over the images of
the call, and p(x) = Σ_T p(T) p(x|T). All is computed in logs: exp s_T(x) overflows float32 on large maps.

Every objective has the signature of `FilterObjective` and stands in `OBJECTIVES`. Maps are taken as they are
given; `partcnn.layers.PartMask` brings activations to scale before it calls an objective.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.errors import ConfigError, ShapeError
from partcnn.templates import cell_distances, map_peaks, template_prior


class MutualInformation(NamedTuple):
    """−MI(X; T) and its three terms, each [filter], in nats: loss = −prior + inter_category + spatial."""

    loss: Tensor  # −MI, between −log(num_images) and 0
    prior_entropy: Tensor  # H(T), constant
    inter_category_entropy: Tensor  # H(T' = {T⁻, T⁺} | X): is the part there at all?
    spatial_entropy: Tensor  # Σ_x p(T⁺, x) H(T⁺ | X = x): where is it?


@dataclass(frozen=True)
class ObjectiveValue:
    """What an objective says of each filter."""

    loss: Tensor  # [filter], nats
    terms: Mapping[str, Tensor]  # parts of the loss worth watching, each [filter], without a gradient


class FilterObjective(Protocol):
    """The signature that every objective shares."""

    def __call__(
        self,
        feature_maps: Tensor,  # [image, filter, row, col], after the ReLU and before the mask
        belongs: Tensor,  # [image, filter] bool: the image is of the filter's category
        *,
        tau: float,
        beta: float | Tensor = 4.0,  # one slope, or one per filter
    ) -> ObjectiveValue: ...


def template_fitness(
    feature_maps: Tensor,  # [image, filter, row, col]
    *,
    tau: float,
    beta: float | Tensor = 4.0,
) -> Tensor:  # [image, filter, 1 + H·W]
    """s_T(x) = Σ_ij x_ij t_ij for T⁻ (first) and every T_μ (row-major); the paper writes tr(x·T).

    Args:
        feature_maps: activations ≥ 0; half precision is computed in float32.
        tau: height of the templates, used as given.
        beta: slope of the templates; a tensor [filter] gives each filter its own.

    Raises:
        ShapeError: the maps do not have four axes, or no cell; or β has another number of filters.
        ConfigError: τ, or β as a number, is not positive.
    """
    maps = _checked_maps(feature_maps)
    _check_templates(tau, beta, maps.shape[1])
    height, width = maps.shape[2:]
    flat = maps.flatten(2)  # [image, filter, cell]
    distances = cell_distances((height, width), dtype=maps.dtype, device=maps.device)
    side = math.sqrt(height * width)
    if isinstance(beta, Tensor):
        bank = (1 - beta.to(maps)[:, None, None] * distances / side).clamp(min=-1)
        positive = torch.einsum("ifc,fcm->ifm", flat, bank)
    else:
        positive = flat @ (1 - beta * distances / side).clamp(min=-1)  # symmetric in (cell, μ)
    negative = -flat.sum(dim=2, keepdim=True)
    return tau * torch.cat([negative, positive], dim=2)


def mutual_information(
    feature_maps: Tensor,  # [image, filter, row, col]
    *,
    tau: float,
    beta: float | Tensor = 4.0,
    alpha: float | None = None,
) -> MutualInformation:
    """Mutual information between each filter's maps and the part templates.

    Zhang, Wu & Zhu (2018), Eq. 1:  loss_f = −Σ_T p(T) Σ_x p(x|T) log( p(x|T) / p(x) ),
    the sums over x running over the images of this call, and Eq. 5 for its three terms.

    Args:
        feature_maps: after the ReLU and before the mask, ≥ 0; half precision is computed in float32.
        tau: τ of the templates, used as given: there is no hidden scaling.
        beta: β of the templates.
        alpha: p(T⁺); None takes the paper's n²/(1+n²), every template equally likely.

    Returns:
        Per filter, in nats, differentiable. One image carries no information: its loss is 0. No image: 0.

    Raises:
        ShapeError: the maps do not have four axes, or no cell.
        ConfigError: α is outside [0, 1], or τ or β is not positive.
    """
    maps = _checked_maps(feature_maps)
    size = (maps.shape[2], maps.shape[3])
    prior = template_prior(size, alpha=alpha, dtype=maps.dtype, device=maps.device)
    prior_entropy = -torch.special.xlogy(prior, prior).sum().expand(maps.shape[1])
    if maps.shape[0] == 0:
        nothing = maps.sum(dim=(0, 2, 3))  # 0 with a graph
        return MutualInformation(nothing, prior_entropy, nothing + prior_entropy, nothing)
    fitness = template_fitness(maps, tau=tau, beta=beta)
    log_p_x_given_t = fitness.log_softmax(dim=0)  # Z_T sums over images, hence dim 0
    log_joint = log_p_x_given_t + prior.log()  # log p(x, T)
    # Finite in place of −∞, whose gradient is nan, where α leaves a template no probability.
    log_joint = log_joint.clamp(min=torch.finfo(maps.dtype).min / 4)
    log_p_x = log_joint.logsumexp(dim=2)
    log_p_t_given_x = log_joint - log_p_x[..., None]
    p_x = log_p_x.exp()

    log_negative = log_p_t_given_x[..., 0]
    log_positive = log_p_t_given_x[..., 1:].logsumexp(dim=2)
    inter_category = p_x * (_minus_p_log_p(log_negative) + _minus_p_log_p(log_positive))
    # p(T⁺,x) H(T⁺|X=x) = p(x) Σ_μ −p(T_μ|x) (log p(T_μ|x) − log p(T⁺|x))
    within = _minus_p_log_p(log_p_t_given_x[..., 1:]).sum(dim=2) - _minus_p_log_p(log_positive)
    spatial = p_x * within
    inter_category_entropy, spatial_entropy = inter_category.sum(dim=0), spatial.sum(dim=0)
    loss = -prior_entropy + inter_category_entropy + spatial_entropy
    return MutualInformation(loss, prior_entropy, inter_category_entropy, spatial_entropy)


def exact(feature_maps: Tensor, belongs: Tensor, *, tau: float, beta: float | Tensor = 4.0) -> ObjectiveValue:
    """−MI(X; T) of Eq. 1 over the images of the batch, whatever their category: `belongs` is not read.

    See `mutual_information` for shapes and edge cases.
    """
    information = mutual_information(feature_maps, tau=tau, beta=beta)
    return _value(
        information.loss,
        prior_entropy=information.prior_entropy,
        inter_category_entropy=information.inter_category_entropy,
        spatial_entropy=information.spatial_entropy,
    )


def labelled(feature_maps: Tensor, belongs: Tensor, *, tau: float, beta: float | Tensor = 4.0) -> ObjectiveValue:
    """Eq. 5 with its inter-category question answered from the labels that training has anyway (ours).

    For a filter of category c, X_c the batch's images of c, n² = H·W cells and equal priors:

        loss = −MI(X_c; T⁺) + mean over all images of −log σ(±(g − ḡ)),   + where the image is of c,
        g(x) = log Σ_μ exp(s_μ(x)) / n² − s_{T⁻}(x),   the log-odds of "a part is there" against "no part",

    with ḡ the batch mean of g. MI(X_c; T⁺) = log n² − Σ_x p(x) H(T⁺|x) asks the filter to peak sharply, and
    at different places on different images of c.

    Args:
        feature_maps: [image, filter, row, col], activations ≥ 0, brought to scale by the caller.
        belongs: [image, filter] bool.
        tau, beta: of the templates.

    Returns:
        Terms prior_entropy (log n²), inter_category_entropy (the logistic loss) and spatial_entropy
        (log n² − MI), with loss = −prior + inter + spatial. Fewer than two images of c: MI is 0.

    Raises:
        ShapeError: maps, `belongs` or β have the wrong shape.
        ConfigError: τ, or β as a number, is not positive.
    """
    maps = _checked_maps(feature_maps, belongs)
    num_cells = maps.shape[2] * maps.shape[3]
    log_cells = math.log(num_cells)
    if maps.shape[0] == 0:
        return _nothing(maps, "prior_entropy", "inter_category_entropy", "spatial_entropy")
    fitness = template_fitness(maps, tau=tau, beta=beta)
    negative, positive = fitness[..., 0], fitness[..., 1:]
    information = _information_within(positive, belongs)
    log_odds = positive.logsumexp(dim=2) - log_cells - negative
    log_odds = log_odds - log_odds.mean(dim=0)
    inter_category = F.binary_cross_entropy_with_logits(log_odds, belongs.to(log_odds), reduction="none")
    inter_category_entropy = inter_category.mean(dim=0)
    return _value(
        inter_category_entropy - information,
        prior_entropy=torch.full_like(information, log_cells),
        inter_category_entropy=inter_category_entropy,
        spatial_entropy=log_cells - information,
    )


def assigned(feature_maps: Tensor, belongs: Tensor, *, tau: float, beta: float | Tensor = 4.0) -> ObjectiveValue:
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
    maps = _checked_maps(feature_maps, belongs)
    if maps.shape[0] == 0:
        return _nothing(maps, "positive", "negative")
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
    return _value(
        per_image.sum(dim=0),
        positive=(per_image * belongs).sum(dim=0),
        negative=(per_image * ~belongs).sum(dim=0),
    )


def official(feature_maps: Tensor, belongs: Tensor, *, tau: float, beta: float | Tensor = 4.0) -> ObjectiveValue:
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
    maps = _checked_maps(feature_maps, belongs)
    _check_templates(tau, beta, maps.shape[1])
    if maps.shape[0] == 0:
        return _nothing(maps, "positive", "negative")
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
    return _value(
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
    maps = _checked_maps(feature_maps, belongs).detach()
    height, width = maps.shape[2:]
    side = math.sqrt(height * width)
    mass = maps.sum(dim=(2, 3))
    squared = _squared_distances_from_centroid(maps)
    deviation = ((maps * squared).sum(dim=(2, 3)) / mass.clamp(min=1e-9)).sqrt()
    counts = belongs & (mass > 0)
    mean_deviation = (deviation * counts).sum(dim=0) / counts.sum(dim=0).clamp(min=1)
    normalised = (3 / mean_deviation.clamp(min=1e-9)).clamp(1.5, 3.0)
    return torch.where(counts.any(dim=0), normalised * 2 * side / max(side - 1, 1), beta)


def _information_within(fitness: Tensor, belongs: Tensor) -> Tensor:
    """MI between the images that belong and templates of equal prior; fitness [image, filter, template]."""
    outside = ~belongs[..., None]
    num_templates = fitness.shape[2]
    # A finite stand-in for −∞ keeps the gradient of an empty set defined; exp of it is exactly 0.
    log_p_x_given_t = fitness.masked_fill(outside, torch.finfo(fitness.dtype).min / 4).log_softmax(dim=0)
    log_p_x = log_p_x_given_t.logsumexp(dim=2) - math.log(num_templates)
    p_x_given_t = log_p_x_given_t.exp().masked_fill(outside, 0)
    ratio = (log_p_x_given_t - log_p_x[..., None]).masked_fill(outside, 0)
    return (p_x_given_t * ratio).sum(dim=(0, 2)) / num_templates


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


def _minus_p_log_p(log_p: Tensor) -> Tensor:
    """−p log p from log p, 0 where p underflows to 0 (also where log p is −∞)."""
    safe = log_p.clamp(min=torch.finfo(log_p.dtype).min / 4)
    return -safe.exp() * safe


def _value(loss: Tensor, **terms: Tensor) -> ObjectiveValue:
    return ObjectiveValue(loss, {name: term.detach() for name, term in terms.items()})


def _nothing(maps: Tensor, *terms: str) -> ObjectiveValue:
    """No image: a loss and terms of 0, the loss with a graph."""
    loss = maps.sum(dim=(0, 2, 3))
    return _value(loss, **dict.fromkeys(terms, loss))


def _check_templates(tau: float, beta: float | Tensor, num_filters: int) -> None:
    if not tau > 0:
        raise ConfigError(f"tau: expected a number above 0, got {tau}")
    if isinstance(beta, Tensor):  # its values are not read: that would wait for the device in every step
        if beta.shape != (num_filters,):
            raise ShapeError(f"beta: expected a number or [filter] = ({num_filters},), got {tuple(beta.shape)}")
    elif not beta > 0:
        raise ConfigError(f"beta: expected a number above 0, got {beta}")


def _checked_maps(feature_maps: Tensor, belongs: Tensor | None = None) -> Tensor:
    if feature_maps.ndim != 4 or 0 in feature_maps.shape[2:]:
        raise ShapeError(
            "feature_maps: expected [image, filter, row, col] with at least one cell, "
            f"got shape {tuple(feature_maps.shape)}"
        )
    if belongs is not None and (belongs.shape != feature_maps.shape[:2] or belongs.dtype != torch.bool):
        raise ShapeError(
            f"belongs: expected bool [image, filter] = {tuple(feature_maps.shape[:2])}, "
            f"got {belongs.dtype} {tuple(belongs.shape)}"
        )
    return feature_maps if feature_maps.dtype == torch.float64 else feature_maps.float()


OBJECTIVES: Mapping[str, FilterObjective] = {
    "labelled": labelled,
    "exact": exact,
    "assigned": assigned,
    "official": official,
}
