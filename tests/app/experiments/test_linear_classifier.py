"""A linear classifier of maps' means: against its own equation, on channels of any scale, and never at chance for want
of a good decay."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.app.experiments import linear_classifier
from partcnn.app.experiments.linear_classifier import train_linear_classifier

SCALES = torch.tensor([1e-3, 1.0, 50.0, 3.0])


def _pictures(generator: torch.Generator, number: int = 90) -> tuple[Tensor, Tensor]:
    labels = torch.arange(number) % 3
    means = torch.randn(number, 4, generator=generator) + 2 * F.one_hot(labels, 4)
    return 7 + SCALES * means, labels


def test_it_is_the_least_of_its_equation(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_classifier, "WEIGHT_DECAYS", (0.1,))
    means, labels = _pictures(generator)
    linear = train_linear_classifier(means, labels, 3)
    center, std = means.double().mean(dim=0), means.double().std(dim=0)
    weight = (linear.weight * std).detach().requires_grad_()  # of standardised channels
    bias = (linear.bias + linear.weight @ center).detach().requires_grad_()
    loss = F.cross_entropy((means.double() - center) / std @ weight.T + bias, labels) + 0.05 * weight.square().sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert gradient.abs().max() < 1e-5


def test_it_tells_pictures_apart_that_it_never_saw(generator: torch.Generator) -> None:
    means, labels = _pictures(generator)
    linear = train_linear_classifier(means, labels, 3)
    unseen, truth = _pictures(generator, 300)
    assert (linear(unseen.double()).argmax(dim=1) == truth).double().mean() > 0.8


def _chosen(means: Tensor, labels: Tensor, decays: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> float:
    fitted = linear_classifier._fitted
    made: list[tuple[int, float]] = []

    def noted(inputs: Tensor, of_these: Tensor, num_classes: int, decay: float) -> torch.nn.Linear:
        assert len(of_these.unique()) == num_classes
        made.append((len(inputs), decay))
        return fitted(inputs, of_these, num_classes, decay)

    monkeypatch.setattr(linear_classifier, "_fitted", noted)
    monkeypatch.setattr(linear_classifier, "WEIGHT_DECAYS", decays)
    train_linear_classifier(means, labels, int(labels.max()) + 1)
    assert [number for number, _ in made] == 5 * len(decays) * [len(means) * 4 // 5] + [len(means)]
    return made[-1][1]


def test_the_decay_is_chosen_on_pictures_left_out(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.arange(200) % 5
    noise = torch.randn(200, 1, generator=generator)
    alike = torch.cat([10 * noise + F.one_hot(labels, 5), 10 * noise], dim=1)  # told apart by their difference
    assert _chosen(alike, labels, (1e-6, 1e3), monkeypatch) == 1e-6
    many = torch.randn(200, 300, generator=generator)  # any decay fits more channels than pictures
    many[:, :5] += 2 * F.one_hot(labels, 5)
    assert _chosen(many, labels, (1e-6, 1.0), monkeypatch) == 1.0
