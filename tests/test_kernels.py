"""When the Triton kernels run, that they compile for GPUs, and their numbers: by Triton's interpreter, or on a GPU."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from partcnn.errors import ConfigError
from partcnn.objectives import OBJECTIVES, exact
from partcnn.objectives.kernel_choice import has_triton, kernel_rule
from test_fast_objectives import LAYOUTS, laid_out, random_belongs, random_maps

FILE = Path(__file__)
ONE_MAP = torch.zeros(1, 1, 1, 1)
needs_triton = pytest.mark.skipif(
    not has_triton(), reason="Triton is not installed (it is made for Linux): pip install 'partcnn[triton]'"
)
is_compiled = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") == "1", reason="TRITON_INTERPRET=1: Triton interprets and does not compile"
)


@pytest.mark.slow
@needs_triton
def test_by_the_interpreter_the_kernels_have_the_numbers_of_the_twins_and_of_torch() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(FILE.with_name("interpreted_kernels.py"))]
    result = subprocess.run(command, env=environment, cwd=FILE.parents[1], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_triton
@is_compiled
@pytest.mark.parametrize(
    ("capability", "number", "other", "size"),
    [(80, "fp32", "f64", "i32"), (80, "fp64", "f16", "i32"), (90, "fp32", "f64", 1)],  # Triton makes a constant of 1
    ids=["8.0", "8.0, float64", "9.0, sizes and strides of 1"],
)
@pytest.mark.parametrize("name", ["log_partition", "sum_over_templates", "information_of_templates", "slopes"])
def test_each_kernel_compiles_to_machine_code_of_gpus(
    name: str,
    capability: int,
    number: str,
    other: str,
    size: str | int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # what it is; Triton 3.9 warns where it is unset
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from partcnn.objectives import kernels

    kernel = getattr(kernels, name)
    constants = {"block_images": 16, "block_cells": 64, "has_odds": True}
    if size == 1:
        constants = {"block_images": 1, "block_cells": 1, "has_odds": False}
        constants |= {argument: 1 for argument in kernel.arg_names if "stride" in argument or "num_" in argument}
    constants = {argument: value for argument, value in constants.items() if argument in kernel.arg_names}
    types = {
        argument: "i32" if "stride" in argument or "num_" in argument else f"*{number}" for argument in kernel.arg_names
    } | dict.fromkeys(constants, "constexpr")
    compiled = triton.compile(ASTSource(kernel, types, constants), target=GPUTarget("cuda", capability, 32))
    assert compiled.asm["cubin"]
    assert f".{other}" not in compiled.asm["ptx"]  # in the type of the fitness throughout
    assert compiled.metadata.shared <= 2**14


@pytest.mark.parametrize("value", ["yes", "2", "true", " 1"])
def test_another_wish_than_0_or_1_is_an_error(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTCNN_TRITON", value)
    with pytest.raises(ConfigError, match=f"PARTCNN_TRITON: expected 1 .* or 0, got '{value}'"):
        exact(ONE_MAP, torch.ones(1, 1, dtype=torch.bool), tau=1.0)


def test_without_triton_the_wish_for_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setenv("PARTCNN_TRITON", "1")
    has_triton.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"PARTCNN_TRITON: expected 0 without Triton, got 1; pip install"):
            exact(ONE_MAP, torch.ones(1, 1, dtype=torch.bool), tau=1.0)
    finally:
        has_triton.cache_clear()


@needs_triton
@is_compiled
def test_cpu_maps_stay_with_torch_where_triton_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTCNN_TRITON", "1")
    assert kernel_rule("exact", ONE_MAP) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")
@needs_triton
@is_compiled
@pytest.mark.parametrize("shape", [(37, 5, 14, 14), (3, 2, 1, 7), (9, 3, 20, 17), (1, 4, 7, 7)], ids=str)
@pytest.mark.parametrize("name", ["exact", "labelled"])
def test_on_a_gpu_the_kernels_have_the_numbers_of_torch(
    name: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never run yet. The tolerance in float32 is a guess: a GPU's exp and log err by more units than a CPU's."""
    belongs = random_belongs(*shape[:2])

    def loss_and_gradient(maps: Tensor, wish: str) -> list[Tensor]:
        monkeypatch.setenv("PARTCNN_TRITON", wish)
        assert (kernel_rule(name, maps) is not None) == (wish == "1")
        loss = OBJECTIVES[name](maps, belongs.to(maps.device), tau=20 / (shape[2] * shape[3])).loss
        return [loss.detach().cpu().double(), torch.autograd.grad(loss.sum(), maps)[0].cpu().double()]

    for layout, (dtype, tolerance) in itertools.product(LAYOUTS, [(torch.float64, 1e-9), (torch.float32, 1e-4)]):
        maps = random_maps(*shape)
        expected = loss_and_gradient(laid_out(maps, layout).requires_grad_(), "0")
        actual = loss_and_gradient(laid_out(maps.to("cuda", dtype), layout).requires_grad_(), "1")
        for ours, wanted in zip(actual, expected, strict=True):
            atol = tolerance * max(1.0, float(wanted.abs().max()))
            torch.testing.assert_close(ours, wanted, rtol=tolerance, atol=atol)
