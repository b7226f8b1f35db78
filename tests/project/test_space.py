"""The page of examples/space: what it shows of a picture, for filters that compete and for others."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "space"
# In a process of its own: gradio leaves loops and sockets open.
SHOWN = """\
import runpy, sys
import torch
from partcnn import Recipe, convert, explain, fit, load_dataset
from partcnn.networks import DemoNet
file, objective = sys.argv[1:]
space = runpy.run_path(file, run_name="space")
torch.manual_seed(0)
model = convert(DemoNet(), num_classes=2, filters=4, background=0, objective=objective, input_size=(112, 112))
cats = load_dataset("demo:4", category="cat")
fit(model, cats, Recipe(epochs=1, num_views=2, head_epochs=1), is_progress_shown=False)
blocks = space["page"](model.eval())
(explained,) = {function.fn for function in blocks.fns.values()}
picture = cats.samples[-1].load_image()
(shown, parts), bars, shares = explained(picture, space["PREDICTED"])
why = explain(model, picture)
assert max(shown.size) == space["LONG_SIDE"]
assert parts and {name for _, name in parts} <= {f"filter {number}" for number in range(4)}
if objective == "competing":
    assert sum((mask > 0).sum() for mask, _ in parts) == (why.regions_at(shown.size[::-1]) >= 0).sum()
else:
    assert all(0 <= box[0] <= box[2] <= shown.width for box, _ in parts)
assert bars.axes[0].get_title(loc="left").startswith(why.label)
assert abs(shares[why.label] - why.probability) < 1e-6
assert explained(None, space["PREDICTED"]) == (None, None, None)
"""


@pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="gradio is an extra: pip install 'partcnn[gradio]'"
)
@pytest.mark.parametrize("objective", ["competing", "exact"])
def test_a_picture_is_shown_with_its_parts_and_its_sum(objective: str) -> None:
    command = [sys.executable, "-c", SHOWN, str(FOLDER / "app.py"), objective]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_space_needs_what_it_says() -> None:
    extras = (FOLDER.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    assert (FOLDER / "requirements.txt").read_text() == "partcnn[gradio,hub]\n"
    assert all(f"\n{extra} = [" in extras for extra in ("gradio", "hub"))
    assert "app_file: app.py" in (FOLDER / "README.md").read_text(encoding="utf-8")
