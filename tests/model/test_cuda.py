"""What is said of CUDA, seen on a card; skipped where there is none."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from partcnn.model.conversion import convert
from partcnn.model.losses import filter_loss
from partcnn.objectives import OBJECTIVES
from tests.random_maps import random_belongs, random_maps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")


@pytest.mark.parametrize("shape", [(37, 5, 14, 14), (3, 2, 1, 7), (9, 3, 20, 17), (1, 4, 7, 7)], ids=str)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_has_the_numbers_of_the_cpu(name: str, shape: tuple[int, ...]) -> None:
    """The tolerance in float32: a GPU's exp and log err by more units than a CPU's."""
    belongs = random_belongs(*shape[:2])

    def loss_and_gradient(maps: Tensor) -> list[Tensor]:
        maps.requires_grad_()
        loss = OBJECTIVES[name](maps, belongs.to(maps.device), tau=20 / (shape[2] * shape[3])).loss
        return [loss.detach().cpu().double(), torch.autograd.grad(loss.sum(), maps)[0].cpu().double()]

    maps = random_maps(*shape)
    expected = loss_and_gradient(maps.clone())
    for dtype, tolerance in [(torch.float64, 1e-9), (torch.float32, 1e-4)]:
        for ours, wanted in zip(loss_and_gradient(maps.to("cuda", dtype)), expected, strict=True):
            atol = tolerance * max(1.0, float(wanted.abs().max()))
            torch.testing.assert_close(ours, wanted, rtol=tolerance, atol=atol)


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
def test_a_compiled_step_has_the_loss_of_the_plain_one(autocast: bool) -> None:
    trunk = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, stride=2, padding=1), torch.nn.ReLU())
    model = convert(trunk, "1", num_classes=2, background=0, dropout=0.0, erasing=0.0, input_size=(32, 32)).cuda()
    images, labels = torch.randn(8, 3, 32, 32, device="cuda"), torch.arange(8, device="cuda") % 2

    def step(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=autocast):
            logits = model(images)
        return F.cross_entropy(logits.float(), labels) + filter_loss(model, labels)

    model.eval()  # the filter loss keeps no statistics: both steps start alike
    plain, compiled = step(images, labels), torch.compile(step)(images, labels)
    torch.testing.assert_close(compiled, plain, rtol=2e-2 if autocast else 1e-4, atol=1e-4)
