"""The demonstration: the same small network on drawn animals, plain and with part filters, and a page on both."""

from dataclasses import replace
from pathlib import Path

from partcnn.evaluation import Evaluation
from partcnn.html_report import report
from partcnn.runs import RunSettings, train_run
from partcnn.training import Recipe

# Found by trying on the training pictures of seed 0; about a minute a network on two cores.
_RECIPE = Recipe(epochs=20, batch_size=16, lr=2e-3)


def run_demo(
    directory: Path, *, seed: int = 0, count: int = 200, epochs: int | None = None, is_progress_shown: bool = True
) -> tuple[Path, dict[str, Evaluation]]:
    """Train DemoNet from random weights twice, measure both on drawings kept out, and write the page.

    Args:
        directory: holds the runs "parts" and "plain", replaced where they exist, and report.html.
        seed: of both trainings; the drawings are always the same.
        count: drawn pictures per kind of animal.
        epochs: of both; None takes the demonstration's own.
        is_progress_shown: bars on the terminal.

    Returns:
        The page, and the evaluations by name, the network with part filters first.
    """
    settings = RunSettings(
        data=f"demo:{count}",
        out=str(directory / "parts"),
        backbone="demo",
        layers="features.block4",
        seed=seed,
        epochs=epochs,
        workers=0,  # drawings are kept in memory: other processes would draw them again
        force=True,
        recipe=_RECIPE,
    )
    plain_settings = replace(settings, out=str(directory / "plain"), plain=True)
    run, _, evaluation = train_run(settings, is_progress_shown=is_progress_shown)
    _, _, plain = train_run(plain_settings, is_progress_shown=is_progress_shown)
    if evaluation is None or plain is None:
        raise KeyboardInterrupt
    page = report(
        run.model, run.dataset("test"), directory / "report.html", evaluation=evaluation, compare={"plain": plain}
    )
    return page, {"part filters": evaluation, "plain": plain}
