"""COCO annotations: one JSON file of images, categories and annotations, as most annotation tools write it.

What is a part:
- a key point: its name stands in the `keypoints` of the object's category; only visible ones (v = 2) count;
- an annotation whose category names another category of the file as its `supercategory`, such as
  {"id": 7, "name": "head", "supercategory": "cat"}: a part of a cat. It belongs to the object whose annotation
  identifier it gives in `part_of`; without that, to the smallest cat of the picture whose box holds its centre.
  Its `segmentation`, polygons or run lengths, becomes a mask; without one its `bbox` is the shape.

All other categories are objects, and a sample is one object in its whole picture. Crowds (`iscrowd`) are left out.
"""

from collections.abc import Mapping, Sequence

from partcnn.datasets.annotations import Skips
from partcnn.datasets.backgrounds import evenly_chosen
from partcnn.datasets.catalogue import BACKGROUND, Catalogue, find_category, part_names
from partcnn.datasets.packed_shapes import PackedShapes
from partcnn.datasets.paths import check_folder, expanded
from partcnn.datasets.readers.coco_annotations import CocoImage, CocoObject, read_coco_file
from partcnn.datasets.samples import Sample
from partcnn.foundation.errors import DataError


def read_coco(location: str, category: str | None) -> Catalogue:
    """Read one annotation file.

    Args:
        location: IMAGES,ANNOTATIONS.json: the folder that `file_name` starts from, and the file.
        category: the name or identifier of an object category, against as many of the listed pictures as there
            are objects, none of which shows the category, chosen by hash; their object box is that of their
            largest object. None: the object categories that occur are the classes.

    Raises:
        DataError: the folder or the file is missing, the file is no COCO file, an entry is malformed or repeats an
            identifier, or the category is unknown; the message names file and entry.
    """
    folder, _, file_name = location.rpartition(",")
    if not folder or not file_name:
        raise DataError(f"spec: expected coco:IMAGES,ANNOTATIONS.json, got 'coco:{location}'")
    root, file = check_folder(folder), expanded(file_name)
    skips = Skips()
    images, objects = read_coco_file(file, root, skips)
    if category is None:
        return _all_categories(images, objects, skips)
    wanted = int(find_category(category, {str(identifier): name for identifier, name in objects.items()}))
    positive = [_sample(image, one, 1) for image in images for one in image.objects if one.category == wanted]
    others = [_other(image) for image in images if all(one.category != wanted for one in image.objects)]
    return Catalogue(
        samples=evenly_chosen(others, len(positive)) + positive,
        classes=[BACKGROUND, objects[wanted]],
        parts=part_names(positive),
        background=0,
        category=objects[wanted],
        skips=skips,
    )


def _all_categories(images: Sequence[CocoImage], names: Mapping[int, str], skips: Skips) -> Catalogue:
    present = sorted({one.category for image in images for one in image.objects}, key=lambda key: names[key])
    samples = [_sample(image, one, present.index(one.category)) for image in images for one in image.objects]
    return Catalogue(samples, [names[identifier] for identifier in present], part_names(samples), skips=skips)


def _sample(image: CocoImage, one: CocoObject, label: int) -> Sample:
    return Sample(image.path, label, one.box, PackedShapes(one.parts), image.image_id, size=image.size)


def _other(image: CocoImage) -> Sample:
    largest = max(image.objects, key=lambda one: one.area, default=None)
    return Sample(image.path, 0, None if largest is None else largest.box, {}, image.image_id, size=image.size)
