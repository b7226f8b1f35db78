"""Which explanations of a network an evaluation holds against each other."""

from collections.abc import Callable

from torch import Tensor, nn

from partcnn.datasets.part_dataset import PartDataset
from partcnn.evaluation.faithfulness import measure_faithfulness
from partcnn.evaluation.faithfulness_result import Faithfulness
from partcnn.explanation.spatial import (
    CELLS,
    GRAD_CAM,
    GRADIENT_ACTIVATION,
    Spread,
    grad_cam,
    gradient_by_activation,
    has_captum,
    sum_of_parts,
)
from partcnn.model.network import PartNetwork, unwrapped


def faithfulness_of(model: nn.Module, dataset: PartDataset, num_images: int, *, num_workers: int = 0) -> Faithfulness:
    """Insertion and deletion of ours, of grad-CAM where captum is installed, and of random orders.

    Ours is the exact sum of parts, cell by cell; where the head is no sum, gradient × activation of the top part layer.
    Arguments and errors are those of `measure_faithfulness`.
    """
    network, left_out = unwrapped(model), dict[str, str]()
    explainers: dict[str, Callable[..., Spread]] = (
        {CELLS: sum_of_parts} if isinstance(network, PartNetwork) else {GRADIENT_ACTIVATION: gradient_by_activation}
    )
    if has_captum():
        explainers[GRAD_CAM] = grad_cam
    else:
        left_out[GRAD_CAM] = "captum is not installed; pip install 'partcnn[compare]'"
    pixels = {name: _pixels(explainer) for name, explainer in explainers.items()}
    return measure_faithfulness(
        network, dataset, pixels, num_images=num_images, num_workers=num_workers, left_out=left_out
    )


def _pixels(explainer: Callable[..., Spread]) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    return lambda network, images, classes: explainer(network, images, classes).pixels
