"""Names of filters: what may be one, and that it goes with its filter."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from partcnn.foundation.errors import ConfigError
from partcnn.model.conversion import convert
from partcnn.model.naming import MOST_LETTERS, checked_name, checked_names, filter_names, name_filters, names_of_kept
from partcnn.networks.demo_net import DemoNet

SEEN = st.characters(codec="utf-8", categories=("L", "M", "N", "P", "S"))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return convert(DemoNet(), "features.block1", num_classes=2, filters=3, input_size=(32, 40))


def test_a_network_has_no_names_until_it_is_given_some(model: nn.Module) -> None:
    assert filter_names(model) == {}
    name_filters(model, {2: "leg", 0: "  left \u0065\u0301ar "})
    assert filter_names(model) == {0: "left éar", 2: "leg"}
    name_filters(model, {1: "leg"})
    assert filter_names(nn.DataParallel(model)) == {1: "leg"}


def test_what_is_given_back_is_a_copy(model: nn.Module) -> None:
    filter_names(model)[0] = "ear"
    assert filter_names(model) == {}


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ({3: "leg"}, "expected a filter from 0 to 2, got 3"),
        ({-1: "leg"}, "expected a filter from 0 to 2, got -1"),
        ({True: "leg"}, "expected a filter from 0 to 2, got True"),
        ({"1": "leg"}, "expected a filter from 0 to 2, got '1'"),
        ({10**5000: "leg"}, "expected a filter from 0 to 2, got a int"),
        ({1: None}, "filter 1: expected a name, got None; put it in quotes"),
        ({1: ["leg"]}, "filter 1: expected a name, got a list"),
        ({1: ""}, "filter 1: expected a name of 1 to 40 letters, got 0"),
        ({1: "   "}, "got 0"),
        ({1: "e" * 41}, "got 41"),
        ({1: "e" * 10**6}, "got 1000000"),
        ({1: "leg\n"}, r"letters that can be seen, got 'leg\\n'"),
        ({1: "\x1b[2J"}, "letters that can be seen"),
        ({1: "\u202egel"}, "letters that can be seen"),
        ({1: "\ud800"}, "letters that can be seen"),
    ],
)
def test_what_is_no_name_or_no_filter_is_told_in_a_sentence(model: nn.Module, names: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        name_filters(model, names)
    assert len(str(caught.value)) < 200
    assert filter_names(model) == {}


@given(st.text(SEEN | st.just(" "), max_size=60))
def test_a_kept_name_is_kept_as_it_is(name: str) -> None:
    try:
        kept = checked_name(name, "name")
    except ConfigError:
        return
    assert checked_name(kept, "name") == kept
    assert 1 <= len(kept) <= MOST_LETTERS
    assert kept.isprintable()
    assert kept.split() == kept.split(" ")


@given(
    st.dictionaries(st.integers(0, 20), st.sampled_from(["ear", "leg", "nose"])),
    st.sets(st.integers(0, 20), min_size=1),
)
def test_a_name_follows_its_filter_where_others_are_cut_out(names: dict[int, str], kept: set[int]) -> None:
    order = sorted(kept)
    found = names_of_kept(checked_names(names, 21, "names"), order)
    assert [found.get(place) for place in range(len(order))] == [names.get(index) for index in order]
    assert set(found) <= set(range(len(order)))
