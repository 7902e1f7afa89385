"""The Triton kernels against plain torch: on a GPU where there is one, else in Triton's interpreter on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.formats import FORMATS

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    if "triton" in sys.modules:
        pytest.skip("no GPU here, and Triton is loaded without its interpreter", allow_module_level=True)
    os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
pytest.importorskip("triton", reason="Triton is not installed; torch for Linux with CUDA brings it along")
sys.path.append(str(Path(__file__).parent))
from decoder_support import Forward, check_ways, folder, relative, text  # noqa: E402

from ownlm.model.ops import cuda_fused  # noqa: E402
from ownlm.model.ops.cuda import CudaOps  # noqa: E402
from ownlm.model.ops.cuda_weights import Blocks, dequantized, pack, stacked  # noqa: E402
from ownlm.model.params import LinearWeight, Matrix  # noqa: E402
from ownlm.quant.quantize import quantize  # noqa: E402

RNG = np.random.default_rng(0)


def blocks(rows: int, columns: int, kind: str) -> Blocks:
    values = RNG.standard_normal((rows, columns)).astype(np.float32)
    made: Any = pack(
        LinearWeight((Matrix(FORMATS[kind].quantize(values), kind),)), torch.device(DEVICE), torch.float32, {}
    )
    weight: Blocks = made.weight
    return weight


def floats(*shape: int) -> Any:
    return torch.from_numpy(RNG.standard_normal(shape).astype(np.float32)).to(DEVICE)


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q8_0"])
@pytest.mark.parametrize(
    ("rows", "outputs", "columns"), [(1, 70, 96), (1, 8, 1312), (2, 70, 96), (5, 33, 320), (64, 16, 64)]
)
def test_products(kind: str, rows: int, outputs: int, columns: int) -> None:
    w, x, bias, residual = blocks(outputs, columns, kind), floats(rows, columns), floats(outputs), floats(rows, outputs)
    want = x @ dequantized(w, torch.float32).T
    torch.testing.assert_close(cuda_fused.matmul(x, w), want, rtol=1e-4, atol=1e-3)
    full = cuda_fused.matmul(x, w, bias, residual, 0.5)
    torch.testing.assert_close(full, (want + bias) * 0.5 + residual, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q8_0"])
def test_products_by_matrices_of_their_own(kind: str) -> None:
    parts = [blocks(24, 64, kind) for _ in range(3)]
    w: Any = stacked(parts)
    x, which = floats(5, 64), torch.tensor([2, 0, 1, 1, 2], device=DEVICE)
    want = torch.stack([dequantized(parts[e], torch.float32) @ row for e, row in zip(which.tolist(), x, strict=True)])
    torch.testing.assert_close(cuda_fused.matmul(x, w, which=which), want, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["q4_0", "q4_1", "q8_0"])
def test_dequantizing_is_exact(kind: str) -> None:
    w = blocks(13, 160, kind)
    assert torch.equal(cuda_fused.dequantized(w, torch.float32), dequantized(w, torch.float32))


def test_norms_and_gates() -> None:
    x, weight, residual = floats(3, 72), floats(72), floats(3, 72)
    want = torch.nn.functional.rms_norm(x, (72,), weight, 1e-5)
    torch.testing.assert_close(cuda_fused.rms_norm(x, weight, 1e-5), want)
    torch.testing.assert_close(cuda_fused.rms_norm(x, weight, 1e-5, residual), want + residual)
    gate, up = x.chunk(2, dim=1)
    torch.testing.assert_close(cuda_fused.silu_gated(x), torch.nn.functional.silu(gate) * up)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "to"),
    [
        ("qwen3", "q4_0"), ("gemma2", "q4_0"), ("gpt_oss", "q8_0"), ("phi3_longrope", "q4_0"), ("qwen3_moe", "q4_0"),
        ("olmo2", "q8_0"), ("gpt2", "q4_0"), ("ownlm", "q8_0"),
    ],
)  # fmt: skip
def test_a_model_is_the_same_with_and_without(family: str, to: str, tmp_path: Path) -> None:
    """Rotation, places in the cache, attention over it with windows, caps and sinks: all ways that tokens come in."""
    path = tmp_path / "m"
    quantize(folder(family), path, to=to)
    sides = [CudaOps(DEVICE, torch.float32, "f32", fused=fused) for fused in (False, True)]
    plain, fused = (Forward(path, ops=side) for side in sides)
    one, two = text(1), text(2)
    for parts in (
        ((0, one[:40], 0), (1, two[:17], 0)),
        ((0, one[40:41], 40), (1, two[17:20], 17)),
        ((0, one[41:42], 41),),
    ):
        want = plain.run(*parts)
        assert relative(fused.run(*parts), want) < 1e-3


@pytest.mark.slow
def test_plain_weights_take_the_same_way() -> None:
    check_ways(Forward(folder("qwen3"), ops=CudaOps(DEVICE, torch.float32, "f32", fused=True)), "qwen3", 1e-3)


@pytest.mark.slow
def test_they_compile_for_gpus_that_are_not_here() -> None:
    """Ampere, Ada and Hopper, within the shared memory of the smallest of these (99 KiB)."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), "80", "89", "90"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    shared = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert len(shared) == 3 * 31 and max(shared) <= 99 << 10
