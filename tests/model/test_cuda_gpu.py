"""What only a GPU can show: the same logits there, graphs that give what eager steps give, and memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.model.footprint import footprint
from ownlm.model.ops import load
from ownlm.quant.quantize import quantize

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import EVERY, Forward, check_ways, folder, relative, text  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def ops(**settings: Any) -> Any:
    from ownlm.model.ops.cuda import CudaOps

    return CudaOps("cuda", **{"dtype": torch.float32, "cache_format": "f32", **settings})


@pytest.fixture(autouse=True)
def exact() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("family", EVERY)
def test_logits_are_those_of_transformers(family: str, fused: bool) -> None:
    if fused:
        pytest.importorskip("triton")
    check_ways(Forward(folder(family), ops=ops(fused=fused)), family, 1e-3)


@pytest.mark.parametrize("to", ["q4_0", "q8_0"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss", "qwen3_moe"])
def test_blocks_in_bfloat16_are_near_the_oracle(family: str, to: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    quantize(folder(family), path, to=to)
    oracle, ours = Forward(path, ops=load("torch")), Forward(path, ops=load("cuda"))
    for parts in (((0, text(1)[:99], 0),), ((0, text(1)[99:], 99),)):
        want, found = oracle.run(*parts), ours.run(*parts)
        assert np.sqrt(np.mean((found - want) ** 2)) / want.std() < 0.1


@pytest.mark.parametrize("to", ["q4_0", "q8_0"])
def test_graphs_give_what_eager_steps_give(to: str, tmp_path: Path) -> None:
    from ownlm.model.ops.cuda_graphs import rerun

    path = tmp_path / "m"
    quantize(folder("qwen3"), path, to=to)
    eager, graphs = Forward(path, ops=ops(capture=rerun)), Forward(path, ops=ops())
    one, two = text(1), text(2)
    steps: list[Any] = [((0, one[:90], 0), (1, two[:60], 0))]
    steps += [((0, one[at : at + 1], at), (1, two[at - 30 : at - 29], at - 30)) for at in range(90, 96)]
    steps += [((0, one[96:97], 96),), ((1, two[66:71], 66),), ((0, one[97:98], 97),)]
    for parts in steps:
        assert relative(graphs.run(*parts), eager.run(*parts)) < 1e-5
    assert {tokens for tokens, _ in graphs.step.captured} == {1, 2, 4, 8}  # type: ignore[attr-defined]


def test_weights_take_what_the_footprint_says(tmp_path: Path) -> None:
    path = folder("llama")
    found = checkpoint.load(path)
    said = footprint(decoder_config(found.config(), path), found.tensors, "cuda").weights
    from ownlm.model.ops.cuda_graphs import rerun

    before = torch.cuda.memory_allocated()
    forward = Forward(path, ops=ops(dtype=torch.bfloat16, capture=rerun))  # graphs hold their results
    cache = forward.cache.keys.nbytes + forward.cache.values.nbytes
    assert said <= torch.cuda.memory_allocated() - before - cache <= said + 512 * 1024  # an allocation has 512 bytes
