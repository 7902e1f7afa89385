"""A model on a GPU, from its name to its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownlm.engine.llm import LLM
from ownlm.errors import InvalidSetting
from tiny_llm import write_tiny_llm

torch = pytest.importorskip("torch")
PROMPTS = ["the fox", "a dog and the", "x"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="use the CPU"):
        LLM(write_tiny_llm(tmp_path / "tiny"), ops="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_auto_takes_the_gpu_and_answers(tmp_path: Path) -> None:
    model = write_tiny_llm(tmp_path / "tiny")
    with LLM(model) as llm, LLM(model, ops="torch") as oracle:
        assert any("GPU" in text for text in llm.notes)
        assert llm.engine.runner.ops.name == "cuda"  # type: ignore[attr-defined]
        ours, theirs = (each.generate(PROMPTS, temperature=0, max_tokens=8, logprobs=0) for each in (llm, oracle))
        for a, b in zip(ours, theirs, strict=True):
            assert abs((a.tokens[0].logprob or 0) - (b.tokens[0].logprob or 0)) < 0.2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_model_that_is_too_large_for_the_gpu_is_refused_with_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1_000_000, 80_000_000_000))
    model = write_tiny_llm(tmp_path / "tiny")
    with pytest.raises(InvalidSetting, match="on the GPU"):
        LLM(model, ops="cuda")
    with LLM(model) as llm:
        assert any("computed on the CPU" in text for text in llm.notes)
