"""A decoder's logits against the torch side over the same stored weights, in every instruction set, for every format of
weights and of keys and values, for every number of rows: what ``benchmarks/correctness.py`` prints, held to bounds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from correctness import ROWS, WEIGHTS, measure

# Measured mean KL in nats a token, doubled: what is left are activations of 8 bits, or of bfloat16, and rounding.
WEIGHT_KL = {
    "f32": 1e-11,
    "bf16": 3e-5,
    "q8_0": 4.5e-4,
    "q4_0": 4.5e-4,
    "q4_k": 4.5e-4,
    "q5_k": 4.5e-4,
    "q6_k": 4.5e-4,
    "starter": 1.2e-3,
}
KV_KL = {"f32": 0.0, "bf16": 2e-6, "int8": 7e-6, "int4": 2e-3}
TRAINED = 50.0  # the KV format's part is larger where attention has learnt whom to look at
TAIL = 10.0  # of 128 tokens, the one farthest off


@pytest.mark.parametrize("kv", KV_KL)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_logits_are_the_oracle_s(isa: str, weights: str, kv: str) -> None:
    bound = WEIGHT_KL[weights] + KV_KL[kv] * (TRAINED if weights == "starter" else 1)
    lines = list(measure(isa, weights, kv))
    assert [line.rows for line in lines] == sorted(ROWS, reverse=True)
    assert lines[0].mean_kl < bound
    for line in lines:
        assert line.largest_kl < TAIL * bound, line
        assert line.same_bits, line
