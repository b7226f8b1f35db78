"""The picture files below a folder, without those that programs put beside one's own."""

import os
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from partcnn.datasets.annotations import Skips

OTHER_FORMAT = "pictures of a format that is not read here"
_OTHER_ENDINGS = (".avif", ".dng", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jxl", ".svg", ".tga")
OF_PROGRAMS = "pictures of other programs (hidden files and folders, thumbnails)"
# Synology, QNAP, macOS's archives, Windows, Linux, Python, Android; viewers of pictures; in lower case.
_TOOL_FOLDERS = frozenset(
    {
        "@eadir",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "@__thumb",
        "__macosx",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__pycache__",
        "lost.dir",
        "recycler",
        "thumbnails",
        "_thumb",
        "_thumbs",
        "_thumbnail",
        "_thumbnails",
    }
)
# Words that may also name a class, and are then no thumbnails.
_THUMBNAILS = frozenset({"thumb", "thumbs", "thumbnail"})


def pictures_below(root: Path, skips: Skips, *, has_classes: bool = False) -> list[Path]:
    """All pictures of a folder and its subfolders, folder by folder in alphabetical order; links are followed.

    Args:
        root: the folder; its own name may be any.
        skips: hidden pictures, those in folders of thumbnails and of other programs, and pictures of formats that are
            not read (GIF, HEIC, …) are left out and counted here.
        has_classes: whether its subfolders are classes: one of them may then be called "thumbs".
    """
    found = []
    for folder, _, names in sorted(os.walk(root, followlinks=True)):
        inner = Path(folder).relative_to(root).parts
        is_left_out = any(map(is_of_programs, inner)) or any(
            name.lower() in _THUMBNAILS for name in inner[int(has_classes) :]
        )
        for name in sorted(names):
            path = Path(folder, name)
            ending = path.suffix.lower()
            if ending not in (*IMG_EXTENSIONS, *_OTHER_ENDINGS):
                continue
            if is_left_out or name.startswith("."):
                skips.add(OF_PROGRAMS, str(path))
            elif ending in _OTHER_ENDINGS:
                skips.add(OTHER_FORMAT, str(path))
            else:
                found.append(path)
    return found


def is_of_programs(name: str) -> bool:
    """Whether a folder of this name is hidden or a program's, never a class of one's own."""
    return name.startswith(".") or name.lower() in _TOOL_FOLDERS
