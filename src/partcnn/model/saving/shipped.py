"""The run that comes with the package, of giraffes drawn in scenery; `demo:` is its name wherever a run is asked for.

benchmarks/demo_model.py makes it anew.
"""

import os
from pathlib import Path

from partcnn.foundation.errors import RunError
from partcnn.foundation.files import as_path

SHIPPED = "demo:"
SHIPPED_DIRECTORY = Path(__file__).with_name("shipped_runs") / "demo"


def run_directory(path: str | os.PathLike[str]) -> Path:
    """The directory of a run: the package's own of `demo:`, else the path as it is.

    Raises:
        RunError: it is no path.
    """
    directory = as_path(path, RunError, "path: expected a directory written by partcnn.save")
    return SHIPPED_DIRECTORY if str(directory) == SHIPPED else directory


def is_shipped(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that run's, by its name or its place."""
    return run_directory(path).resolve() == SHIPPED_DIRECTORY.resolve()


def check_not_shipped(path: str | os.PathLike[str], argument: str) -> None:
    """Raises RunError where something is to be written to the package's own run."""
    if is_shipped(path):
        raise RunError(
            f"{argument}: {SHIPPED} comes with the package and stays as it is; name another directory, "
            f"or take a copy: partcnn.save(partcnn.load('{SHIPPED}'), 'my-copy')"
        )
