"""The objectives as one would write them down in torch: the bank of all templates, and autograd.

Readable and slow: the products of maps and bank are [image, filter, n² + 1, n, n]. In float64 the fast paths are
tested against it, in float32 `benchmarks/speed.py` compares time and memory with it.
"""

import math

import torch
from torch.nn.functional import logsigmoid


def template_bank(size, *, tau, beta, like):
    """T⁻, then T_μ row by row: t_ij = τ max(1 − β ‖[i,j] − μ‖₁ / n, −1); [1 + H·W, H, W]."""
    height, width = size
    rows = torch.arange(height, dtype=like.dtype, device=like.device)
    cols = torch.arange(width, dtype=like.dtype, device=like.device)
    row_gaps = (rows[:, None] - rows).abs()[:, None, :, None]
    col_gaps = (cols[:, None] - cols).abs()[None, :, None, :]
    positive = tau * (1 - beta * (row_gaps + col_gaps) / math.sqrt(height * width)).clamp(min=-1)
    return torch.cat([torch.full_like(positive[:1, 0], -tau), positive.flatten(0, 1)])


def template_fitness(feature_maps, *, tau, beta=4.0):
    """s_T(x) = Σ_ij x_ij t_ij: [image, filter, 1 + H·W]."""
    bank = template_bank(feature_maps.shape[2:], tau=tau, beta=beta, like=feature_maps)
    return (feature_maps[:, :, None] * bank).sum(dim=(3, 4))


def mutual_information(fitness):
    """Σ_T p(T) Σ_x p(x|T) log[p(x|T)/p(x)] with templates of equal prior: [filter]."""
    log_p_x_given_t = fitness.log_softmax(dim=0)
    log_p_x = log_p_x_given_t.logsumexp(dim=2, keepdim=True) - math.log(fitness.shape[2])
    return (log_p_x_given_t.exp() * (log_p_x_given_t - log_p_x)).sum(dim=(0, 2)) / fitness.shape[2]


def exact(feature_maps, belongs, *, tau, beta=4.0):
    """Eq. 1: [filter]."""
    return -mutual_information(template_fitness(feature_maps, tau=tau, beta=beta))


def labelled(feature_maps, belongs, *, tau, beta=4.0):
    """−MI(X_c; T⁺) + mean over images of −log σ(±(g − ḡ)), g = log mean_μ exp s_μ − s_T⁻: [filter]."""
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    negative, positive = fitness[:, :, 0], fitness[:, :, 1:]
    odds = positive.logsumexp(dim=2) - math.log(positive.shape[2]) - negative
    odds = odds - odds.mean(dim=0)
    loss = -logsigmoid(torch.where(belongs, odds, -odds)).mean(dim=0)
    information = [  # filter by filter: each has other images
        mutual_information(positive[belongs[:, f], f : f + 1]).sum() if belongs[:, f].any() else loss.new_zeros(())
        for f in range(fitness.shape[1])
    ]
    return loss - torch.stack(information)
