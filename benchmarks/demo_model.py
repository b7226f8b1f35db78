"""The network that comes with the package, `demo:`: trained, measured and put into place anew.

    make demo-model    # about as long as `make demo`; a trunk or run that lies in --out is taken as it is

It is the demonstration's own network with part filters, of drawn giraffes against scenery without animals, its weights
kept in 16 bits. The figures beside it are of these; those of the 32 bits that they were rounded from are printed.
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

from partcnn.app.cli.quiet import quiet_lightning
from partcnn.app.demo import demo_settings, write_trunk
from partcnn.app.runs.audits import audit_run
from partcnn.app.runs.opening import Run, evaluate_run, run_evaluation
from partcnn.app.runs.state import write_run
from partcnn.app.runs.training import begun_or_new
from partcnn.evaluation import Evaluation
from partcnn.evaluation.comparison import compare
from partcnn.foundation.files import file_digest
from partcnn.foundation.terminal import PlainConsole
from partcnn.model.saving.checkpoint import load, save
from partcnn.model.saving.checkpoint_files import WEIGHTS_FILE
from partcnn.model.saving.shipped import SHIPPED_DIRECTORY

_SEED, _COUNT, _CATEGORY = 0, 150, "giraffe"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo-model"), help="folder for the run it is made from")
    options = parser.parse_args()
    settings = demo_settings(options.out, seed=_SEED, count=_COUNT, category=_CATEGORY)
    quiet_lightning()
    if not Path(settings.weights or "").is_file():
        write_trunk(settings)
    run, _, _ = begun_or_new(settings)
    before = run_evaluation(run)
    made = options.out / "halved"
    shutil.rmtree(made, ignore_errors=True)
    after = halved_run(run, made)
    PlainConsole().print(compare({"32 bits": before, "16 bits": after}).table())
    shutil.rmtree(SHIPPED_DIRECTORY, ignore_errors=True)
    shutil.copytree(made, SHIPPED_DIRECTORY)
    sizes = {file.name: file.stat().st_size for file in sorted(SHIPPED_DIRECTORY.rglob("*")) if file.is_file()}
    PlainConsole().print(f"{SHIPPED_DIRECTORY}: {sizes}", soft_wrap=True)


def halved_run(run: Run, made: Path) -> Evaluation:
    """A run with its network in 16 bits, measured, with the audit and the training's curves."""
    save(run.model, made, half=True)
    assert run.state is not None
    state = replace(run.state, weights=file_digest(made / WEIGHTS_FILE))
    write_run(run.settings, state, made)
    (made / "log").mkdir()
    shutil.copy(run.directory / "log" / "metrics.csv", made / "log")
    halved = Run(made, load(made), run.settings, state)
    evaluation = evaluate_run(halved)
    audit_run(halved)
    return evaluation


if __name__ == "__main__":
    main()
