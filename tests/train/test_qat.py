"""Quantization-aware training rounds to the very bits that ``ownlm quantize`` stores."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

sys.path.append(str(Path(__file__).parents[1] / "model"))
from tiny_families import save

from ownlm.errors import InvalidSetting
from ownlm.formats import FORMATS
from ownlm.quant import quantize
from ownlm.train.batch import Row, collate
from ownlm.train.decoder import Decoder
from ownlm.train.lora import AdapterSettings, adapters, new_adapters
from ownlm.train.losses import cross_entropy
from ownlm.train.merge import write_merged
from ownlm.train.modules import Projection
from ownlm.train.qat import ROUNDINGS, QuantizationAware, exact, quantize_aware

torch.set_num_threads(1)
SCALES = (1e-45, 1e-38, 1e-7, 6e-5, 0.02, 1.0, 300.0)


def numpys(w: np.ndarray, form: str) -> np.ndarray:
    found = FORMATS[form]
    return found.dequantize(found.quantize(w))


@pytest.mark.parametrize("form", ROUNDINGS)
def test_rounding_is_bit_for_bit_that_of_the_format(form: str) -> None:
    chance = np.random.default_rng(1)
    for scale in SCALES:
        with np.errstate(under="ignore"):
            w = (chance.normal(0, scale, (64, 256))).astype(np.float32)
        w[0] = 0
        w[1, ::2] = -w[1, 1::2]  # the largest magnitude with both signs
        w[2] = np.round(w[2] / np.float32(scale or 1)) * np.float32(scale)  # many ties
        ours = ROUNDINGS[form](torch.from_numpy(w)).numpy()
        np.testing.assert_array_equal(ours.view(np.uint32), numpys(w, form).view(np.uint32), err_msg=str(scale))


@pytest.mark.parametrize("form", ROUNDINGS)
@given(w=arrays(np.float32, (2, 32), elements=st.floats(-60_000, 60_000, width=32, allow_nan=False)))
@settings(max_examples=150, deadline=None)
def test_rounding_of_any_weights(form: str, w: np.ndarray) -> None:
    ours = ROUNDINGS[form](torch.from_numpy(w)).numpy()
    np.testing.assert_array_equal(ours.view(np.uint32), numpys(w, form).view(np.uint32))


@pytest.mark.parametrize("form", ROUNDINGS)
def test_the_gradient_passes_straight_through(form: str) -> None:
    w = torch.randn(4, 64, requires_grad=True)
    weights = torch.randn(4, 64)
    (ROUNDINGS[form](w) * weights).sum().backward()
    torch.testing.assert_close(w.grad, weights, rtol=0, atol=0)


def test_compiled_it_rounds_to_the_same_bits() -> None:
    w = torch.randn(8, 64)
    compiled = torch.compile(lambda x: ROUNDINGS["q4_0"](x) * 2, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(w), ROUNDINGS["q4_0"](w) * 2, rtol=0, atol=0)


def loss(model: Decoder) -> float:
    ids = np.random.default_rng(5).integers(3, 90, 30)
    return cross_entropy(model, collate([Row(ids, np.append(ids[1:], -100))])).sum.item()


@pytest.mark.parametrize("family", ["qwen3", "gpt2"])
def test_what_training_computes_with_is_what_quantizing_stores(family: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "model", family)
    model = Decoder.load(folder)
    before = loss(model)
    count = quantize_aware(model, "q4_0")
    assert count == sum(isinstance(part, Projection) and part.shape[1] % 32 == 0 for part in model.modules()) - (
        family == "gpt2"  # its table of positions stays as it is
    )
    rounded = loss(model)
    assert rounded != before
    quantize(folder, tmp_path / "q4", "q4_0")
    assert rounded == loss(Decoder.load(tmp_path / "q4", frozen=True))
    exact(model)
    assert loss(model) == before


@pytest.mark.parametrize("to", ["q4_0", "q8_0"])
def test_with_adapters_the_merged_weight_is_rounded(to: str, tmp_path: Path) -> None:
    quantize(save(tmp_path / "model", "qwen3"), tmp_path / "base", "q8_0")
    model = Decoder.load(tmp_path / "base", frozen=True)
    new_adapters(model, AdapterSettings(rank=4, dora=to == "q8_0"))
    with torch.no_grad():
        for one in adapters(model).values():
            one.b.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    plain = loss(model)
    quantize_aware(model, to)
    rounded = loss(model)
    assert rounded != plain
    exact(model)
    assert loss(model) == plain
    write_merged(model, tmp_path / "merged")
    quantize(tmp_path / "merged", tmp_path / "small", to)
    assert loss(Decoder.load(tmp_path / "small", frozen=True)) == pytest.approx(rounded, rel=1e-6)


def test_frozen_blocks_stay_and_other_formats_are_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", "qwen3")
    quantize(folder, tmp_path / "q8", "q8_0")
    model = Decoder.load(tmp_path / "q8", frozen=True)
    before = loss(model)
    quantize_aware(model, "q4_0")
    assert loss(model) == before
    with pytest.raises(InvalidSetting, match="q4_0, q8_0"):
        quantize_aware(model, "q3_k")
    for settings_ in ({"to": "q3_k"}, {"share": 0.0}, {"share": 1.1}):
        with pytest.raises(InvalidSetting, match="quantization"):
            QuantizationAware(**settings_)
