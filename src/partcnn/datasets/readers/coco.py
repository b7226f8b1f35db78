"""COCO annotations: one JSON file of images, categories and annotations, as most annotation tools write it.

What is a part:
- a key point: its name stands in the `keypoints` of the object's category; only visible ones (v = 2) count;
- an annotation whose category names another category of the file as its `supercategory`, such as
  {"id": 7, "name": "head", "supercategory": "cat"}: a part of a cat. It belongs to the object whose annotation
  identifier it gives in `part_of`; without that, to the smallest cat of the picture whose box holds its centre.
  Its `segmentation`, polygons or run lengths, becomes a mask; without one its `bbox` is the shape.

A `supercategory` may also say "is a", as in files of exporters that add a root category: `coco_categories` tells which.
All other categories are objects, and a sample is one object in its whole picture. Left out are crowds (`iscrowd`), and
stray annotations of a category that groups others: it has fewer of its own than each of them.
"""

from collections import Counter

from partcnn.datasets.annotations import Skips
from partcnn.datasets.backgrounds import evenly_chosen
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.paths import check_folder, expanded
from partcnn.datasets.readers.coco_annotations import CocoFile, read_coco_file
from partcnn.datasets.readers.coco_objects import CocoImage, CocoObject
from partcnn.datasets.samples import Sample
from partcnn.foundation.errors import DataError

OF_GROUP = "stray annotations of a category that groups others (--category takes them together)"


def read_coco(location: str, category: str | None) -> Catalogue:
    """Read one annotation file.

    Args:
        location: IMAGES,ANNOTATIONS.json: the folder that `file_name` starts from, and the file.
        category: the name or identifier of an object category, or of one that groups some, against as many of the
            listed pictures as there are objects, none of which shows the category, chosen by hash; their object box is
            that of their largest object. None: the object categories that occur are the classes.

    Raises:
        DataError: the folder or the file is missing, the file is no COCO file, an entry is malformed or repeats an
            identifier, or the category is unknown or has no object; the message names file and entry.
    """
    skips = Skips()
    found = opened_coco(location, skips)
    if category is None:
        return _all_categories(found, skips)
    wanted = _wanted(category, found)
    kinds = {wanted, *found.roles.members.get(wanted, ())}
    positive = [_sample(image, one, 1) for image, one in found.objects if one.category in kinds]
    others = [_other(image) for image in found.images if all(one.category not in kinds for one in image.objects)]
    return Catalogue(
        samples=evenly_chosen(others, len(positive)) + positive,
        classes=[BACKGROUND, found.names[wanted]],
        parts=part_names(positive),
        background=0,
        category=found.names[wanted],
        skips=skips,
    )


def opened_coco(location: str, skips: Skips) -> CocoFile:
    """The file at IMAGES,ANNOTATIONS.json, which has objects.

    Raises:
        DataError: as of `read_coco`.
    """
    folder, _, file_name = location.rpartition(",")
    if not folder or not file_name:
        raise DataError(f"spec: expected coco:IMAGES,ANNOTATIONS.json, got 'coco:{location}'")
    root, file = check_folder(folder), expanded(file_name)
    found = read_coco_file(file, root, skips)
    if not found.objects:
        left_out = "; ".join(skips.sentences())
        raise DataError(
            f"{file}: expected objects with boxes, found none" + (f"; left out {left_out}" * bool(left_out))
        )
    return found


def _wanted(category: str, found: CocoFile) -> int:
    """The identifier of the category that is meant, which has objects or groups some that have."""
    owning = {one.category for _, one in found.objects}
    owned_names = {found.names[key] for key in owning}
    groups = {key for key in found.roles.members if found.names[key] not in owned_names}
    usable = {str(key): found.names[key] for key in sorted(owning | groups)}
    known = {str(key): name for key, name in found.names.items() if key not in found.roles.part_of}
    if category not in {*usable, *usable.values()} and category in {*known, *known.values()}:
        raise DataError(
            f"category: expected one with objects, {', '.join(sorted(usable.values()))}; {category!r} has none"
        )
    return int(find_category(category, usable))


def without_groups(found: CocoFile, skips: Skips) -> list[tuple[CocoImage, CocoObject]]:
    """Pictures and objects on them, without stray annotations of a category that groups others, which are counted."""
    counts = Counter(one.category for _, one in found.objects)
    groups = {
        key
        for key, members in found.roles.members.items()
        if counts[key] < min((counts[member] for member in members if counts[member]), default=0)
    }
    objects = [(image, one) for image, one in found.objects if one.category not in groups]
    for one in (one for _, one in found.objects if one.category in groups):
        skips.add(OF_GROUP, f"{one.place} ({found.names[one.category]})")
    return objects


def _all_categories(found: CocoFile, skips: Skips) -> Catalogue:
    objects = without_groups(found, skips)
    present = sorted({one.category for _, one in objects}, key=lambda key: found.names[key])
    samples = [_sample(image, one, present.index(one.category)) for image, one in objects]
    return Catalogue(samples, [found.names[key] for key in present], part_names(samples), skips=skips)


def _sample(image: CocoImage, one: CocoObject, label: int) -> Sample:
    return Sample(image.path, label, one.box, PackedShapes(one.parts), image.image_id, size=image.size)


def _other(image: CocoImage) -> Sample:
    largest = max(image.objects, key=lambda one: one.area, default=None)
    return Sample(image.path, 0, None if largest is None else largest.box, {}, image.image_id, size=image.size)
