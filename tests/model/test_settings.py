"""The settings of a conversion: in one object, in `convert`'s signature, and in files."""

import inspect
from dataclasses import MISSING, FrozenInstanceError, fields

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


def test_the_record_holds_the_settings_as_they_came_out() -> None:
    model = convert(network(), "1", num_classes=3, background=1, input_size=list(SIZE))  # type: ignore[arg-type]
    settings = conversion_of(model).settings
    expected = ConversionSettings(
        layers=("1",), num_classes=3, filters=6, objective="labelled", background=1, input_size=SIZE
    )
    assert settings == expected
    assert (settings.num_owners, settings.num_hidden) == (2, 12)
    with pytest.raises(FrozenInstanceError):
        settings.filters = 7  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "objective", "filters"),
    [
        ({}, "labelled", 6),
        ({"background": 0}, "exact", 6),
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


def test_too_few_filters_are_refused_where_they_are_shared_out_and_not_elsewhere() -> None:
    with pytest.raises(ConfigError, match="at least one for each of 5"):
        ConversionSettings(num_classes=5, filters=4).resolved(("1",), 6)
    assert ConversionSettings(num_classes=5, filters=4, objective="exact").resolved(("1",), 6).filters == 4
    assert ConversionSettings(num_classes=5, filters=4, head="original").resolved(("1",), 6).filters == 4


def test_settings_survive_a_file_and_make_the_same_network() -> None:
    model = convert(network(), "1", num_classes=2, filters=5, hidden=0, input_size=SIZE, masks=False, places="expected")
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
    assert settings.to_spec() == FIRST_RELEASE | {"mask_skip": True, "places": "peak"}
