"""Keys and values in each format, from the setting to the cache, on the model that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

import ownlm
from ownlm.engine.llm import LLM
from ownlm.engine.loading import load
from ownlm.errors import InvalidSetting
from ownlm.model import checkpoint, memory
from ownlm.model import ops as sides
from ownlm.model.agreement import agreement
from ownlm.model.decoder_families import decoder_config
from ownlm.model.opened import open_to_read, windows

STARTER = Path(ownlm.__file__).parent / "weights" / "starter-5m-q4_0"
TEXT = "A lost key costs twelve pounds. The society meets on the first Monday of the month, and members bring a dish. "


@pytest.mark.parametrize(("kv_format", "within"), [("bf16", 0.01), ("int8", 0.01), ("int4", 0.3)])
def test_a_coarser_cache_says_nearly_the_same(kv_format: str, within: float) -> None:
    found = checkpoint.load(STARTER)
    ids = found.load_tokenizer(STARTER).encode(TEXT * 8)
    exact, coarse = (open_to_read(STARTER, found, "native", kv_format=name) for name in ("f32", kv_format))
    assert 0 < agreement(exact.read, coarse.read, windows(ids, 256)).mean_kl < within


@pytest.mark.parametrize("kv_format", sides.FORMATS)
def test_the_cache_takes_what_is_counted(kv_format: str) -> None:
    loaded = load(STARTER, context=64, cache_tokens=128, ops="native", kv_format=kv_format, on_progress=None)
    shape = memory.KVShape.of(decoder_config(checkpoint.raw_config(STARTER), STARTER))
    assert loaded.runner.blocks * loaded.runner.block_bytes == shape.bytes(128, cache_format=kv_format)
    keys = {
        load(STARTER, context=64, cache_tokens=128, ops="native", kv_format=each, on_progress=None).runner.cache_key
        for each in ("bf16", kv_format)
    }
    assert len(keys) == (1 if kv_format == "bf16" else 2)


@pytest.mark.parametrize("kv_format", ["int8", "int4"])
def test_answers_do_not_depend_on_what_is_cached(kv_format: str) -> None:
    with LLM(STARTER, context=256, ops="native", kv_format=kv_format) as llm:
        first = llm.generate(TEXT, max_tokens=24, temperature=0.0)
        again = llm.generate(TEXT, max_tokens=24, temperature=0.0)
        both = llm.generate([TEXT, TEXT[:60]], max_tokens=24, temperature=0.0)
    assert first.text == again.text == both[0].text


def test_what_a_side_does_not_have_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="kv_format"):
        LLM(STARTER, ops="native", kv_format="fp8")
    pytest.importorskip("torch")
    with pytest.raises(InvalidSetting, match="f32"):
        LLM(STARTER, ops="torch", kv_format="int8")
