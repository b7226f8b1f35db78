"""A data set's classes are a network's by their names, never by their numbers."""

import logging
import unicodedata

from torch import nn

from partcnn.datasets import PartDataset
from partcnn.foundation.errors import DataError
from partcnn.model.network import conversion_of
from partcnn.model.settings import ConversionSettings

_log = logging.getLogger("partcnn")


def with_classes_of(model: nn.Module, dataset: PartDataset) -> PartDataset:
    """The data set with its classes in the order of the network's logits.

    A network that nobody gave names to (`convert` numbers its classes) takes them by their numbers.

    Raises:
        LayerError: the network was not made by `partcnn.convert`.
        DataError: the classes are others, or not as many, or as of `check_labels`.
    """
    record = conversion_of(model)
    check_labels(record.settings, dataset)
    names = record.classes
    if len(dataset.classes) != len(names):
        raise DataError(
            f"dataset: expected {len(names)} classes as the model has{_of_names(names)}, got {_listed(dataset.classes)}"
        )
    if dataset.classes == names:
        return dataset
    if not has_names(names) and {*dataset.classes} != {*names}:
        _log.info("%s: the model names no classes; by their numbers: %s", dataset.spec, _listed(dataset.classes))
        return dataset
    places = {unicodedata.normalize("NFC", name): place for place, name in enumerate(names)}
    found = [places.get(unicodedata.normalize("NFC", name)) for name in dataset.classes]
    labels = [place for place in found if place is not None]
    if len({*labels}) < len(names):
        strange = [name for name, place in zip(dataset.classes, found, strict=True) if place is None]
        raise DataError(
            f"dataset: expected the classes that the model was trained on, {_listed(names)}; got "
            f"{_listed(dataset.classes)}, of which it knows no {_listed(strange)}; give them the model's names"
        )
    _log.info("%s: its classes are taken in the order of the model's, %s", dataset.spec, _listed(names))
    return dataset.with_classes(names, labels)


def check_labels(settings: ConversionSettings, dataset: PartDataset) -> None:
    """Raises DataError where one of the two takes one class a picture and the other any number."""
    if settings.multilabel != dataset.is_multilabel:
        expected, got = ("any number of classes", "one class")[:: 1 if settings.multilabel else -1]
        raise DataError(
            f"dataset: expected {expected} a picture as the model was made for, got {got} a picture; "
            f"partcnn.convert(multilabel={dataset.is_multilabel}) makes one for these"
        )


def has_names(classes: list[str]) -> bool:
    """Whether the classes are called something, and not just numbered by `convert`."""
    return classes != [str(number) for number in range(len(classes))]


def _of_names(names: list[str]) -> str:
    return f" ({_listed(names)})" if has_names(names) else ""


def _listed(names: list[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
