"""What an explanation holds in memory does not grow with the picture, but for the picture itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partcnn.foundation.pixels import shrunk

_MIB = 2**20
_ROOT = Path(__file__).parents[2]
_EXPLAIN = """
import re, sys
sys.path.insert(0, sys.argv[1])
import partcnn, torch
from partcnn.explanation.explanation import explain
from partcnn.networks.demo_net import DemoNet
from partcnn.reporting.viewer.answer import picture_answer
torch.set_num_threads(1)
torch.manual_seed(0)
objective = "competing" if sys.argv[3] == "competing" else "exact"
model = partcnn.convert(DemoNet(num_classes=2), "features", num_classes=2, filters=32, objective=objective)
why = explain(model, sys.argv[2], hide=2)
why.save(sys.argv[2] + ".png")
picture_answer(why, {})
print(re.findall(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[0])
"""


def _peak_bytes(folder: Path, size: tuple[int, int], objective: str) -> int:
    file = folder / f"{size[0]}.jpg"
    Image.effect_noise(size, 60).convert("RGB").save(file)
    command = [sys.executable, "-c", _EXPLAIN, str(_ROOT), str(file), objective]
    return 1024 * int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("objective", ["competing", "exact"])
@pytest.mark.fault("picture", "A photograph of 12 megapixels is explained", "It costs the memory of a small one")
def test_twelve_megapixels_cost_hardly_more_than_a_fifth_of_one(tmp_path: Path, objective: str) -> None:
    small, large = (_peak_bytes(tmp_path, size, objective) for size in ((520, 390), (4000, 3000)))
    decoded = 3 * 4000 * 3000
    assert large <= 1.3 * small + decoded, f"{large / _MIB:.0f} MiB, of a small one {small / _MIB:.0f}"


def test_a_picture_is_shrunk_to_its_longer_side_and_never_grows() -> None:
    picture = Image.fromarray(np.zeros((30, 60, 3), np.uint8))
    assert shrunk(picture, 20).size == (20, 10)
    assert shrunk(picture, 60) is shrunk(picture, 90) is picture
    assert shrunk(Image.new("RGB", (1, 900)), 30).size == (1, 30)
