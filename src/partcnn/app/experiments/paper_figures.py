"""The figures printed in Tables 1–7 of Zhang, Wu & Zhu, Interpretable Convolutional Neural Networks (CVPR 2018).

Category names are those of the readers: the paper's "cat" and "hippo" of Animal-Part are "domestic cat" and
"hippopotamus" here. Accuracies are shares; the paper prints percent.
"""

from typing import NamedTuple, TypeAlias

NETWORKS = ("AlexNet", "VGG-16", "VGG-M", "VGG-S")
AVERAGE = "avg"


class Printed(NamedTuple):
    """A figure of the ordinary network and of the interpretable one; None where the paper prints a dash."""

    plain: float | None
    interpretable: float | None


Rows: TypeAlias = dict[str, dict[str, Printed]]  # row → network → figures


def _row(*figures: float | None) -> dict[str, Printed]:
    """Ordinary and interpretable by turns, in the order of NETWORKS."""
    pairs = zip(figures[0::2], figures[1::2], strict=True)
    return {network: Printed(*pair) for network, pair in zip(NETWORKS, pairs, strict=True)}


# Part interpretability, one category, VOC Part.
TABLE_1: Rows = {
    "bird": _row(0.332, 0.77, 0.519, 0.818, 0.357, 0.821, 0.251, 0.526),
    "cat": _row(0.363, 0.565, 0.458, 0.653, 0.365, 0.632, 0.269, 0.366),
    "cow": _row(0.34, 0.618, 0.479, 0.683, 0.347, 0.634, 0.235, 0.291),
    "dog": _row(0.374, 0.571, 0.534, 0.9, 0.368, 0.669, 0.275, 0.432),
    "horse": _row(0.308, 0.729, 0.44, 0.795, 0.331, 0.736, 0.223, 0.478),
    "sheep": _row(0.373, 0.669, 0.542, 0.772, 0.373, 0.756, 0.287, 0.251),
    "avg": _row(0.348, 0.654, 0.495, 0.77, 0.357, 0.708, 0.257, 0.39),
}
# Part interpretability, several categories, VOC Part.
TABLE_2: Rows = {
    "VOC Part, logistic": _row(None, None, 0.710, 0.938, 0.478, 0.770, 0.479, 0.572),
    "VOC Part, softmax": _row(None, None, 0.723, 0.897, 0.502, 0.734, 0.435, 0.601),
}
# Location instability, one category, Animal-Part.
TABLE_3: Rows = {
    "goldfish": _row(0.161, 0.084, 0.153, 0.076, 0.161, 0.088, 0.158, 0.087),
    "bird": _row(0.167, 0.095, 0.156, 0.099, 0.166, 0.088, 0.166, 0.101),
    "frog": _row(0.152, 0.09, 0.144, 0.086, 0.151, 0.089, 0.149, 0.093),
    "turtle": _row(0.153, 0.107, 0.15, 0.115, 0.153, 0.108, 0.151, 0.107),
    "lizard": _row(0.175, 0.097, 0.17, 0.113, 0.176, 0.099, 0.173, 0.096),
    "koala": _row(0.128, 0.079, 0.127, 0.07, 0.128, 0.08, 0.127, 0.084),
    "lobster": _row(0.123, 0.077, 0.126, 0.084, 0.125, 0.074, 0.124, 0.078),
    "dog": _row(0.144, 0.093, 0.143, 0.077, 0.145, 0.09, 0.143, 0.091),
    "fox": _row(0.143, 0.087, 0.137, 0.069, 0.145, 0.082, 0.142, 0.082),
    "domestic cat": _row(0.148, 0.095, 0.148, 0.086, 0.15, 0.103, 0.148, 0.101),
    "lion": _row(0.137, 0.084, 0.139, 0.067, 0.14, 0.079, 0.138, 0.082),
    "tiger": _row(0.142, 0.09, 0.144, 0.097, 0.145, 0.089, 0.142, 0.089),
    "bear": _row(0.144, 0.095, 0.143, 0.081, 0.144, 0.101, 0.143, 0.097),
    "rabbit": _row(0.148, 0.095, 0.146, 0.079, 0.15, 0.097, 0.148, 0.091),
    "hamster": _row(0.128, 0.077, 0.125, 0.066, 0.128, 0.082, 0.128, 0.076),
    "squirrel": _row(0.149, 0.095, 0.15, 0.065, 0.15, 0.095, 0.146, 0.098),
    "horse": _row(0.152, 0.098, 0.15, 0.106, 0.151, 0.095, 0.149, 0.096),
    "zebra": _row(0.154, 0.084, 0.153, 0.077, 0.158, 0.08, 0.155, 0.08),
    "swine": _row(0.141, 0.091, 0.141, 0.094, 0.14, 0.095, 0.139, 0.092),
    "hippopotamus": _row(0.141, 0.089, 0.14, 0.083, 0.14, 0.084, 0.14, 0.088),
    "cattle": _row(0.144, 0.097, 0.14, 0.102, 0.143, 0.092, 0.141, 0.094),
    "sheep": _row(0.155, 0.101, 0.15, 0.097, 0.155, 0.094, 0.155, 0.101),
    "antelope": _row(0.147, 0.085, 0.144, 0.091, 0.146, 0.077, 0.143, 0.077),
    "camel": _row(0.153, 0.102, 0.149, 0.105, 0.154, 0.104, 0.154, 0.102),
    "otter": _row(0.159, 0.104, 0.154, 0.093, 0.16, 0.102, 0.158, 0.105),
    "armadillo": _row(0.16, 0.095, 0.163, 0.1, 0.161, 0.093, 0.157, 0.094),
    "monkey": _row(0.139, 0.09, 0.136, 0.074, 0.14, 0.086, 0.14, 0.09),
    "elephant": _row(0.125, 0.085, 0.129, 0.084, 0.126, 0.087, 0.125, 0.086),
    "red panda": _row(0.14, 0.084, 0.143, 0.067, 0.142, 0.089, 0.139, 0.078),
    "giant panda": _row(0.125, 0.073, 0.125, 0.063, 0.127, 0.068, 0.125, 0.072),
    "avg": _row(0.146, 0.091, 0.144, 0.085, 0.147, 0.09, 0.145, 0.09),
}
# Location instability, one category, VOC Part.
TABLE_4: Rows = {
    "bird": _row(0.153, 0.09, 0.145, 0.101, 0.152, 0.086, 0.152, 0.089),
    "cat": _row(0.131, 0.089, 0.133, 0.098, 0.132, 0.094, 0.131, 0.092),
    "cow": _row(0.141, 0.09, 0.146, 0.105, 0.143, 0.09, 0.141, 0.092),
    "dog": _row(0.128, 0.088, 0.127, 0.074, 0.13, 0.087, 0.128, 0.087),
    "horse": _row(0.145, 0.087, 0.143, 0.097, 0.145, 0.084, 0.144, 0.086),
    "sheep": _row(0.14, 0.088, 0.143, 0.1, 0.141, 0.084, 0.141, 0.088),
    "avg": _row(0.14, 0.088, 0.139, 0.096, 0.141, 0.088, 0.139, 0.089),
}
# Location instability, CUB-200-2011, all species as one category.
TABLE_5: Rows = {
    "bird": _row(0.150, 0.070, 0.137, 0.076, 0.148, 0.065, 0.148, 0.073),
}
# Location instability, several categories.
TABLE_6: Rows = {
    "Animal-Part (paper: logistic loss)": _row(None, None, None, None, 0.167, 0.096, 0.131, 0.083),
    "VOC Part, logistic": _row(None, None, 0.128, 0.073, 0.135, 0.083, 0.138, 0.078),
    "VOC Part, softmax": _row(None, None, 0.142, 0.075, 0.137, 0.087, 0.138, 0.082),
}
# Accuracy.
TABLE_7: Rows = {
    "Animal-Part, several (paper: logistic loss)": _row(None, None, None, None, 0.9673, 0.9799, 0.9698, 0.9872),
    "VOC Part, several, logistic": _row(None, None, 0.9797, 0.9850, 0.9388, 0.9619, 0.9405, 0.9678),
    "VOC Part, several, softmax": _row(None, None, 0.8971, 0.9160, 0.8193, 0.8803, 0.7815, 0.8613),
    "Animal-Part, one category": _row(0.9628, 0.9538, 0.9858, 0.9667, 0.9734, 0.9577, 0.9762, 0.9564),
    "VOC Part, one category": _row(0.9540, 0.9393, 0.9866, 0.9539, 0.9682, 0.9417, 0.9774, 0.9547),
    "CUB, one category": _row(0.9559, 0.9535, 0.9891, 0.9651, 0.9734, 0.9603, 0.9724, 0.9582),
}
