"""Filters that follow one part are told apart by where they look in this picture."""

import torch

from partcnn.explanation.contribution import Contribution
from partcnn.explanation.explanation import Explanation
from partcnn.explanation.naming import parts_told_apart
from partcnn.explanation.placed_map import PlacedMap

SIZE = (100, 200)  # (height, width)
_MAP = PlacedMap(torch.zeros(1, 1))


def explanation(places: dict[int, tuple[float, float]], silent: tuple[int, ...] = ()) -> Explanation:
    """Of filters in the order of what they add."""
    contributions = [
        Contribution(number, 1.0, 0.0 if number in silent else 1.0, place, (0, 0, 1, 1), "cat", _MAP, SIZE)
        for number, place in places.items()
    ]
    return Explanation("cat", 1.0, 0.0, 0.9, contributions, {"cat": 1.0}, SIZE, None)


def test_the_strongest_filter_of_a_part_has_its_name_and_others_lie_beside_it() -> None:
    places = {5: (100, 50), 2: (40, 50), 7: (100, 90), 1: (160, 10), 9: (104, 52), 0: (10, 10)}
    told = parts_told_apart(explanation(places), dict.fromkeys((5, 2, 7, 1, 9), "body") | {0: "head"})
    assert told == {
        5: "body",
        2: "body, left of 5",
        7: "body, below 5",
        1: "body, above right of 5",
        9: "body, where 5 is",
        0: "head",
    }


def test_a_filter_that_found_nothing_is_beside_nobody_and_nobody_beside_it() -> None:
    told = parts_told_apart(
        explanation({3: (0, 0), 4: (50, 50), 6: (90, 50)}, silent=(3,)), dict.fromkeys((3, 4, 6), "leg")
    )
    assert told == {3: "leg", 4: "leg", 6: "leg, right of 4"}


def test_filters_that_follow_no_part_are_left_out() -> None:
    assert parts_told_apart(explanation({3: (0, 0)}), {}) == {}
