"""What a saved network gives for one picture of noise, so that loading can tell whether it is the same network.

Names of layers and shapes of weights do not tell: another stride, another activation function, a hook or a changed
`forward` leave them as they are. The answer does.
"""

import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from partcnn.foundation.errors import LayerError
from partcnn.model.mask import part_masks
from partcnn.model.network import PartNetwork, conversion_of, unwrapped
from partcnn.networks.probing.probe import left_as_it_was, probed

_log = logging.getLogger("partcnn")

_MOST_NUMBERS = 64  # of each tensor
_TOLERANCE = 1e-3  # of the numbers, as a share of their root mean square
_LOOSE_TOLERANCE = 0.1  # where it was saved from half precision or another device, whose sums come out otherwise


def answer_of(model: nn.Module) -> dict[str, Any] | None:
    """What the network gives for one picture of noise of its input size, in evaluation mode, for config.json.

    The network, its modes, and the maps that it recorded stay as they were.

    Returns:
        {"tolerance": a share of the root mean square, "tensors": {name: {"shape", "rms", "numbers"}}}, the numbers
        those at even distances; or None, which is logged: the network does not take such a picture, or gives no
        numbers, or others each time.
    """
    try:
        first, second = (_tensors(model) for _ in range(2))
    except LayerError as error:
        _log.warning("save: no answer is kept to know the network by: %s", error)
        return None
    reference = next(unwrapped(model).parameters(), torch.zeros(()))
    is_exact = reference.device.type == "cpu" and reference.dtype in (torch.float32, torch.float64)
    tensors = {name: _described(tensor) for name, tensor in first.items()}
    answer = {"tolerance": _TOLERANCE if is_exact else _LOOSE_TOLERANCE, "tensors": tensors}
    if problems_of_answer(answer) or _difference(answer, second) is not None:
        _log.warning("save: no answer is kept to know the network by: it gives no numbers, or others each time")
        return None
    return answer


def other_answer(model: nn.Module, answer: Mapping[str, Any]) -> str | None:
    """What the network gives that is not what `answer_of` kept, in words; None: it gives the same.

    Raises:
        LayerError: the network does not take such a picture.
    """
    return _difference(answer, _tensors(model))


def problems_of_answer(answer: Any) -> list[str]:
    """What is wrong with the entry of config.json, which a stranger may have written."""
    if answer is None:
        return []
    is_table = isinstance(answer, dict) and isinstance(answer.get("tensors"), dict)
    if is_table and is_number(answer.get("tolerance")) and all(map(_is_description, answer["tensors"].values())):
        return []
    return ["answer: expected the numbers that partcnn.save writes, or null"]


class _Answering(nn.Module):
    """Gives the maps that tell the network by, and the logits, which are all 0 before the first training."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        if isinstance(self.network, PartNetwork):
            features = self.network.features(images)
            return {"features": features, "logits": self.network.forward_from_features(features)}
        logits: Tensor = self.network(images)
        maps = {name: mask.feature_maps for name, mask in part_masks(self.network)}
        return {**{name: each for name, each in maps.items() if each is not None}, "logits": logits}


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    network = unwrapped(model)
    with left_as_it_was(network):
        tensors: dict[str, Tensor] = probed(_Answering(network), conversion_of(model).preprocessing.input_size)
    return tensors


def _described(tensor: Tensor) -> dict[str, Any]:
    """The shape, the root mean square, and at most 64 numbers at even distances."""
    values = tensor.detach().double().cpu().flatten()
    rms = float(values.square().mean().sqrt()) if len(values) else 0.0
    count = min(_MOST_NUMBERS, len(values))
    numbers = [float(values[place * len(values) // count]) for place in range(count)]
    return {"shape": list(tensor.shape), "rms": rms, "numbers": numbers}


def _difference(answer: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str | None:
    for name, kept in answer["tensors"].items():
        found: dict[str, Any] = _described(tensors[name]) if name in tensors else {"shape": None}
        if found["shape"] != kept["shape"]:
            return f"{name} of shape {found['shape']}, not {kept['shape']}"
        limit = answer["tolerance"] * kept["rms"]
        pairs = zip([*found["numbers"], found["rms"]], [*kept["numbers"], kept["rms"]], strict=True)
        if not all(abs(one - other) <= limit for one, other in pairs):
            return f"other {name}"
    return None


def is_number(value: Any) -> bool:
    """Whether a value out of JSON is a finite number that a float can hold; a whole number may be larger."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max


def _is_description(value: Any) -> bool:
    if not (
        isinstance(value, dict) and isinstance(value.get("shape"), list) and isinstance(value.get("numbers"), list)
    ):
        return False
    count = min(_MOST_NUMBERS, math.prod(side for side in value["shape"] if isinstance(side, int)))
    are_numbers = all(is_number(number) for number in value["numbers"])
    return len(value["numbers"]) == count and are_numbers and is_number(value.get("rms"))
