"""Several processes that share a batch have the losses, gradients and statistics of one process on the joined batch."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from partcnn.foundation.ranks import joined_ranks
from partcnn.model.competing import SumOfParts
from partcnn.model.competing_mask import competing_masks
from partcnn.model.competing_network import CompetingLayer, CompetingNetwork
from partcnn.model.losses import diversity_loss, equivariance_loss, filter_loss
from partcnn.model.mask import PartMask, part_masks

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="torch was built without distributed training")

CLASSES = 3
SIDE = 6
PICTURES = (9, 6, 3)  # of the steps' batches
# Of each step's pictures how many each rank has: uneven ones, and none.
SHARDS = {1: ((9,), (6,), (3,)), 2: ((6, 3), (1, 5), (3, 0)), 4: ((4, 2, 2, 1), (3, 0, 2, 1), (1, 0, 2, 0))}
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


class Filters(nn.Module):
    """Filters that are trained each for itself, and a head."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 6, 3, padding=1)
        self.mask = PartMask(6, CLASSES, **{"loss_weight": 1.0} | settings)  # type: ignore[arg-type]
        self.head = nn.Linear(6, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.mask(F.relu(self.layer(images)))
        return self.head(maps.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def competing(background: int | None) -> nn.Module:
    layer = CompetingLayer(4, 3, CLASSES, background=background, loss_weight=1.0)
    head = SumOfParts(4, 3, CLASSES, values=5, dropout=0.0)
    trunk, projection = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 4, 1)
    settings = {"dropout": 0.0, "erasing": 0.0, "layers": ["trunk"], "trunk_channels": [5]}
    return CompetingNetwork(trunk, projection, layer, head, **settings)  # type: ignore[arg-type]


class Case(NamedTuple):
    make: Callable[[], nn.Module]
    equivariance: float = 0.0
    diversity: float = 0.0
    has_object_share: bool = False
    joins: bool = True


CASES = {
    "exact": Case(lambda: Filters(objective="exact")),
    "exact, masked, with a background": Case(lambda: Filters(objective="exact", background=0)),
    "labelled": Case(lambda: Filters(objective="labelled", enabled=False)),
    "labelled, remembering": Case(lambda: Filters(objective="labelled", enabled=False, memory=3)),
    "labelled, remembering, by activation": Case(
        lambda: Filters(objective="labelled", enabled=False, memory=4, assignment="activation")
    ),
    "assigned": Case(lambda: Filters(objective="assigned")),
    "official": Case(lambda: Filters(objective="official")),
    "official of one category": Case(lambda: Filters(objective="official", background=0, assignment="even")),
    "equivariance": Case(lambda: Filters(objective=None, enabled=False), equivariance=1.0),
    "equivariance, remembering": Case(lambda: Filters(objective="labelled", memory=6), equivariance=0.3),
    "diversity": Case(lambda: Filters(objective=None), diversity=1.0),
    "competing": Case(lambda: competing(None), equivariance=0.1),
    "competing, with a background and an object map": Case(lambda: competing(0), 0.1, has_object_share=True),
}
ALONE = "exact, each rank for itself"
CASES[ALONE] = CASES["exact"]._replace(joins=False)


class Step(NamedTuple):
    loss: Tensor
    gradients: list[Tensor]
    buffers: dict[str, Tensor]


def batch(step: int, start: int, count: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Pictures in two views, frames, labels and object shares, all first views first; some of a step's pictures."""
    generator = torch.Generator().manual_seed(step)
    pictures = PICTURES[step]
    images = torch.randn(2, pictures, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)
    frames = torch.eye(2, 3, dtype=torch.float64) + 0.3 * torch.rand(2, pictures, 2, 3, generator=generator)
    shares = torch.rand(2, pictures, SIDE, SIDE, generator=generator, dtype=torch.float64)
    labels = (torch.arange(pictures) // 2 % CLASSES).expand(2, pictures)  # ranks lack categories
    chosen = slice(start, start + count)
    values = [values[:, chosen].flatten(0, 1) for values in (images, frames, shares, labels)]
    return *(value.to(dtype) for value in values[:3]), values[3]


def trained(
    case: Case, dtype: torch.dtype, rank: int = 0, world: int = 1, wrap: Callable[[nn.Module], nn.Module] | None = None
) -> list[Step]:
    """Three steps of gradient descent."""
    torch.manual_seed(0)
    model = case.make().to(dtype).train()
    for _, mask in part_masks(model):
        mask.num_views, mask.joins_ranks = 2, case.joins
    network = model if wrap is None else wrap(model)
    weights = list(model.parameters())
    centers = {name: ((torch.arange(SIDE) + 0.5) / SIDE,) * 2 for name, _ in part_masks(model)}
    steps = []
    for step in range(len(PICTURES)):
        counts = SHARDS[world][step]
        images, frames, shares, labels = batch(step, sum(counts[:rank]), counts[rank], dtype)
        logits = network(images)
        for mask in competing_masks(model) if case.has_object_share else ():
            mask.object_share = shares
        loss = joined_ranks().mean(F.cross_entropy(logits, labels, reduction="none")) + filter_loss(network, labels)
        if case.equivariance:
            loss = loss + case.equivariance * equivariance_loss(model, labels, frames, centers)
        if case.diversity:
            loss = loss + case.diversity * diversity_loss(model, labels)
        network.zero_grad()
        loss.backward()
        gradients = [weight.grad.clone() for weight in weights if weight.grad is not None]
        assert len(gradients) == len(weights)
        buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        steps.append(Step(loss.detach(), gradients, buffers))
        size = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.01 / size * gradient
    return steps


def _in_process(rank: int, world: int, folder: str) -> None:
    if world > 1:
        torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = {
        (name, dtype): [tuple(step) for step in trained(case, dtype, rank, world, nn.parallel.DistributedDataParallel)]
        for dtype in TOLERANCE
        for name, case in CASES.items()
    }
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def start(worker: Callable[..., None], world: int, *arguments: object) -> None:
    """Processes of one group, on the loopback."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if world == 1:
        worker(0, world, *arguments)
        return
    torch.multiprocessing.start_processes(worker, (world, *arguments), nprocs=world, start_method="forkserver")


@pytest.fixture(scope="module", params=SHARDS, ids="{} ranks".format)
def ranks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each rank has found, of every case."""
    folder: Path = tmp_path_factory.mktemp("ranks")
    start(_in_process, request.param, str(folder))
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.slow
@pytest.mark.fault(
    "devices",
    "a batch shared out unevenly among 1, 2 and 4 ranks, some with no picture, or with none of a category",
    "Loss, gradients and statistics of one process, within 1e-12 in float64 and 1e-6 in float32.",
)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", sorted(CASES.keys() - {ALONE}))
def test_ranks_have_the_gradient_of_one_process(name: str, dtype: torch.dtype, ranks: list[dict]):
    expected = trained(CASES[name], dtype)
    tolerance = TOLERANCE[dtype]
    for of_rank in ranks:
        for found, step in zip((Step(*values) for values in of_rank[name, dtype]), expected, strict=True):
            torch.testing.assert_close(found.loss, step.loss, rtol=tolerance, atol=tolerance)
            norm = torch.cat([gradient.flatten() for gradient in step.gradients]).norm()
            for ours, theirs in zip(found.gradients, step.gradients, strict=True):
                assert ((ours - theirs).norm() / norm).item() <= tolerance
            torch.testing.assert_close(found.buffers, step.buffers, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
def test_ranks_that_do_not_join_have_another_gradient(ranks: list[dict]):
    """What the test above would see of a loss that each rank takes of its own pictures."""
    expected = trained(CASES[ALONE], torch.float64)[0].gradients[0]
    found = Step(*ranks[0][ALONE, torch.float64][0]).gradients[0]
    error = ((found - expected).norm() / expected.norm()).item()
    assert error > 0.02 if len(ranks) > 1 else error < 1e-12
