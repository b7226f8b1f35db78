"""Objectives of information: Eq. 1 of the paper, and ours that takes from labels what labels know."""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.special import xlogy

from partcnn.foundation.errors import ShapeError
from partcnn.foundation.ranks import ONE_PROCESS, Ranks
from partcnn.objectives.fitness import at_least_float32, check_templates, checked_maps, template_fitness
from partcnn.objectives.fused import Slopes, fused
from partcnn.objectives.templates import template_prior
from partcnn.objectives.values import ObjectiveValue, nothing, value_of


class MutualInformation(NamedTuple):
    """−MI(X; T) and its three terms, each [filter], in nats: loss = −prior + inter_category + spatial."""

    loss: Tensor  # −MI, between −log(num_images) and 0
    prior_entropy: Tensor  # H(T), constant
    inter_category_entropy: Tensor  # H(T' = {T⁻, T⁺} | X): is the part there at all?
    spatial_entropy: Tensor  # Σ_x p(T⁺, x) H(T⁺ | X = x): where is it?


def mutual_information(
    feature_maps: Tensor,  # [image, filter, row, col]
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    alpha: float | None = None,
) -> MutualInformation:
    """Mutual information between each filter's maps and the part templates.

    Zhang, Wu & Zhu (2018), Eq. 1:  loss_f = −Σ_T p(T) Σ_x p(x|T) log( p(x|T) / p(x) ),
    the sums over x running over the images of this call, and Eq. 5 for its three terms.

    Args:
        feature_maps: after the ReLU and before the mask, ≥ 0; half precision is computed in float32.
        tau: τ of the templates, used as given: there is no hidden scaling. A tensor has no axes.
        beta: β of the templates.
        alpha: p(T⁺); None takes the paper's n²/(1+n²), every template equally likely.

    Returns:
        Per filter, in nats, differentiable. One image carries no information: its loss is 0. No image: 0.

    Raises:
        ShapeError: the maps do not have four axes, or no cell.
        ConfigError: α is outside [0, 1], or τ or β is not positive.
    """
    maps = at_least_float32(checked_maps(feature_maps))
    size = (maps.shape[2], maps.shape[3])
    prior = template_prior(size, alpha=alpha, dtype=maps.dtype, device=maps.device)
    prior_entropy = -xlogy(prior, prior).sum().expand(maps.shape[1])
    if maps.shape[0] == 0:
        zero = maps.sum(dim=(0, 2, 3))  # with a graph
        return MutualInformation(zero, prior_entropy, zero + prior_entropy, zero)
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


def exact(
    feature_maps: Tensor,
    belongs: Tensor,
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    ranks: Ranks = ONE_PROCESS,
) -> ObjectiveValue:
    """−MI(X; T) of Eq. 1 over the images of the batch, whatever their category: `belongs` is not read.

    The loss of `mutual_information`, see there, with its gradient worked out by hand; τ and β get none. The images are
    those of all `ranks`.
    """
    maps = checked_maps(feature_maps)
    check_templates(tau, beta, maps.shape[1])
    if maps.shape[0] == 0 and ranks.size == 1:
        return value_of(**mutual_information(maps, tau=tau, beta=beta)._asdict())
    loss, (inter_category,) = fused(
        partial(_exact_of_fitness, ranks=ranks), maps, belongs, tau=tau, beta=beta, ranks=ranks
    )
    prior_entropy = torch.full_like(inter_category, math.log(1 + maps.shape[2] * maps.shape[3]))
    return value_of(
        loss,
        prior_entropy=prior_entropy,
        inter_category_entropy=inter_category,
        spatial_entropy=loss + prior_entropy - inter_category,
    )


def _exact_of_fitness(positive: Tensor, negative: Tensor, belongs: Tensor, *, ranks: Ranks) -> Slopes:
    """Term: the inter-category entropy Σ_x p(x) H(T' | X = x)."""
    found = _information(torch.cat([negative[..., None], positive], dim=2), ranks=ranks)
    absent = found.p_x_given_t[..., 0] / found.p_x_given_t.shape[2]  # p(T⁻, x)
    present = found.p_x_given_t[..., 1:].sum(dim=2) / found.p_x_given_t.shape[2]
    return Slopes(
        loss=-found.value,
        terms=(ranks.sum(entropy_of_presence(absent, present)),),
        by_positive=-found.by_fitness[..., 1:],
        by_negative=-found.by_fitness[..., 0],
    )


def entropy_of_presence(absent: Tensor, present: Tensor) -> Tensor:
    """p(x) H(T' | X = x) of p(T⁻, x) and p(T⁺, x)."""
    entropy: Tensor = xlogy(absent + present, absent + present) - xlogy(absent, absent) - xlogy(present, present)
    return entropy


def labelled(
    feature_maps: Tensor,
    belongs: Tensor,
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    counted: Tensor | None = None,
    ranks: Ranks = ONE_PROCESS,
) -> ObjectiveValue:
    """Eq. 5 with its inter-category question answered from the labels that training has anyway (ours).

    For a filter of category c, X_c the batch's images of c, n² = H·W cells and equal priors:

        loss = −MI(X_c; T⁺) + mean over all images of −log σ(±(g − ḡ)),   + where the image is of c,
        g(x) = log Σ_μ exp(s_μ(x)) / n² − s_{T⁻}(x),   the log-odds of "a part is there" against "no part",

    with ḡ the batch mean of g. MI(X_c; T⁺) = log n² − Σ_x p(x) H(T⁺|x) asks the filter to peak sharply, and
    at different places on different images of c.

    Args:
        feature_maps: [image, filter, row, col], activations ≥ 0; half precision is computed in float32.
        belongs: [image, filter] bool.
        tau, beta: of the templates; they get no gradient.
        counted: [image, filter] bool: the images that there are for a filter, None: all. Others are nothing to its
            loss, and do not belong.
        ranks: that share the batch; the images are those of all.

    Returns:
        Terms prior_entropy (log n²), inter_category_entropy (the logistic loss) and spatial_entropy
        (log n² − MI), with loss = −prior + inter + spatial. Fewer than two images of c: MI is 0.

    Raises:
        ShapeError: maps, `belongs`, `counted` or β have the wrong shape.
        ConfigError: τ, or β as a number, is not positive.
    """
    maps = checked_maps(feature_maps, belongs)
    check_templates(tau, beta, maps.shape[1])
    if counted is not None and counted.shape != belongs.shape:
        raise ShapeError(f"counted: expected the shape of belongs, {tuple(belongs.shape)}, got {tuple(counted.shape)}")
    if maps.shape[0] == 0 and ranks.size == 1:
        return nothing(maps, "prior_entropy", "inter_category_entropy", "spatial_entropy")
    marks = belongs if counted is None else torch.where(counted, belongs.to(torch.int8), -1)
    rule = partial(_labelled_of_fitness, ranks=ranks)
    loss, (inter_category, information) = fused(rule, maps, marks, tau=tau, beta=beta, ranks=ranks)
    log_cells = math.log(maps.shape[2] * maps.shape[3])
    return value_of(
        loss,
        prior_entropy=torch.full_like(information, log_cells),
        inter_category_entropy=inter_category,
        spatial_entropy=log_cells - information,
    )


def _labelled_of_fitness(positive: Tensor, negative: Tensor, marks: Tensor, *, ranks: Ranks) -> Slopes:
    """Terms: the logistic loss and MI(X_c; T⁺). Marks as in `logistic_loss`. Writes over `positive`."""
    place = positive.softmax(dim=2)  # p(T_μ | x, T⁺)
    log_sum = positive.amax(dim=2) - place.amax(dim=2).log()  # log Σ_μ exp s_μ: of the largest, p = exp(s) / Σ exp
    logistic, by_log_odds = logistic_loss(log_sum - math.log(positive.shape[2]) - negative, marks, ranks)
    found = _information(positive, (marks > 0).to(positive)[..., None], ranks=ranks)
    return Slopes(
        loss=logistic - found.value,
        terms=(logistic, found.value),
        by_positive=place.mul_(by_log_odds[..., None]).sub_(found.by_fitness),
        by_negative=-by_log_odds,
    )


def logistic_loss(log_odds: Tensor, marks: Tensor, ranks: Ranks = ONE_PROCESS) -> tuple[Tensor, Tensor]:
    """mean over images of −log σ(±(g − ḡ)), [filter], and its slope by g, [image, filter].

    Marks, [image, filter], are 1 where the image belongs and 0 where not, and −1 where it is not counted.
    """
    is_counted = (marks >= 0).to(log_odds)
    share = is_counted / ranks.sum(is_counted).clamp(min=1)
    log_odds = log_odds - ranks.sum(share * log_odds)
    target = (marks > 0).to(log_odds)
    loss = ranks.sum(share * F.binary_cross_entropy_with_logits(log_odds, target, reduction="none"))
    by_log_odds = share * (log_odds.sigmoid() - target)
    return loss, by_log_odds - share * ranks.sum(by_log_odds)


class _Information(NamedTuple):
    value: Tensor  # [filter], nats
    p_x_given_t: Tensor  # [image, filter, template]
    by_fitness: Tensor  # ∂ value / ∂ s_T(x): [image, filter, template]


def _information(fitness: Tensor, counted: Tensor | None = None, *, ranks: Ranks) -> _Information:
    """MI(X; T) for templates of equal prior, and its gradient, Z_T not held constant. Writes over `fitness`.

    MI = Σ_T p(T) Σ_x p(x|T) r_T(x),  r_T(x) = log p(x|T) − log p(x),
    ∂MI/∂s_T(x) = p(T) p(x|T) (r_T(x) − Σ_x' p(x'|T) r_T(x')).

    `counted`, [image, filter, 1], is 1 for the images to sum over and 0 for others; None: all.
    """
    limits, num_templates = torch.finfo(fitness.dtype), fitness.shape[2]
    if counted is not None:
        fitness.sub_((1 - counted) * (limits.max / 4))  # a finite stand-in for −∞: others are nothing to Z_T
    ratio = ranks.log_softmax(fitness)  # log p(x|T): Z_T sums over images
    # Not below 1e-34 in float32 (1e-276 in float64), as good as 0: where it underflows MKL's exp is 40 times slower.
    p_x_given_t = ratio.clamp(min=0.9 * math.log(limits.tiny)).exp_()
    if counted is not None:
        p_x_given_t.mul_(counted)
    # Where p(x) underflows so do all p(x|T), and r_T(x) has no weight; it only has to be finite.
    log_p_x = p_x_given_t.mean(dim=2).clamp(min=limits.tiny).log()
    ratio.sub_(log_p_x[..., None])
    of_template = ranks.sum(p_x_given_t * ratio)  # [filter, template]
    by_fitness = ratio.sub_(of_template).mul_(p_x_given_t).div_(num_templates)
    return _Information(of_template.mean(dim=1), p_x_given_t, by_fitness)


def _minus_p_log_p(log_p: Tensor) -> Tensor:
    """−p log p from log p, 0 where p underflows to 0 (also where log p is −∞)."""
    safe = log_p.clamp(min=torch.finfo(log_p.dtype).min / 4)
    return -safe.exp() * safe
