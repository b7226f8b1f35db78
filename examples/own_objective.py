"""An objective of one's own: each filter is to fire on its own category and on no other."""

import torch
from torch import Tensor

import partcnn
from partcnn.networks import DemoNet
from partcnn.objectives import OBJECTIVES, Objective, ObjectiveValue
from partcnn.objectives.values import value_of


def selective(
    feature_maps: Tensor,  # [image, filter, row, col]
    belongs: Tensor,  # [image, filter] bool: the image is of the filter's category
    *,
    tau: float | Tensor,
    beta: float | Tensor = 4.0,
    counted: Tensor | None = None,  # [image, filter] bool; None: all images count for all filters
) -> ObjectiveValue:
    """−log of the share of a filter's activation, in means over pictures, that falls on its own category."""
    counted = torch.ones_like(belongs) if counted is None else counted
    activation = feature_maps.float().mean(dim=(2, 3))  # [image, filter]
    others = counted & ~belongs
    on_own = (activation * belongs).sum(dim=0) / belongs.sum(dim=0).clamp(min=1) + 1e-6
    on_others = (activation * others).sum(dim=0) / others.sum(dim=0).clamp(min=1) + 1e-6
    loss = (on_others / on_own).log1p() * belongs.any(dim=0)  # 0 where no picture is of the category
    return value_of(loss, on_own=on_own, on_others=on_others)


OBJECTIVES["selective"] = Objective(selective, assignment="even", counts_earlier=True)

if __name__ == "__main__":
    torch.manual_seed(0)
    animals = partcnn.load_dataset("demo:6")
    model = partcnn.convert(
        DemoNet(), num_classes=len(animals.classes), filters=12, input_size=(112, 112), objective="selective"
    )
    history = partcnn.fit(model, animals, partcnn.Recipe(epochs=5, num_views=2), is_progress_shown=False)
    print(f"filter loss: {history.epochs[0]['filter_loss']:.3f} before, {history.epochs[-1]['filter_loss']:.3f} after")
    partcnn.load(partcnn.save(model, "selective"))  # finds the row by its name
