"""TensorFlow's SAME padding, for networks whose weights were trained with it."""

from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from partcnn.foundation.errors import ConfigError

Padding = Literal["torch", "tensorflow"]


def with_padding(network: nn.Module, padding: str) -> nn.Module:
    """Exchange the network's strided, padded convolutions in place, or leave them.

    Args:
        network: its state-dict keys and weights stay.
        padding: "torch" leaves the network as it is; "tensorflow" makes each such convolution a
            TensorFlowConv2d. At stride 1 both ways agree for odd kernels, unpadded ones are VALID in both.

    Returns:
        The same network.

    Raises:
        ConfigError: another padding.
    """
    if padding not in ("torch", "tensorflow"):
        raise ConfigError(f"padding: expected torch or tensorflow, got {padding!r}")
    if padding == "tensorflow":
        for parent in list(network.modules()):
            for name, layer in parent.named_children():
                if type(layer) is nn.Conv2d and max(layer.stride) > 1 and layer.padding != (0, 0):
                    setattr(parent, name, TensorFlowConv2d.like(layer))
    return network


class TensorFlowConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding: ⌈size / stride⌉ cells, the odd pixel right and below.

    PyTorch pads both sides alike, which moves what a cell of a stride-2 convolution sees by one pixel. The
    total per axis is (⌈size/stride⌉ − 1)·stride + dilation·(kernel − 1) + 1 − size, at least 0.
    Source: TensorFlow's guide to tf.nn, "Notes on padding".
    """

    @classmethod
    def like(cls, conv: nn.Conv2d) -> "TensorFlowConv2d":
        """One that shares the weights of `conv`."""
        same = cls(
            conv.in_channels,
            conv.out_channels,
            cast(tuple[int, int], conv.kernel_size),
            cast(tuple[int, int], conv.stride),
            dilation=cast(tuple[int, int], conv.dilation),
            groups=conv.groups,
            bias=conv.bias is not None,
        )
        same.weight, same.bias = conv.weight, conv.bias
        return same

    def forward(self, input: Tensor) -> Tensor:  # [image, channel, row, col]
        margins: list[int] = []
        for axis in (1, 0):  # F.pad takes the last axis first
            size, kernel, stride = input.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            total = (-(-size // stride) - 1) * stride + self.dilation[axis] * (kernel - 1) + 1 - size
            total = max(total, 0)  # a kernel below the stride
            margins += [total // 2, total - total // 2]
        padded = F.pad(input, margins)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
