"""The decoder in native kernels: every family against transformers and the torch side, in every instruction set."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ownlm import native
from ownlm.model import checkpoint
from ownlm.model.gguf.export import export
from ownlm.model.ops.native import NativeOps
from ownlm.quant.quantize import quantize

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import EVERY, Forward, Logits, check_ways, expected, folder, relative, text
from tiny_families import save

WITHIN = 2e-3


@pytest.fixture(params=native.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = native.isa()
    native.use_isa(request.param)
    yield request.param
    native.use_isa(before)


def exact(path: Path) -> Forward:
    return Forward(path, ops=NativeOps(cache_format="f32"))


def typical(ours: Logits, theirs: Logits) -> float:
    """The mean difference, in standard deviations of the logits."""
    return float(np.abs(ours - theirs).mean() / theirs.std())


@pytest.mark.parametrize("family", EVERY)
def test_logits_are_those_of_transformers(isa: str, family: str) -> None:
    check_ways(exact(folder(family)), family, WITHIN)


@pytest.mark.parametrize("family", EVERY)
def test_no_bit_depends_on_the_batch(isa: str, family: str) -> None:
    forward = Forward(folder(family), ops=NativeOps())
    one, two = text(1), text(2)
    alone = forward.run((0, one, 0))
    assert typical(alone, expected(family, 1)) < 0.05  # keys and values are bfloat16, which may turn a router's choice
    both = forward.run((0, one, 0), (1, two, 0))
    assert np.array_equal(both[: len(one)], alone)
    parts = [forward.run((2, one[:33], 0)), forward.run((2, one[33:70], 33), (1, two[:50], 0))[:37]]
    parts += [forward.run((2, one[at : at + 1], at)) for at in range(70, len(one))]
    assert np.array_equal(np.concatenate(parts), alone)


# Activations are rounded to 8 bits, or to bfloat16; weights of Q4_1, Q5_0 and Q5_1 are rounded again, to Q8_0.
@pytest.mark.parametrize(
    ("type_", "within"),
    [
        ("f32", 1e-5),
        ("f16", 0.02),
        ("bf16", 0.02),
        ("q8_0", 0.04),
        ("q4_0", 0.04),
        ("q4_1", 0.06),
        ("q5_0", 0.06),
        ("q5_1", 0.06),
    ],
)
def test_stored_formats_give_what_the_torch_side_gives(tmp_path: Path, type_: str, within: float) -> None:
    export(folder("llama3"), tmp_path / "m.gguf", type_)
    theirs = Forward(tmp_path / "m.gguf").run((0, text(1), 0))
    assert typical(exact(tmp_path / "m.gguf").run((0, text(1), 0)), theirs) < within


@pytest.mark.parametrize("to", ["q8_0", "q4_0"])
def test_the_research_decoder_in_blocks(isa: str, tmp_path: Path, to: str) -> None:
    """Squares of activations, gates and values in blocks. Tables over the vocabulary keep eight bits."""
    quantize(folder("ownlm"), tmp_path / "m", to)
    tensors = checkpoint.load(tmp_path / "m").tensors
    assert tensors["model.layers.0.self_attn.value_embedding.weight"].format == "q8_0"
    assert tensors["model.layers.0.self_attn.value_gate.weight"].format == to
    theirs = Forward(tmp_path / "m").run((0, text(1), 0))
    assert typical(exact(tmp_path / "m").run((0, text(1), 0)), theirs) < 0.04


@pytest.mark.parametrize("type_", ["q4_k", "q5_k", "q6_k"])
def test_k_formats_are_rounded_to_q8_0(tmp_path: Path, type_: str) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 256, "head_dim": 64}
    export(save(tmp_path / "m", "qwen2", **sizes), tmp_path / "m.gguf", type_)
    theirs = Forward(tmp_path / "m.gguf").run((0, text(1), 0))
    assert typical(exact(tmp_path / "m.gguf").run((0, text(1), 0)), theirs) < 0.1


def test_blocks_are_copied() -> None:
    forward = exact(folder("gemma3"))
    whole = text(1)
    forward.run((0, whole[:96], 0))
    forward.ops.copy_blocks(forward.cache, np.array([[1 + block, 8 + block] for block in range(6)], np.int32))
    assert relative(forward.run((1, whole[96:], 96)), expected("gemma3", 1)[96:]) < WITHIN
