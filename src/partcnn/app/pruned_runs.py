"""From a run directory to that of a smaller network: cut, train a little, measure."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from partcnn.app.runs.opening import Run, evaluate_run
from partcnn.app.runs.place import new_run
from partcnn.app.runs.state import DONE, TrainingState, new_id, write_run
from partcnn.app.settings import SETTINGS_FILE, RunSettings
from partcnn.evaluation.result import Evaluation
from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.files import file_digest
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import save
from partcnn.model.saving.checkpoint_files import WEIGHTS_FILE
from partcnn.training.fitting import fit
from partcnn.training.pruning import prune
from partcnn.training.recipe import Recipe

FINETUNE_LR_FRAC = 0.3  # of the run's own learning rate: the network is near a minimum already


def prune_run(
    run: Run,
    out: str | Path,
    *,
    keep: float = 0.25,
    finetune: int = 0,
    force: bool = False,
    num_workers: int = 0,
    is_progress_shown: bool = True,
) -> tuple[Run, Evaluation]:
    """Cut a run's network, train it for some epochs, and write it as a run that every command takes.

    Args:
        run: with the additive head. Its directory stays as it is.
        out: the new directory; its run.yaml says under `pruned` what was done.
        keep: share of the filters of each layer that stays.
        finetune: epochs by the run's own recipe, at 0.3 of its learning rate; 0: none.
        force: replace an existing run.
        num_workers: processes that decode pictures.
        is_progress_shown: bars on the terminal.

    Returns:
        The run, and its evaluation on the pictures kept out.

    Raises:
        RunError: the directory exists and `force` is off, or it is the run's own, or another process writes to it.
        ConfigError, LayerError: as of `prune`, or `finetune` is negative.
        KeyboardInterrupt: training was interrupted; nothing is written.
    """
    directory = Path(out)
    if directory.resolve() == run.directory.resolve():
        raise RunError(f"out: expected another directory than the run's own, {directory}")
    if finetune < 0:
        raise ConfigError(f"finetune: expected epochs, at least 0, got {finetune}")
    with new_run(directory, force=force) as place:
        dataset = run.dataset("train")
        model = prune(run.model, dataset, keep=keep, num_workers=num_workers)
        if finetune:
            history = fit(
                model,
                dataset,
                finetuning_recipe(run, finetune),
                trunk=run.settings.trunk or "frozen",
                seed=run.settings.seed,
                num_workers=num_workers,
                is_progress_shown=is_progress_shown,
            )
            if history.is_interrupted:
                raise KeyboardInterrupt
        save(model, place.directory)
        settings = _settings(run, directory, model, keep=keep, finetune=finetune)
        state = _state(run, file_digest(place.directory / WEIGHTS_FILE), finetune)
        write_run(settings, state, place.directory)
        evaluation = evaluate_run(Run(place.directory, model, settings, state), num_workers=num_workers)
        place.publish()
    return Run(directory, model, settings, state), evaluation


def finetuning_recipe(run: Run, epochs: int) -> Recipe:
    """The run's own recipe for some epochs more, at 0.3 of its learning rate.

    Raises:
        RunError: the recipe has settings that there are no more.
    """
    gone = [name for name in run.settings.unread if name.startswith("recipe.")]
    if gone:
        file = run.directory / SETTINGS_FILE
        raise RunError(f"run: expected a recipe of this version, got {', '.join(gone)}; take it out of {file}")
    recipe = run.settings.recipe
    return replace(recipe, epochs=epochs, lr=recipe.learning_rate(run.model) * FINETUNE_LR_FRAC)


def _state(run: Run, weights: str | None, finetune: int) -> TrainingState:
    """Of the smaller network: half a run stays one."""
    if run.state is not None and run.state.state != DONE:
        return replace(run.state, weights=weights, id=new_id())
    return TrainingState(DONE, finetune, finetune, weights)


def _settings(run: Run, directory: Path, model: nn.Module, *, keep: float, finetune: int) -> RunSettings:
    sizes = conversion_of(model).settings
    network = replace(run.settings.network, filters=sizes.filters, hidden=sizes.hidden)
    done = {"from": str(run.directory), "keep": keep, "finetune": finetune}
    return replace(run.settings, out=str(directory), network=network, pruned=done)
