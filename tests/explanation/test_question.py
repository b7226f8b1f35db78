"""A question names two different classes, and costs no more passes than it needs."""

import pytest
import torch

from partcnn.explanation.question import Question, attributed
from partcnn.foundation.errors import ConfigError
from tests.discs import INPUT_PX, disc_model

CLASSES = ["night", "disc"]


def test_a_contrast_points_from_one_class_to_the_other() -> None:
    assert Question(["a", "b", "c"], 2, 0).direction.tolist() == [-1, 0, 1]
    assert Question(["a", "b", "c"], 1).direction.tolist() == [0, 1, 0]
    with pytest.raises(ConfigError, match="another class than the explained one, b"):
        Question(["a", "b", "c"], 1, 1)


@pytest.mark.parametrize(
    ("label", "against", "num_passes"), [(None, None, 1), (1, None, 1), (1, 0, 1), (None, "other", 2)], ids=str
)
def test_the_network_runs_again_only_to_contrast_what_it_predicts(
    label: int | None, against: int | str | None, num_passes: int
) -> None:
    model, picture = disc_model(), torch.zeros(1, 3, INPUT_PX, INPUT_PX)
    with torch.no_grad():
        predicted = int(model(picture).argmax())
    other = 1 - predicted if against == "other" else against
    passes: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: passes.append(len(output)))
    question, found = attributed(model, picture, CLASSES, label, other)  # type: ignore[arg-type]
    assert len(passes) == num_passes
    assert question.label == (predicted if label is None else label)
    assert float(found.explained[0]) == pytest.approx(float(found.logits[0] @ question.direction))
