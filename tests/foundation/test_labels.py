"""Class indices and marks say the same where every picture shows one class."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from partcnn.foundation.labels import answered, are_marks, class_marks, shows_category, shows_object

INDICES = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(torch.tensor)


@given(INDICES, st.sampled_from([None, 0, 3]))
def test_marks_of_one_class_each_are_as_its_index(labels: torch.Tensor, background: int | None) -> None:
    marks, categories = class_marks(labels, 4), torch.tensor([0, 1, 1, 3])
    assert are_marks(marks)
    assert not are_marks(labels)
    assert class_marks(marks, 4) is marks
    assert shows_category(marks, categories).equal(shows_category(labels, categories))
    if background is None:
        assert shows_object(marks, None).equal(shows_object(labels, None))
    else:
        assert shows_object(labels, background).equal(labels != background)


def test_a_picture_without_a_mark_shows_no_object() -> None:
    marks = torch.tensor([[0, 0], [1, 0], [1, 1]])
    assert shows_object(marks, None).tolist() == [False, True, True]
    assert shows_category(marks, torch.tensor([1, 0])).tolist() == [[False, False], [False, True], [True, True]]


@pytest.mark.parametrize(("is_multilabel", "expected"), [(False, [(1,), (0,)]), (True, [(1, 2), ()])])
def test_what_is_answered(is_multilabel: bool, expected: list[tuple[int, ...]]) -> None:
    logits = torch.tensor([[-1.0, 2.0, 0.5], [-0.1, -0.3, -0.2]])
    assert answered(logits, is_multilabel=is_multilabel) == expected
