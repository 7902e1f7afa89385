"""From a name to a model that answers: folders, GGUF files, names; what does not fit or is no such model is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm import hub
from ownlm.engine.llm import LLM
from ownlm.errors import CorruptModel, InvalidSetting, NotFound, UnsupportedModel
from ownlm.model import checkpoint, memory, prepared
from ownlm.model.decoder_families import decoder_config
from ownlm.model.footprint import footprint
from ownlm.model.gguf.export import export
from tiny_llm import HIDDEN, write_tiny_llm


@pytest.fixture(params=["native", "torch"])
def ops(request: pytest.FixtureRequest) -> str:
    if request.param == "torch":
        pytest.importorskip("torch")
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llm(tmp_path_factory.mktemp("models") / "tiny-llm")


def changed(folder: Path, target: Path, name: str, **settings: Any) -> Path:
    shutil.copytree(folder, target)
    stated = json.loads((target / name).read_text()) if (target / name).exists() else {}
    (target / name).write_text(json.dumps(stated | settings))
    return target


def test_a_folder_answers_as_transformers_does(ops: str, folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    with LLM(folder, ops=ops) as llm:
        assert (llm.name, llm.context) == ("tiny-llm", 512) and len(llm.fingerprint) == 64
        for prompt in ("the fox and the dogs", "größer 🦊", "x"):
            ids = llm.encode(prompt)
            with torch.no_grad():
                theirs = model.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, pad_token_id=0)
            ours = llm.generate(prompt, temperature=0, max_tokens=24)
            expected = theirs[0, len(ids) :].tolist()
            while expected and expected[-1] in llm.tokenizer.eos_ids:
                expected.pop()
            if ops == "torch":  # the native cache holds bfloat16: one token in a hundred may be another
                assert ours.token_ids == expected and ours.finish_reason in ("stop", "length")
            scored = llm.generate(prompt, max_tokens=0, prompt_logprobs=0).prompt_logprobs
            with torch.no_grad():
                log = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1).numpy()
            assert scored is not None
            for at in range(1, len(ids)):
                close = 1e-3 if ops == "torch" else 0.05
                assert scored[at][0] == pytest.approx(log[at - 1, ids[at]], abs=close)  # type: ignore[index]


def test_a_gguf_file_answers_as_its_folder_does(ops: str, folder: Path, tmp_path: Path) -> None:
    folder = changed(folder, tmp_path / "a", "generation_config.json", temperature=0.25, top_k=7, do_sample=True)
    export(folder, tmp_path / "once.gguf", "f32")
    export(tmp_path / "once.gguf", tmp_path / "tiny.gguf")
    with LLM(folder, ops=ops) as one, LLM(tmp_path / "tiny.gguf", ops=ops) as other:
        assert one.defaults == other.defaults == {"temperature": 0.25, "top_k": 7}
        assert other.name == "tiny" and other.context == one.context
        say = [{"role": "user", "content": "the fox, größer"}]
        assert one.render(say).ids == other.render(say).ids
        assert one.chat(say, temperature=0, max_tokens=20).text == other.chat(say, temperature=0, max_tokens=20).text


def test_a_name_below_the_home_is_found(
    ops: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path))
    shutil.copytree(folder, tmp_path / "models" / "mine")
    with LLM("mine", ops=ops) as llm:
        assert llm.name == "mine"


def test_a_hub_id_that_is_not_here_is_pulled(ops: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def pull(name: str, **options: Any) -> Path:
        asked.append(name)
        return folder

    monkeypatch.setattr(hub, "pull", pull)
    with LLM("some-org/never-pulled", ops=ops) as llm:
        assert llm.name == "some-org/never-pulled" and asked == ["some-org/never-pulled"]
    with pytest.raises(NotFound):
        LLM("no-such-name", ops=ops)
    assert len(asked) == 1


def test_equal_seeds_give_equal_texts_in_any_company(ops: str, folder: Path) -> None:
    with LLM(folder, ops=ops) as llm:
        prompts = ["the fox", "größer", "the fox and the dogs over the lazy river", "x"] * 3
        together = llm.generate(prompts, seed=11, max_tokens=30, temperature=0.9, top_p=0.9, ignore_eos=True)
        for prompt, output in zip(prompts[:4], together, strict=False):
            alone = llm.generate(prompt, seed=11, max_tokens=30, temperature=0.9, top_p=0.9, ignore_eos=True)
            assert alone.token_ids == output.token_ids or ops == "torch"
        assert [output.token_ids for output in together[:4]] == [output.token_ids for output in together[4:8]]


def test_what_does_not_fit_is_refused_with_the_numbers_before_weights_are_read(
    ops: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: memory.RESERVE + 400_000)
    monkeypatch.setattr(prepared, "decoder_params", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(InvalidSetting, match=r"needs 0\.27 GB .*0\.27 GB of memory are available"):
        LLM(folder, ops=ops)
    monkeypatch.setattr(memory, "available", lambda: memory.RESERVE + (1 << 40))
    with pytest.raises(InvalidSetting, match="cache for 100000000000"):
        LLM(folder, ops=ops, cache_tokens=10**11)


def test_the_context_shrinks_to_what_memory_leaves_and_says_so(
    ops: str, folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    large = changed(folder, tmp_path / "large", "config.json", max_position_embeddings=131072)
    taken = footprint(decoder_config(checkpoint.raw_config(large), large), checkpoint.load(large).tensors, ops)
    size = taken.weights + taken.more
    per_token = 2 * 2 * 2 * (HIDDEN // 4) * (2 if ops == "native" else 4)
    monkeypatch.setattr(memory, "available", lambda: memory.RESERVE + size + 2 * 5000 * per_token)
    with LLM(large, ops=ops) as llm:
        assert 4900 < llm.context < 5100
        assert len(llm.notes) == 1 and str(llm.context) in llm.notes[0] and "131072" in llm.notes[0]
    with LLM(large, ops=ops, context=300) as llm:
        assert llm.context == 300 and not llm.notes
        with pytest.raises(Exception, match="300"):
            llm.generate([5] * 301)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"context": 0}, "context"), ({"context": 513}, "512"), ({"context": "8"}, "context"),
        ({"cache_tokens": -1}, "cache_tokens"), ({"context": 64, "cache_tokens": 32}, "64"), ({"ops": "abacus"}, "ops"),
        ({"max_running": 0}, "max_running"), ({"max_waiting": -1}, "max_waiting"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_before_weights_are_read(
    ops: str, folder: Path, settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "decoder_params", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(InvalidSetting, match=said):
        LLM(folder, **({"ops": ops} | settings))


def test_what_is_no_language_model_is_told(ops: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="encoder"):
        LLM(hub.resolve(None), ops=ops)
    with pytest.raises(UnsupportedModel, match=r"mamba.*llama"):
        LLM(changed(folder, tmp_path / "a", "config.json", model_type="mamba"), ops=ops)
    with pytest.raises(CorruptModel, match="100"):
        LLM(changed(folder, tmp_path / "b", "config.json", vocab_size=100), ops=ops)
    with pytest.raises(CorruptModel):
        LLM(changed(folder, tmp_path / "c", "config.json", hidden_size=32), ops=ops)
    with pytest.raises(NotFound):
        LLM(tmp_path / "nowhere", ops=ops)


def test_the_models_wishes_are_honoured_or_told(ops: str, folder: Path, tmp_path: Path) -> None:
    path = changed(folder, tmp_path / "a", "generation_config.json", do_sample=False, max_new_tokens=3, num_beams=4)
    with LLM(path, ops=ops) as llm:
        output = llm.generate("the fox", ignore_eos=True)
        assert (output.completion_tokens, output.finish_reason) == (3, "length")
        assert output.text == llm.generate("the fox", temperature=0, ignore_eos=True).text
        assert any("num_beams" in note for note in llm.notes)


def test_without_a_template_it_completes(ops: str, folder: Path, tmp_path: Path) -> None:
    path = shutil.copytree(folder, tmp_path / "a")
    (path / "chat_template.jinja").unlink()
    with LLM(path, ops=ops) as llm:
        assert llm.chat_template is None and llm.generate("the", max_tokens=2).completion_tokens >= 1


def test_a_random_model_under_a_schema_validates(ops: str, folder: Path) -> None:
    from ownlm.engine.grammar import Grammar

    grammar = Grammar.json_schema(
        {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 999}}, "required": ["n"],
         "additionalProperties": False}
    )  # fmt: skip
    with LLM(folder, ops=ops) as llm:
        prompt = [{"role": "user", "content": "x"}]
        for seed in range(5):
            output = llm.chat(prompt, grammar=grammar, seed=seed, max_tokens=200)
            assert output.finish_reason == "length" or 0 <= json.loads(output.text)["n"] <= 999
        assert np.isfinite(llm.stats().counters.step_seconds)


@pytest.mark.parametrize("format", ["f32", "f16", "q4_0", "q6_k"])
def test_the_bytes_said_beforehand_are_those_that_are_taken(tmp_path: Path, format: str) -> None:
    """In a process of its own, by what it holds when the model is there."""
    wide = {"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 8}
    folder = write_tiny_llm(tmp_path / "wide", scale=0.02, **wide)
    export(folder, tmp_path / "wide.gguf", format)
    script = """
import gc, resource, sys
from pathlib import Path
from ownlm.engine.llm import LLM
from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.model.footprint import footprint

def held():
    fields = dict(line.split(":", 1) for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return int(fields["Anonymous"].split()[0]) * 1024

path = Path(sys.argv[1])
LLM(sys.argv[2]).close()  # libraries and threads are there now
gc.collect()
before = held()
config = decoder_config(checkpoint.raw_config(path), path)
said = footprint(config, checkpoint.load(path, verify=False).tensors, "native").weights
llm = LLM(path, cache_tokens=512)
gc.collect()
print(said, held() - before)
llm.close()
"""
    small = write_tiny_llm(tmp_path / "small")
    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "wide.gguf"), str(small)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    said, taken = map(int, found.stdout.split())
    assert said * 0.9 - 2e6 < taken < said * 1.1 + 8e6, (format, said, taken)
