"""Where the cache lies, and how much it may hold: asked without torch."""

import contextlib
import os
from pathlib import Path

from partcnn.foundation.errors import ConfigError

_DEFAULT_GIB = 20.0


def default_directory() -> Path | None:
    """`PARTCNN_CACHE`, else partcnn/ in `XDG_CACHE_HOME`, else ~/.cache/partcnn; None for a user without a home."""
    if os.environ.get("PARTCNN_CACHE"):
        return Path(os.environ["PARTCNN_CACHE"]).expanduser()
    of_desktop = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if of_desktop.is_absolute():  # the XDG specification: others are to be ignored
        return of_desktop / "partcnn"
    with contextlib.suppress(RuntimeError):
        return Path.home() / ".cache" / "partcnn"
    return None


def limit_of_environment() -> int:
    """Bytes that the cache may hold: `PARTCNN_CACHE_GIB`, else 20 GiB.

    Raises:
        ConfigError: `PARTCNN_CACHE_GIB` is no number of at least 0.
    """
    text = os.environ.get("PARTCNN_CACHE_GIB") or str(_DEFAULT_GIB)
    try:
        limit = float(text)
        if not limit >= 0:
            raise ValueError
        return int(limit * 2**30)
    except (ValueError, OverflowError):
        raise ConfigError(f"PARTCNN_CACHE_GIB: expected a number of GiB of at least 0, got {text!r}") from None
