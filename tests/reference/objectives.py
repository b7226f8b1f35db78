"""The filter objectives, term by term, in Python floats.

Notation: x = feature map of one image, s_T(x) = Σ_ij x_ij t_ij, log Z_T = log Σ_x exp s_T(x) over the images of the
call. All results are per filter; gradients are ∂loss_f/∂x_ij for every image, [image, filter, row, col].
"""

import math

import numpy as np

from tests.reference import templates as ref


def log_sum_exp(values):
    """log Σ_k exp v_k."""
    top = max(values)
    return top + math.log(math.fsum(math.exp(v - top) for v in values))


def entropy(probabilities):
    """−Σ_k p_k log p_k, with 0 log 0 = 0."""
    return -math.fsum(p * math.log(p) for p in probabilities if p > 0.0)


def inner(x, template):
    """Σ_ij x_ij t_ij."""
    return math.fsum(float(x[i, j]) * float(template[i, j]) for i in range(x.shape[0]) for j in range(x.shape[1]))


def template_fitness(feature_maps, *, tau, beta=4.0):
    """s[b, f, T] = Σ_ij x_ij t_ij, T in the order of the bank."""
    num_images, num_filters, height, width = feature_maps.shape
    fitness = np.zeros((num_images, num_filters, 1 + height * width))
    for f in range(num_filters):
        bank = ref.template_bank((height, width), tau=tau, beta=ref.beta_of_filter(beta, f))
        for b in range(num_images):
            for t, template in enumerate(bank):
                fitness[b, f, t] = inner(feature_maps[b, f], template)
    return fitness


def log_likelihood(fitness):
    """log p(x|T) = s_T(x) − log Z_T; fitness [image, template] of one filter."""
    log_p = np.zeros_like(fitness)
    for t in range(fitness.shape[1]):
        log_z = log_sum_exp([float(s) for s in fitness[:, t]])
        for b in range(fitness.shape[0]):
            log_p[b, t] = fitness[b, t] - log_z
    return log_p


def log_evidence(log_p_x_given_t, prior):
    """log p(x) = log Σ_T p(T) p(x|T), per image."""
    return np.array(
        [
            log_sum_exp([math.log(p) + float(lp) for p, lp in zip(prior, row, strict=True) if p > 0.0])
            for row in log_p_x_given_t
        ]
    )


def information(log_p, log_px, prior):
    """Σ_T p(T) Σ_x p(x|T) log[p(x|T)/p(x)]."""
    return math.fsum(
        float(prior[t]) * math.exp(log_p[b, t]) * float(log_p[b, t] - log_px[b])
        for t in range(log_p.shape[1])
        for b in range(log_p.shape[0])
    )


def information_gradient(log_p, log_px, prior, bank):
    """∂MI/∂x_ij = Σ_T p(T) t_ij p(x|T) [r_T(x) − Σ_x' p(x'|T) r_T(x')], r_T = log p(x|T)/p(x); Z_T not constant."""
    num_images, num_templates = log_p.shape
    gradient = np.zeros((num_images, *bank.shape[1:]))
    for t in range(num_templates):
        mean_r = math.fsum(math.exp(log_p[b, t]) * (log_p[b, t] - log_px[b]) for b in range(num_images))
        for b in range(num_images):
            weight = prior[t] * math.exp(log_p[b, t]) * (log_p[b, t] - log_px[b] - mean_r)
            gradient[b] += weight * bank[t]
    return gradient


def mutual_information(feature_maps, *, tau, beta=4.0, alpha=None):
    """Eq. 1, loss_f = −Σ_T p(T) Σ_x p(x|T) log[p(x|T)/p(x)], and Eq. 5's three terms from their own definitions.

    prior_entropy          H(T) = −Σ_T p(T) log p(T)
    inter_category_entropy Σ_x p(x) H({T⁻, T⁺}|x), p(T⁻|x) = p(T⁻) p(x|T⁻) / p(x)
    spatial_entropy        Σ_x p(T⁺, x) H(T⁺|x), with p̃_μ = p(T_μ|x) / Σ_ν p(T_ν|x)
    """
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    prior = ref.template_prior(feature_maps.shape[2:], alpha=alpha)
    terms = {"loss": [], "prior_entropy": [], "inter_category_entropy": [], "spatial_entropy": []}
    for f in range(feature_maps.shape[1]):
        log_p = log_likelihood(fitness[:, f])
        log_px = log_evidence(log_p, prior)
        inter, spatial = [], []
        for b in range(feature_maps.shape[0]):
            posterior = [
                math.exp(math.log(p) + lp - log_px[b]) if p > 0.0 else 0.0
                for p, lp in zip(prior, log_p[b], strict=True)
            ]
            p_positive = math.fsum(posterior[1:])
            p_x = math.exp(log_px[b])
            inter.append(p_x * entropy([posterior[0], p_positive]))
            if p_positive > 0.0:
                spatial.append(p_x * p_positive * entropy([p / p_positive for p in posterior[1:]]))
        terms["loss"].append(-information(log_p, log_px, prior))
        terms["prior_entropy"].append(entropy(prior))
        terms["inter_category_entropy"].append(math.fsum(inter))
        terms["spatial_entropy"].append(math.fsum(spatial))
    return {name: np.array(values) for name, values in terms.items()}


def mutual_information_gradient(feature_maps, *, tau, beta=4.0, alpha=None):
    """∂loss_f/∂x_ij of Eq. 1, exact: see information_gradient; the loss is −MI."""
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    prior = ref.template_prior(feature_maps.shape[2:], alpha=alpha)
    gradient = np.zeros_like(feature_maps)
    for f in range(feature_maps.shape[1]):
        bank = ref.template_bank(feature_maps.shape[2:], tau=tau, beta=ref.beta_of_filter(beta, f))
        log_p = log_likelihood(fitness[:, f])
        gradient[:, f] = -information_gradient(log_p, log_evidence(log_p, prior), prior, bank)
    return gradient


def centred_log_odds(fitness):
    """g(x) − mean_x g(x), g = log Σ_μ exp(s_μ − log n²) − s_{T⁻}; fitness [image, template] of one filter."""
    log_num_cells = math.log(fitness.shape[1] - 1)
    log_odds = [log_sum_exp([float(s) - log_num_cells for s in row[1:]]) - float(row[0]) for row in fitness]
    mean = math.fsum(log_odds) / len(log_odds)
    return [g - mean for g in log_odds]


def softplus(value):
    """log(1 + exp v)."""
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def sigmoid(value):
    """1 / (1 + exp(−v))."""
    return math.exp(-softplus(-value))


def labelled(feature_maps, belongs, *, tau, beta=4.0):
    """loss_f = −MI(images that belong; T_μ) + mean_x log(1 + exp(−y ĝ(x))), y = ±1 for belongs or not.

    The prior is 1/n² on each positive template; ĝ is the centred log-odds over all images.
    Terms: log n², log n² − MI, the logistic loss. MI is 0 where no image belongs.
    """
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    num_images, num_filters, height, width = feature_maps.shape
    prior = [1.0 / (height * width)] * (height * width)
    names = ("loss", "prior_entropy", "inter_category_entropy", "spatial_entropy")
    terms = {name: np.zeros(num_filters) for name in names}
    for f in range(num_filters):
        members = [b for b in range(num_images) if belongs[b, f]]
        mi = 0.0
        if members:
            log_p = log_likelihood(fitness[members, f, 1:])
            mi = information(log_p, log_evidence(log_p, prior), prior)
        odds = centred_log_odds(fitness[:, f])
        logistic = math.fsum(softplus(-g if y else g) for g, y in zip(odds, belongs[:, f], strict=True)) / num_images
        terms["prior_entropy"][f] = math.log(height * width)
        terms["spatial_entropy"][f] = math.log(height * width) - mi
        terms["inter_category_entropy"][f] = logistic
        terms["loss"][f] = -mi + logistic
    return terms


def labelled_gradient(feature_maps, belongs, *, tau, beta=4.0):
    """∂loss_f/∂x_ij: −∂MI/∂x over the images that belong, plus (a_x − mean a) ∂g/∂x over all.

    a_x = (σ(ĝ) − [x belongs]) / N;  ∂g/∂x_ij = Σ_μ softmax_μ(s)_μ t^μ_ij + τ.
    """
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    num_images, num_filters, height, width = feature_maps.shape
    prior = [1.0 / (height * width)] * (height * width)
    gradient = np.zeros_like(feature_maps)
    for f in range(num_filters):
        bank = ref.template_bank((height, width), tau=tau, beta=ref.beta_of_filter(beta, f))
        members = [b for b in range(num_images) if belongs[b, f]]
        if members:
            log_p = log_likelihood(fitness[members, f, 1:])
            gradient[members, f] -= information_gradient(log_p, log_evidence(log_p, prior), prior, bank[1:])
        odds = centred_log_odds(fitness[:, f])
        slopes = [(sigmoid(g) - float(y)) / num_images for g, y in zip(odds, belongs[:, f], strict=True)]
        mean_slope = math.fsum(slopes) / num_images
        for b in range(num_images):
            log_z = log_sum_exp([float(s) for s in fitness[b, f, 1:]])
            for i in range(height):
                for j in range(width):
                    expected_t = math.fsum(
                        math.exp(fitness[b, f, t] - log_z) * bank[t, i, j] for t in range(1, len(bank))
                    )
                    gradient[b, f, i, j] += (slopes[b] - mean_slope) * (expected_t + tau)
    return gradient


def assigned_template(feature_map, is_member):
    """Index in the bank of T̂: T_μ̂ if the image is of the filter's category, T⁻ (0) otherwise."""
    row, col = ref.peak(feature_map)
    return 1 + row * feature_map.shape[1] + col if is_member else 0


def assigned(feature_maps, belongs, *, tau, beta=4.0):
    """loss_f = −Σ_x p(T̂) p(x|T̂) log[p(x|T̂)/p(x)], and its parts over the images that belong and over the others."""
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    prior = ref.template_prior(feature_maps.shape[2:])
    num_images, num_filters = feature_maps.shape[:2]
    terms = {name: np.zeros(num_filters) for name in ("loss", "positive", "negative")}
    for f in range(num_filters):
        log_p = log_likelihood(fitness[:, f])
        log_px = log_evidence(log_p, prior)
        for b in range(num_images):
            t = assigned_template(feature_maps[b, f], belongs[b, f])
            value = -prior[t] * math.exp(log_p[b, t]) * (log_p[b, t] - log_px[b])
            terms["loss"][f] += value
            terms["positive" if belongs[b, f] else "negative"][f] += value
    return terms


def assigned_gradient(feature_maps, belongs, *, tau, beta=4.0):
    """∂loss_f/∂x_ij = −p(T̂) t̂_ij p(x|T̂) log[p(x|T̂)/p(x)]: Eq. 4's approximation with the sign put right."""
    return -printed_one_template_gradient(feature_maps, belongs, tau=tau, beta=beta)


def printed_one_template_gradient(feature_maps, belongs, *, tau, beta=4.0):
    """Eq. 4's second line as printed: (p(T̂) t̂_ij / Z_T̂) exp(s_T̂) {s_T̂ − log Z_T̂ − log p(x)}."""
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    prior = ref.template_prior(feature_maps.shape[2:])
    gradient = np.zeros_like(feature_maps)
    for f in range(feature_maps.shape[1]):
        bank = ref.template_bank(feature_maps.shape[2:], tau=tau, beta=ref.beta_of_filter(beta, f))
        log_p = log_likelihood(fitness[:, f])
        log_px = log_evidence(log_p, prior)
        for b in range(feature_maps.shape[0]):
            t = assigned_template(feature_maps[b, f], belongs[b, f])
            gradient[b, f] = prior[t] * bank[t] * math.exp(log_p[b, t]) * (log_p[b, t] - log_px[b])
    return gradient


def printed_all_templates_gradient(feature_maps, *, tau, beta=4.0):
    """Eq. 4's first line as printed: Σ_T (p(T) t_ij / Z_T) exp(s_T) {s_T − log[Z_T p(x)]}."""
    fitness = template_fitness(feature_maps, tau=tau, beta=beta)
    prior = ref.template_prior(feature_maps.shape[2:])
    gradient = np.zeros_like(feature_maps)
    for f in range(feature_maps.shape[1]):
        bank = ref.template_bank(feature_maps.shape[2:], tau=tau, beta=ref.beta_of_filter(beta, f))
        log_p = log_likelihood(fitness[:, f])
        log_px = log_evidence(log_p, prior)
        for b in range(feature_maps.shape[0]):
            for t in range(len(bank)):
                gradient[b, f] += prior[t] * bank[t] * math.exp(log_p[b, t]) * (log_p[b, t] - log_px[b])
    return gradient


def normalised_strengths(exponents, members, log_z):
    """exp(e)(e − log Z + 1), divided by its mean over the members; 0 elsewhere, and all 0 where that mean is 0.

    exp works on e − max e over the members: the factor cancels in the division.
    """
    strengths = [0.0] * len(exponents)
    if not members:
        return strengths
    top = max(exponents[b] for b in members)
    raw = {b: math.exp(exponents[b] - top) * (exponents[b] - log_z + 1.0) for b in members}
    mean = math.fsum(raw.values()) / len(members)
    if mean != 0.0:
        for b in members:
            strengths[b] = raw[b] / mean
    return strengths


def official_strengths(feature_maps, belongs, *, tau, beta=4.0):
    """ŝ per image and filter, and the templates t at the centroids.

    ŝ is of e = Σ_ij x_ij t_ij where the image belongs, of e⁻ = −τ Σ_ij x_ij elsewhere.
    log Z⁺_f = log mean_b exp Σ_ij x[b, f] t[N−1−b, F−1−f]: the templates of the reversed batch and filter order.
    log Z⁻_f = log mean_b exp(e⁻).
    """
    num_images, num_filters, height, width = feature_maps.shape
    chosen = np.zeros_like(feature_maps)
    for b in range(num_images):
        for f in range(num_filters):
            mu = ref.centroid_cell(feature_maps[b, f])
            beta_f = ref.beta_of_filter(beta, f)
            chosen[b, f] = ref.positive_template((height, width), mu, tau=tau, beta=beta_f)
    strengths = np.zeros((num_images, num_filters))
    for f in range(num_filters):
        x = feature_maps[:, f]
        positive = [inner(x[b], chosen[b, f]) for b in range(num_images)]
        negative = [-tau * math.fsum(float(v) for v in x[b].ravel()) for b in range(num_images)]
        mismatched = [inner(x[b], chosen[num_images - 1 - b, num_filters - 1 - f]) for b in range(num_images)]
        members = [b for b in range(num_images) if belongs[b, f]]
        others = [b for b in range(num_images) if not belongs[b, f]]
        log_z_positive = log_sum_exp(mismatched) - math.log(num_images)
        log_z_negative = log_sum_exp(negative) - math.log(num_images)
        strengths[members, f] = np.array(normalised_strengths(positive, members, log_z_positive))[members]
        strengths[others, f] = np.array(normalised_strengths(negative, others, log_z_negative))[others]
    return strengths, chosen


def official_weights(belongs):
    """w⁺, w⁻ per filter: 1, 1 if all filters share one category, else 0.5/density, 0.5/(1 − density)."""
    num_images, num_filters = belongs.shape
    if all(list(belongs[:, f]) == list(belongs[:, 0]) for f in range(num_filters)):
        return [(1.0, 1.0)] * num_filters
    weights = []
    for f in range(num_filters):
        density = sum(bool(v) for v in belongs[:, f]) / num_images
        weights.append((0.5 / density if density > 0 else 0.0, 0.5 / (1 - density) if density < 1 else 0.0))
    return weights


def official(feature_maps, belongs, *, tau, beta=4.0):
    """loss_f = (1/N) [−w⁺ Σ_belong ŝ Σ_ij x_ij t_ij + w⁻ Σ_others ŝ τ Σ_ij x_ij], and the two parts."""
    num_images, num_filters = feature_maps.shape[:2]
    gradient = official_gradient(feature_maps, belongs, tau=tau, beta=beta)
    terms = {name: np.zeros(num_filters) for name in ("loss", "positive", "negative")}
    for f in range(num_filters):
        for b in range(num_images):
            value = inner(feature_maps[b, f], gradient[b, f])  # linear in x once ŝ and t are constants
            terms["loss"][f] += value
            terms["positive" if belongs[b, f] else "negative"][f] += value
    return terms


def official_gradient(feature_maps, belongs, *, tau, beta=4.0):
    """∂loss_f/∂x_ij = −(w⁺/N) ŝ t_ij where the image belongs, +(w⁻/N) ŝ τ where it does not."""
    num_images, num_filters = feature_maps.shape[:2]
    strengths, chosen = official_strengths(feature_maps, belongs, tau=tau, beta=beta)
    weights = official_weights(belongs)
    gradient = np.zeros_like(feature_maps)
    for f in range(num_filters):
        for b in range(num_images):
            if belongs[b, f]:
                gradient[b, f] = -weights[f][0] * strengths[b, f] * chosen[b, f] / num_images
            else:
                gradient[b, f] = weights[f][1] * strengths[b, f] * tau / num_images
    return gradient


def centroid_slope(feature_maps, belongs, *, beta):
    """The official code's target for β: clip(3 / mean deviation, 1.5, 3), in the paper's units times 2n/(n − 1).

    deviation of one map = sqrt(Σ_ij x_ij ‖[i,j] − μ‖² / Σ_ij x_ij) about its rounded centroid μ, in cells; the plain
    mean over the images that belong. A filter without such an image keeps its β.
    """
    num_images, num_filters, height, width = feature_maps.shape
    n = math.sqrt(height * width)
    slopes = [float(b) for b in beta]
    for f in range(num_filters):
        deviations = []
        for b in range(num_images):
            x = feature_maps[b, f]
            if belongs[b, f] and x.sum() > 0.0:
                row, col = ref.centroid_cell(x)
                square = np.array([[(i - row) ** 2 + (j - col) ** 2 for j in range(width)] for i in range(height)])
                deviations.append(math.sqrt(inner(x, square) / math.fsum(float(v) for v in x.ravel())))
        if deviations:
            mean = math.fsum(deviations) / len(deviations)
            slope = 3.0 if mean == 0.0 else min(max(3.0 / mean, 1.5), 3.0)
            slopes[f] = slope * 2 * n / (n - 1)
    return np.array(slopes)
