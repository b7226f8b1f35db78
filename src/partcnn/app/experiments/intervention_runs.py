"""The networks whose explanations are put to the test: six drawn animals told apart, with part filters and plain."""

from collections.abc import Sequence
from pathlib import Path

from partcnn.app.demo_trunk import EPOCHS, LAYER, all_kinds, trained_trunk
from partcnn.app.experiments.paper_runs import train_missing
from partcnn.app.settings import NetworkSettings, RunSettings
from partcnn.foundation.files import save_tensors

_NUM_FILTERS = 16


def trained_networks(
    folder: Path, *, count: int, seeds: Sequence[int], epochs: int | None = None, is_progress_shown: bool = True
) -> list[Path]:
    """Run directories, two of each seed: filters that compete, and a plain network on the same frozen trunk.

    The trunk is the demonstration's (`app.demo_trunk`), of the same seed, trained on the training drawings. What is
    there already is taken; what was cut short goes on.

    Args:
        folder: holds trunk-SEED.safetensors, parts-SEED and plain-SEED.
        count: drawn pictures of each animal.
        seeds: of all trainings.
        epochs: of each training; None takes the demonstration's own.
        is_progress_shown: bars on the terminal.

    Raises:
        RunError: a directory holds a run of other settings.
        KeyboardInterrupt: training was interrupted; what is finished stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Path] = []
    for seed in seeds:
        trunk = folder / f"trunk-{seed}.safetensors"
        if not trunk.is_file():
            drawings = all_kinds(f"demo:{count}", count)
            network = trained_trunk(drawings, epochs=epochs or EPOCHS, seed=seed, is_progress_shown=is_progress_shown)
            save_tensors(network.state_dict(), trunk)
        wanted = [
            RunSettings(
                data=f"demo:{count}",
                out=str(folder / f"{name}-{seed}"),
                backbone="wide_field",
                weights=str(trunk),
                layers=LAYER,
                plain=name == "plain",
                seed=seed,
                epochs=epochs,
                network=NetworkSettings(filters=_NUM_FILTERS),
                workers=0,  # drawings are kept in memory: other processes would draw them again
            )
            for name in ("parts", "plain")
        ]
        found += train_missing(wanted, is_progress_shown=is_progress_shown)
    return found
