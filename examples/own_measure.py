"""A measure of one's own: how often a filter's peak stays near its usual offset from the part."""

import torch
from torch import Tensor

import partcnn
from partcnn.evaluation.figures import OF_TABLES
from partcnn.metrics.functional.results import PartMetric, with_best_part
from partcnn.metrics.functional.strongest import LANDMARK, PEAK, num_ranked
from partcnn.metrics.measures import MEASURES, Measure
from partcnn.networks import DemoNet


def constancy(table: Tensor, diagonal: float, is_dead: Tensor | None) -> PartMetric:
    """Of each filter's strongest pictures, the share whose arrow from part to peak is within 5 % of the median one."""
    arrows = table[..., PEAK] - table[..., LANDMARK]  # [filter, part, rank, 2]
    distance = (arrows - arrows.nanmedian(dim=2, keepdim=True).values).norm(dim=-1)
    num_images = num_ranked(table)
    return with_best_part((distance < 0.05 * diagonal).sum(dim=2).double() / num_images, num_images, sign=1)


OF_TABLES["constancy"] = constancy
MEASURES["constancy"] = Measure(
    name="constancy",
    title="constancy",
    sentence="On how many pictures the peak stays within 5 % of its usual offset from the part.",
    column="constant",
    is_filter_column=True,
    better=1,
    highest=1,
    by_filter="constancy",
    is_percent=True,
)

if __name__ == "__main__":
    torch.manual_seed(0)
    model = partcnn.convert(DemoNet(), num_classes=2, filters=6, background=0, input_size=(112, 112))
    evaluation = partcnn.evaluate(model, partcnn.load_dataset("demo:8", category="cat", split="all"))
    for name in ("part_tracking_r2", "constancy"):  # ours and yours, and what a point that never moves gets
        print(f"{name}: {evaluation.summary[name]:.3f}, {evaluation.baselines['constant_point'][name]:.3f}")
