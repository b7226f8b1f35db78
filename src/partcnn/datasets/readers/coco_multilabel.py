"""COCO annotations, each picture a sample with all classes of objects that it shows."""

from partcnn.datasets.annotations import Skips
from partcnn.datasets.catalogue import Catalogue, find_category
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.readers.coco import opened_coco, without_groups
from partcnn.datasets.readers.coco_objects import CocoImage, CocoObject
from partcnn.datasets.readers.multilabel import of_classes
from partcnn.datasets.samples import Box, Sample, Shape


def read_coco_multilabel(location: str, category: str | None) -> Catalogue:
    """Read one annotation file; what is an object and what a part is said in `coco`.

    A picture without objects shows no class. The object box of a picture is the smallest around all its objects; a part
    that several of them have has several shapes, and so no landmark.

    Args:
        location: IMAGES,ANNOTATIONS.json, as of `read_coco`.
        category: the name of an object category: the pictures that show it, with its objects alone, against all others,
            as background. None: all object categories that occur, any number of them a picture.

    Raises:
        DataError: as of `read_coco`.
    """
    skips = Skips()
    found = opened_coco(location, skips)
    objects = without_groups(found, skips)
    classes = sorted({found.names[one.category] for _, one in objects})
    known = {name: label for label, name in enumerate(classes)}
    labels = {key: known[name] for key, name in found.names.items() if name in known}
    wanted = None if category is None else classes.index(find_category(category, {name: name for name in classes}))
    kept = {id(one) for _, one in objects}
    samples = []
    for image in found.images:
        shown = [one for one in image.objects if id(one) in kept]
        own = [one for one in shown if labels[one.category] == wanted]
        samples.append(_sample(image, own or shown, labels))
    return of_classes(samples, classes, category, skips)


def _sample(image: CocoImage, objects: list[CocoObject], labels: dict[int, int]) -> Sample:
    parts: dict[str, list[Shape]] = {}
    for one in objects:
        for name, shapes in one.parts.items():
            parts.setdefault(name, []).extend(shapes)
    label = frozenset(labels[one.category] for one in objects)
    return Sample(image.path, label, _around(objects), PackedShapes(parts), image.image_id, size=image.size)


def _around(objects: list[CocoObject]) -> Box | None:
    if not objects:
        return None
    x0, y0, x1, y1 = zip(*(one.box for one in objects), strict=True)
    return Box(min(x0), min(y0), max(x1), max(y1))
