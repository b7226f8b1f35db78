"""Masks beside the skip connection: where a residual block adds its branch, and what masking it alone computes."""

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import partcnn
from partcnn.foundation.errors import LayerError
from partcnn.model.conversion import convert, remove_masks
from partcnn.model.losses import filter_loss
from partcnn.model.mask import part_masks
from partcnn.model.network import conversion_of, recorded_feature_maps
from partcnn.networks.probing.skip_connections import residual_branches
from partcnn.objectives.templates import peak_templates

SIZE = (64, 64)


@pytest.fixture
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5).eval()


@pytest.fixture
def pictures(generator: torch.Generator) -> Tensor:
    return torch.randn(2, 3, *SIZE, generator=generator)


def last_block_by_hand(block: nn.Module, maps: Tensor, *, is_masked: bool) -> tuple[Tensor, Tensor]:
    """The output of a basic block whose branch is masked, and the branch, written out."""
    branch = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(maps)))))
    window = peak_templates(branch) if is_masked else torch.ones_like(branch)
    return F.relu(branch * window + maps), branch


def test_the_mask_takes_from_the_branch_and_leaves_what_the_skip_connection_carries(
    resnet: nn.Module, pictures: Tensor
) -> None:
    model = convert(resnet, "layer3", num_classes=5, head="original", mask_skip=False, input_size=SIZE).eval()
    with torch.no_grad(), recorded_feature_maps(model) as maps:
        logits = model(pictures)
        below = resnet.layer3[0](
            resnet.layer2(resnet.layer1(resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(pictures))))))
        )
        output, branch = last_block_by_hand(resnet.layer3[1], below, is_masked=True)
        unmasked, _ = last_block_by_hand(resnet.layer3[1], below, is_masked=False)
        expected = resnet.fc(resnet.layer4(output).mean(dim=(2, 3)))
        assert not torch.allclose(output, unmasked)
        torch.testing.assert_close(logits, expected)
        assert branch.amin() < 0  # both signs pass, and filters are what is above 0
        torch.testing.assert_close(maps["layer3.1.bn2.part_mask"], branch.clamp(min=0))


def test_the_two_ways_differ_and_say_which_they_are(resnet: nn.Module, pictures: Tensor) -> None:
    under, beside = (
        convert(resnet, "layer3", num_classes=5, head="original", mask_skip=mask_skip, input_size=SIZE).eval()
        for mask_skip in (True, False)
    )
    assert [name for name, _ in part_masks(under)] == ["layer3.1.part_mask"]
    assert [name for name, _ in part_masks(beside)] == ["layer3.1.bn2.part_mask"]
    assert conversion_of(beside).settings.mask_skip is False
    assert conversion_of(beside).settings.layers == ("layer3",)
    with torch.no_grad():
        assert not torch.allclose(under(pictures), beside(pictures))


def test_keys_are_the_sources_and_the_masks_and_undoing_is_exact(resnet: nn.Module, pictures: Tensor) -> None:
    with torch.no_grad():
        before = resnet(pictures)
        model = convert(resnet, "layer3", num_classes=5, head="original", mask_skip=False, input_size=SIZE).eval()
        added = model.state_dict().keys() - resnet.state_dict().keys()
        assert added == {f"layer3.1.bn2.part_mask.{key}" for key in model.layer3[1].bn2.part_mask.state_dict()}
        assert resnet.state_dict().keys() < model.state_dict().keys()
        assert not torch.equal(model(pictures), before)
        assert torch.equal(remove_masks(model)(pictures), before)


def test_without_masks_the_branch_is_read_and_nothing_changes(resnet: nn.Module, pictures: Tensor) -> None:
    settings = {"num_classes": 5, "head": "original", "mask_skip": False, "masks": False, "input_size": SIZE}
    model = convert(resnet, "layer3", **settings).eval()
    with torch.no_grad():
        assert torch.equal(model(pictures), resnet(pictures))  # the block adds in place to what the mask gave
        assert filter_loss(model, torch.tensor([0, 1])) > 0


def test_gradients_reach_the_branch_through_loss_and_mask(resnet: nn.Module, pictures: Tensor) -> None:
    model = convert(resnet, "layer3", num_classes=5, head="original", mask_skip=False, input_size=SIZE).train()
    model(pictures)
    filter_loss(model, torch.tensor([0, 1])).backward()
    assert model.layer3[1].conv2.weight.grad.abs().sum() > 0
    assert model.layer4[0].conv1.weight.grad is None


def test_it_is_saved_and_loaded(resnet: nn.Module, pictures: Tensor, tmp_path: object) -> None:
    model = convert(resnet, "layer3", num_classes=5, head="original", mask_skip=False, input_size=SIZE).eval()
    loaded = partcnn.load(partcnn.save(model, str(tmp_path)))
    with torch.no_grad():
        assert torch.equal(loaded(pictures), model(pictures))
    assert [name for name, _ in part_masks(loaded)] == ["layer3.1.bn2.part_mask"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", {"layer1.0": "layer1.0.bn2", "layer2.0": "layer2.0.bn2", "layer2.1": "layer2.1.bn2"}),
        ("mobilenet_v2", {"features.3": "features.3.conv", "features.5": "features.5.conv"}),
        ("regnet_x_400mf", {"trunk_output.block3.block3-1": "trunk_output.block3.block3-1.f"}),
        ("efficientnet_b0", {"features.2.1": "features.2.1.stochastic_depth"}),
    ],
)
def test_branches_are_found_by_what_is_added(name: str, expected: dict[str, str]) -> None:
    branches = residual_branches(torchvision.models.get_model(name, num_classes=5), (32, 32))
    assert {block: branches.get(block) for block in expected} == expected
    assert all(branch.startswith(f"{block}.") for block, branch in branches.items())


def test_a_network_without_skip_connections_is_refused() -> None:
    network = torchvision.models.squeezenet1_1(num_classes=5)
    with pytest.raises(LayerError, match="one without"):
        convert(network, num_classes=5, head="original", mask_skip=False, input_size=SIZE)


def test_a_layer_without_a_skip_connection_is_answered_with_those_that_have_one(resnet: nn.Module) -> None:
    with pytest.raises(LayerError, match=r"'relu'.*layer1\.0, layer1\.1"):
        convert(resnet, "relu", num_classes=5, head="original", mask_skip=False, input_size=SIZE)


def test_auto_takes_the_deepest_fine_block_that_has_a_skip_connection(resnet: nn.Module) -> None:
    model = convert(resnet, num_classes=5, head="original", mask_skip=False, input_size=(112, 112))
    assert conversion_of(model).settings.layers == ("layer2.1",)


def test_a_branch_with_the_channels_last_is_refused() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(8, 8)

        def forward(self, maps: Tensor) -> Tensor:
            return maps + self.mix(maps)  # type: ignore[no-any-return]

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.block, self.classifier = nn.Conv2d(3, 8, 4, stride=4), Last(), nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.classifier(self.block(self.conv(images).permute(0, 2, 3, 1)).mean(dim=(1, 2)))  # type: ignore[no-any-return]

    with pytest.raises(LayerError, match=r"'block\.mix' gives maps \[image, row, col, channel\]"):
        convert(Network(), "block", num_classes=5, head="original", mask_skip=False, input_size=SIZE)
