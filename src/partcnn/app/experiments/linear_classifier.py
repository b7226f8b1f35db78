"""What a trunk knows without parts: a linear classifier on the means of its maps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHT_DECAYS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)
_NUM_FOLDS = 5
_MOST_ITERATIONS = 200


def train_linear_classifier(means: Tensor, labels: Tensor, num_classes: int) -> nn.Linear:
    """Softmax regression, trained to its end on standardised channels:

        min  mean cross-entropy + ½ decay ‖W‖²

    The decay is that of `WEIGHT_DECAYS` with the most right answers in 5-fold cross-validation over these pictures,
    every fifth one of a class in a fold; the larger one of equals.

    Args:
        means: [picture, channel] of a trunk's maps over their cells, of training pictures.
        labels: [picture].

    Returns:
        In float64; takes means as they are.
    """
    means = means.double()
    center, std = means.mean(dim=0), means.std(dim=0).clamp(min=1e-6)
    standardised = (means - center) / std
    folds = torch.empty(len(labels), dtype=torch.long)
    folds[labels.argsort(stable=True)] = torch.arange(len(labels)) % _NUM_FOLDS

    def num_right(decay: float) -> int:
        right = 0
        for fold in range(_NUM_FOLDS):
            linear = _fitted(standardised[folds != fold], labels[folds != fold], num_classes, decay)
            right += int((linear(standardised[folds == fold]).argmax(dim=1) == labels[folds == fold]).sum())
        return right

    best = max(reversed(WEIGHT_DECAYS), key=num_right)
    linear = _fitted(standardised, labels, num_classes, best)
    with torch.no_grad():
        linear.weight.div_(std)
        linear.bias.sub_(linear.weight @ center)
    return linear


def _fitted(inputs: Tensor, labels: Tensor, num_classes: int, decay: float) -> nn.Linear:
    linear = nn.Linear(inputs.shape[1], num_classes, dtype=torch.float64)
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=_MOST_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(linear(inputs), labels) + decay / 2 * linear.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    return linear
