"""Training and test pictures, told apart by a hash: the same on every machine, whatever files are added."""

import hashlib

from partcnn.foundation.errors import ConfigError

SPLITS = ("train", "test", "all")
TRAIN_SHARE = 0.7


def assign_split(image_id: str) -> str:
    """ "train" for about 70 % of identifiers, else "test".

    SHA-1 of the identifier alone decides: neither the order of the files nor the other files matter, and
    crops of one photograph, which share its identifier, fall on the same side.
    """
    # A file's name may hold bytes that are no text.
    digest = hashlib.sha1(image_id.encode(errors="surrogateescape"), usedforsecurity=False).digest()
    return "train" if int.from_bytes(digest[:8], "big") < TRAIN_SHARE * 2**64 else "test"


def check_split(split: str) -> str:
    """The split itself, if it is one of `SPLITS`.

    Raises:
        ConfigError: it is not.
    """
    if split not in SPLITS:
        raise ConfigError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")
    return split
