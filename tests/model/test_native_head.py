"""A decoder whose head is read by a 4-bit copy, beside the same with its head as it is."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.model.gguf.export import export
from ownlm.model.ops.native import NativeOps
from ownlm.model.ops.native_weights import Head, Linear

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import Forward, folder, text

RESCORED = NativeOps(head="rescored", rescore_from=1)


def test_small_heads_stay_as_they_are() -> None:
    forward = Forward(folder("llama3"), ops=NativeOps(head="rescored"))
    assert isinstance(forward.params.head, Linear)


@pytest.mark.parametrize("type_", ["f32", "bf16", "f16", "q8_0"])
@pytest.mark.parametrize("family", ["llama3", "gemma2", "gpt2", "ownlm"])
def test_the_likeliest_is_the_same(tmp_path: Path, family: str, type_: str) -> None:
    path = folder(family)
    if type_ != "f32":
        if family == "ownlm":
            pytest.skip("GGUF does not hold it")
        path = tmp_path / "m.gguf"
        export(folder(family), path, type_)
    exact, rescored = Forward(path, ops=NativeOps()), Forward(path, ops=RESCORED)
    assert isinstance(rescored.params.head, Head)
    want, found = exact.run((0, text(1), 0)), rescored.run((0, text(1), 0))
    assert np.array_equal(want, found), "of a hundred tokens all are candidates"


def test_formats_that_are_narrow_stay_as_they_are(tmp_path: Path) -> None:
    export(folder("llama3"), tmp_path / "m.gguf", "q4_0")
    forward = Forward(tmp_path / "m.gguf", ops=RESCORED)
    format = forward.params.head.weight.format
    assert isinstance(forward.params.head, Head) == (format == "q8_0")


def test_a_tied_head_has_no_rows_of_its_own(tmp_path: Path) -> None:
    export(folder("gemma2"), tmp_path / "m.gguf", "q8_0")
    params: Any = Forward(tmp_path / "m.gguf", ops=RESCORED).params
    assert np.shares_memory(params.head.weight.rows, params.embed_tokens.values)


def test_a_batch_asks_for_exact_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rescored = Forward(folder("llama3"), ops=RESCORED)
    step, seen = rescored.step, []
    want = rescored.run((0, text(1), 0))

    def asking(batch: Any) -> Any:
        seen.append(batch.exact)
        return step(replace(batch, exact=np.ones(len(batch.rows), np.uint8)))

    monkeypatch.setattr(rescored, "step", asking)
    assert np.array_equal(rescored.run((0, text(1), 0)), want)
    assert seen == [None]
