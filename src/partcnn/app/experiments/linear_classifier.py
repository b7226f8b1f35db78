"""What a trunk knows without parts: a linear classifier on the means of its maps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_STEPS = 300
_LR = 1e-2
_WEIGHT_DECAY = 0.1


def train_linear_classifier(means: Tensor, labels: Tensor, num_classes: int, *, seed: int) -> nn.Linear:
    """Softmax regression by AdamW on all pictures at once, each channel standardised meanwhile.

    Args:
        means: [picture, channel] of a trunk's maps over their cells.
        labels: [picture].

    Returns:
        Takes means as they are.
    """
    center, std = means.mean(dim=0), means.std(dim=0).clamp(min=1e-6)
    torch.manual_seed(seed)
    linear = nn.Linear(means.shape[1], num_classes)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=_LR, weight_decay=_WEIGHT_DECAY)
    for _ in range(_STEPS):
        loss = F.cross_entropy(linear((means - center) / std), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        linear.weight.div_(std)
        linear.bias.sub_(linear.weight @ center)
    return linear
