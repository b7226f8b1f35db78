"""From a run directory to that of a smaller network: cut, train a little, measure."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from partcnn.app.runs import SETTINGS_FILE, Run, check_free, evaluate_run
from partcnn.evaluation import Evaluation
from partcnn.foundation.errors import ConfigError, RunError
from partcnn.foundation.files import write_text
from partcnn.model.network import conversion_of
from partcnn.model.saving.checkpoint import METRICS_FILE, save
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
        RunError: the directory exists and `force` is off, or it is the run's own.
        ConfigError, LayerError: as of `prune`, or `finetune` is negative.
    """
    directory = Path(out)
    check_free(directory, force)
    if directory.resolve() == run.directory.resolve():
        raise RunError(f"out: expected another directory than the run's own, {directory}")
    if finetune < 0:
        raise ConfigError(f"finetune: expected epochs, at least 0, got {finetune}")
    dataset = run.dataset("train")
    model = prune(run.model, dataset, keep=keep, num_workers=num_workers)
    if finetune:
        fit(
            model,
            dataset,
            finetuning_recipe(run, finetune),
            trunk=run.settings.get("trunk") or "frozen",
            seed=run.settings.get("seed", 0),
            num_workers=num_workers,
            is_progress_shown=is_progress_shown,
        )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / METRICS_FILE).unlink(missing_ok=True)  # figures of another network
    save(model, directory)
    pruned = Run(directory, model, _settings(run, directory, model, keep=keep, finetune=finetune))
    write_text(directory / SETTINGS_FILE, yaml.safe_dump(pruned.settings, sort_keys=False))
    return pruned, evaluate_run(pruned, num_workers=num_workers)


def finetuning_recipe(run: Run, epochs: int) -> Recipe:
    """The run's own recipe for some epochs more, at 0.3 of its learning rate.

    Raises:
        RunError: the recipe has settings that there are no more.
    """
    try:
        recipe = Recipe(**run.settings.get("recipe", {}))
    except TypeError as error:
        file = run.directory / SETTINGS_FILE
        raise RunError(f"run: expected a recipe of {Recipe.__name__}, got {error}; take it out of {file}") from error
    return replace(recipe, epochs=epochs, lr=recipe.learning_rate(run.model) * FINETUNE_LR_FRAC)


def _settings(run: Run, directory: Path, model: Any, *, keep: float, finetune: int) -> dict[str, Any]:
    settings = copy.deepcopy(run.settings)
    sizes = conversion_of(model).settings
    settings["out"] = str(directory)
    settings["network"] = settings.get("network", {}) | {"filters": sizes.filters, "hidden": sizes.hidden}
    settings["pruned"] = {"from": str(run.directory), "keep": keep, "finetune": finetune}
    return settings
