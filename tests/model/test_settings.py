"""The settings of a conversion: in one object, in `convert`'s signature, and in files."""

import inspect
from dataclasses import MISSING, FrozenInstanceError, fields
from typing import Any

import pytest
import torch
from torch import nn

from partcnn.foundation.errors import ConfigError
from partcnn.model.conversion import convert, converted
from partcnn.model.network import conversion_of
from partcnn.model.settings import ConversionSettings

SIZE = (16, 24)
# What networks had that were saved before an entry was written.
FIRST_RELEASE = {
    "layers": ["0"],
    "num_classes": 2,
    "new_layers": 1,
    "filters": 4,
    "projection": 4,
    "hidden": None,
    "head": "additive",
    "objective": "labelled",
    "background": 0,
    "input_size": [16, 24],
    "grid": 2,
    "dropout": 0.2,
    "erasing": 0.5,
    "masks": True,
    "loss_weight": 0.2,
}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_convert_takes_every_setting_with_the_same_default() -> None:
    taken = inspect.signature(convert).parameters
    assert list(taken) == ["cnn", *(field.name for field in fields(ConversionSettings)), "inplace"]
    for field in fields(ConversionSettings):
        default = taken[field.name].default
        expected = inspect.Parameter.empty if field.default is MISSING else field.default
        assert (default,) == expected if field.name == "layers" else default == expected, field.name


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("labelled", {"objective": "labelled", "filters": 6}),
        ("auto", {"objective": "competing", "filters": 16, "masks": False, "places": "centroid"}),
    ],
    ids=["labelled", "auto"],
)
def test_the_record_holds_the_settings_as_they_came_out(objective: str, expected: dict[str, Any]) -> None:
    model = convert(
        network(),
        "1",
        num_classes=3,
        background=1,
        objective=objective,
        input_size=list(SIZE),  # type: ignore[arg-type]
    )
    settings = conversion_of(model).settings
    assert settings == ConversionSettings(layers=("1",), num_classes=3, background=1, input_size=SIZE, **expected)
    assert settings.num_owners == 2
    with pytest.raises(FrozenInstanceError):
        settings.filters = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "objective", "filters"),
    [
        ({}, "competing", 16),
        ({"background": 0}, "competing", 8),
        ({"num_classes": 9, "background": 0}, "competing", 16),
        ({"background": 0, "filters": 3}, "competing", 3),
        ({"num_classes": 9, "filters": 3}, "competing", 3),  # all serve all
        ({"head": "original"}, "labelled", 6),
        ({"head": "original", "background": 0}, "exact", 6),
        ({"new_layers": 2}, "labelled", 6),
        ({"new_layers": 2, "background": 0}, "exact", 6),
        ({"objective": None}, None, 6),
        ({"objective": "official", "filters": 1}, "official", 1),
        ({"num_classes": 8, "objective": "exact"}, "exact", 8),
    ],
    ids=str,
)
def test_auto_and_none_are_resolved_by_classes_and_channels(
    changes: dict[str, object], objective: str | None, filters: int
) -> None:
    settings = ConversionSettings(**({"num_classes": 2} | changes)).resolved(("1",), 6)  # type: ignore[arg-type]
    assert (settings.layers, settings.objective, settings.filters) == (("1",), objective, filters)


def test_the_ordinary_layer_is_twice_as_wide_as_the_part_layer_up_to_128() -> None:
    for filters, hidden, expected in ((6, None, 12), (100, None, 128), (6, 5, 5), (6, 0, 0)):
        assert ConversionSettings(num_classes=2, filters=filters, hidden=hidden).num_hidden == expected


def test_filters_compete_in_one_layer_under_a_head_of_their_own() -> None:
    with pytest.raises(ConfigError, match="new_layers: expected 1 where filters compete, got 2"):
        ConversionSettings(num_classes=2, objective="competing", new_layers=2)
    with pytest.raises(ConfigError, match="objective: competing needs head='additive'"):
        ConversionSettings(num_classes=2, objective="competing", head="original")


def test_what_is_not_read_where_filters_compete_is_not_recorded_as_if_it_were() -> None:
    unread = {"hidden": 5, "grid": 3, "masks": True, "places": "expected"}
    asked = ConversionSettings(num_classes=2, **unread).resolved(("1",), 6)  # type: ignore[arg-type]
    assert asked == ConversionSettings(num_classes=2).resolved(("1",), 6)
    kept = ConversionSettings(num_classes=2, objective="exact", **unread).resolved(("1",), 6)  # type: ignore[arg-type]
    assert {name: getattr(kept, name) for name in unread} == unread


def test_too_few_filters_are_refused_where_they_are_shared_out_and_not_elsewhere() -> None:
    with pytest.raises(ConfigError, match="at least one for each of 5"):
        ConversionSettings(num_classes=5, filters=4, objective="labelled").resolved(("1",), 6)
    assert ConversionSettings(num_classes=5, filters=4, objective="exact").resolved(("1",), 6).filters == 4
    assert ConversionSettings(num_classes=5, filters=4, objective="competing").resolved(("1",), 6).filters == 4
    assert ConversionSettings(num_classes=5, filters=4, head="original").resolved(("1",), 6).filters == 4


@pytest.mark.parametrize("objective", ["competing", "exact"])
def test_settings_survive_a_file_and_make_the_same_network(objective: str) -> None:
    changes = {"filters": 5, "hidden": 0, "masks": False, "places": "expected"}
    model = convert(network(), "1", num_classes=2, objective=objective, input_size=SIZE, **changes)  # type: ignore[arg-type]
    spec = conversion_of(model).settings.to_spec()
    assert spec == conversion_of(model).arguments
    assert (spec["layers"], spec["input_size"]) == (["1"], [16, 24])
    settings = ConversionSettings.from_spec(spec)
    assert settings == conversion_of(model).settings
    again = converted(network(), settings)
    shapes = [{key: value.shape for key, value in one.state_dict().items()} for one in (again, model)]
    assert shapes[0] == shapes[1]


def test_entries_that_an_earlier_version_did_not_write_mean_what_it_did() -> None:
    settings = ConversionSettings.from_spec(FIRST_RELEASE)
    assert (settings.mask_skip, settings.places) == (True, "peak")
    assert settings.to_spec() == FIRST_RELEASE | {"mask_skip": True, "places": "peak", "multilabel": False}


class TestManyClasses:
    """Defaults that are sane for a thousand classes, and what they were for 24 and fewer."""

    @pytest.mark.parametrize(
        ("num_classes", "competing", "by_data", "labelled"),
        [(2, 16, 32, 64), (24, 16, 32, 768), (25, 16, 33, 768), (96, 32, 64, 768), (1000, 103, 207, 1000)],
    )
    def test_filters_grow_slower_than_classes(
        self, num_classes: int, competing: int, by_data: int, labelled: int
    ) -> None:
        several = ConversionSettings(num_classes=num_classes)
        assert several.chosen_filters == competing
        assert ConversionSettings(num_classes=num_classes, filters="auto").chosen_filters == by_data
        each = ConversionSettings(num_classes=num_classes, objective="labelled").resolved(("layer",), 768)
        assert each.filters == labelled

    @pytest.mark.parametrize(
        ("num_classes", "filters", "grid", "taken"),
        [
            (24, 768, 7, 7),
            (200, 768, 7, 7),
            (1000, 1000, 7, 5),
            (1000, 4000, 7, 2),
            (1000, 1000, 3, 3),
            (9000, 9000, 7, 1),
        ],
    )
    def test_a_large_head_pools_to_fewer_cells(self, num_classes: int, filters: int, grid: int, taken: int) -> None:
        settings = ConversionSettings(num_classes=num_classes, filters=filters, grid=grid, objective="labelled")
        assert settings.resolved(("layer",), 64).grid == taken

    def test_what_many_classes_cost_is_told_once(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "partcnn")
        network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for num_classes, number in ((24, 0), (1000, 1)):
            caplog.clear()
            convert(network, "1", num_classes=num_classes, input_size=(32, 32))
            told = [message for message in caplog.messages if "million weights above the trunk" in message]
            assert len(told) == number
