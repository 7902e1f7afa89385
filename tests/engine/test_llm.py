"""Text in, text out: the model as Python programs meet it."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import ownlm
from chances import chi_square, exact
from llm_fakes import echo_llm, noise_llm
from ownlm.engine.defaults import folder_defaults, gguf_defaults
from ownlm.engine.llm import LLM
from ownlm.errors import CorruptModel, EngineClosed, InvalidGrammar, InvalidSetting, NotFound, PromptTooLong
from ownlm.model.batch import Batch
from random_schemas import random_schema

SAY = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizer")


@pytest.fixture(scope="module")
def llm(folder: Path) -> Iterator[LLM]:
    with noise_llm(folder, favour={"<|im_end|>": 9.0}) as found:
        yield found


def test_it_is_public() -> None:
    assert ownlm.LLM is LLM


def test_a_conversation_is_rendered_by_the_models_template_and_answered(folder: Path) -> None:
    llm, _ = echo_llm(folder, "the fox, größer 🦊")
    with llm:
        output = llm.chat(SAY)
        assert (output.text, output.finish_reason, str(output)) == ("the fox, größer 🦊", "stop", output.text)
        assert output.prompt_tokens == len(llm.render(SAY).ids)
        assert output.completion_tokens == len(output.tokens) + 1
        assert "".join(delta.text for delta in llm.stream_chat(SAY)) == output.text
        assert llm.chat(SAY, stop=["größer"]).text == "the fox, "
        assert llm.chat(SAY, max_tokens=2).finish_reason == "length"
        assert llm.chat([*SAY, {"role": "assistant", "content": "x"}, *SAY]).text == output.text


def test_prompts_of_one_call_are_answered_in_order_and_as_if_alone(llm: LLM) -> None:
    prompts = [f"the fox {number}" for number in range(40)]
    together = llm.generate(prompts, seed=3, max_tokens=12)
    alone = [llm.generate(prompt, seed=3, max_tokens=12) for prompt in prompts]
    assert [output.text for output in together] == [output.text for output in alone]
    assert len({output.text for output in together}) > 5
    assert llm.generate([]) == []
    ids = llm.tokenizer.encode("the fox 0")
    assert llm.generate(ids, seed=3, max_tokens=12).text == alone[0].text  # type: ignore[call-overload]


def test_several_answers_to_one_prompt_differ_and_repeat(llm: LLM) -> None:
    params = llm.params(seed=1, max_tokens=20)
    ids = llm.encode("the fox")
    first = [generation.output().text for generation in llm.start(ids, params, 4)]
    again = [generation.output().text for generation in llm.start(ids, params, 4)]
    assert first == again and len(set(first)) > 2


def test_answers_of_one_seed_are_drawn_as_their_probabilities_say(llm: LLM) -> None:
    """A thousand answers to one prompt differ by their number alone: together they must be what chance gives."""
    params = llm.params(seed=5, max_tokens=1, top_k=12, temperature=3.0, ignore_eos=True)
    ids = llm.encode("the fox")
    tokens = [generation.output().tokens for generation in llm.start(ids, params, 1000)]
    batch = Batch(*(np.array(x, np.int32) for x in (ids[-1:], [len(ids) - 1], [0, 1], [1], [[0]], [0], [0])))
    logits = llm.engine.runner.step(batch)[0]
    counts = np.bincount([outs[0].token for outs in tokens], minlength=len(logits))
    assert counts.sum() == 1000 and chi_square(counts, exact(logits, params)) > 1e-3


def test_settings_of_the_model_give_way_to_those_of_the_request(folder: Path) -> None:
    with noise_llm(folder, defaults={"temperature": 0.0, "max_tokens": 5, "min_tokens": 4}) as llm:
        assert llm.params().greedy and llm.params().max_tokens == 5
        assert llm.params(max_tokens=2).min_tokens == 2
        assert llm.params(temperature=1.0).temperature == 1.0
        assert llm.generate("the fox").completion_tokens == 5
        assert llm.generate("the fox").text == llm.generate("the fox").text


def test_unknown_settings_are_refused(llm: LLM) -> None:
    with pytest.raises(InvalidSetting, match="temprature"):
        llm.generate("x", temprature=1)
    with pytest.raises(InvalidSetting, match="top_p"):
        llm.chat(SAY, top_p=3)


def test_json_under_a_schema_always_validates(llm: LLM) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}, "n": {"type": "integer"}},
              "required": ["name", "n"], "additionalProperties": False}  # fmt: skip
    grammar = ownlm.Grammar.json_schema(schema)
    outputs = [llm.chat(SAY, grammar=grammar, seed=seed, max_tokens=150) for seed in range(12)]
    whole = [output for output in outputs if output.finish_reason == "stop"]
    assert len(whole) > 3
    for output in whole:
        jsonschema.validate(json.loads(output.text), schema)
    cut = llm.chat(SAY, grammar=grammar, seed=1, max_tokens=3)
    assert cut.finish_reason == "length"
    assert llm.compile_grammar(grammar) is llm.compile_grammar(ownlm.Grammar.json_schema(schema))
    with pytest.raises(InvalidGrammar):
        llm.chat(SAY, grammar=ownlm.Grammar.regex("("))


def test_logprobs_and_those_of_the_prompt(llm: LLM) -> None:
    output = llm.generate("the fox and the dogs", max_tokens=4, logprobs=2, prompt_logprobs=1, ignore_eos=True)
    assert [len(out.top) for out in output.tokens] == [2] * 4
    assert output.prompt_logprobs is not None
    assert output.prompt_logprobs[0] is None and len(output.prompt_logprobs) == output.prompt_tokens
    scored = llm.generate("the fox and the dogs", max_tokens=0, prompt_logprobs=0)
    assert (scored.text, scored.finish_reason, scored.completion_tokens) == ("", "length", 0)
    assert scored.prompt_logprobs is not None and scored.prompt_logprobs[1] is not None
    assert scored.prompt_logprobs[1][0] == pytest.approx(output.prompt_logprobs[1][0])  # type: ignore[index]


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(llm: LLM) -> None:
    with pytest.raises(PromptTooLong, match=r"5000.*4096"):
        llm.generate([5] * 5000)  # type: ignore[arg-type]


def test_prompts_of_the_wrong_kind_are_refused(llm: LLM) -> None:
    for prompt in (7, None, [1.5], ["a", 2], {"a": 1}):
        with pytest.raises(InvalidSetting):
            llm.generate(prompt)  # type: ignore[call-overload]
    with pytest.raises(InvalidSetting):
        llm.chat("Hello")  # type: ignore[arg-type]


def test_an_empty_prompt_is_a_text_from_its_beginning(llm: LLM) -> None:
    assert llm.generate("", max_tokens=3).prompt_tokens == 1


def test_without_a_chat_template_there_is_no_chat(folder: Path) -> None:
    with noise_llm(folder, chat=False) as llm, pytest.raises(NotFound, match="chat template"):
        llm.chat(SAY)


def test_special_tokens_are_shown_where_asked(folder: Path) -> None:
    with noise_llm(folder, favour={"<|im_start|>": 100.0}) as llm:
        assert llm.generate("x", max_tokens=2, temperature=0).text == ""
        assert llm.generate("x", max_tokens=2, temperature=0, skip_special=False).text == "<|im_start|>" * 2


def test_a_stop_string_that_is_a_special_token_stops(folder: Path) -> None:
    with noise_llm(folder, favour={"<|im_start|>": 100.0}) as llm:
        output = llm.generate("x", max_tokens=9, temperature=0, stop=["zzz", "<|im_start|>"])
        assert (output.text, output.completion_tokens, output.finish_reason) == ("", 1, "stop")
        assert llm.generate("x", max_tokens=9, temperature=0, stop=["zzz"]).finish_reason == "length"


def test_many_threads_share_it(llm: LLM) -> None:
    expected = llm.generate("the fox", seed=1, max_tokens=15).text
    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda _: llm.generate("the fox", seed=1, max_tokens=15).text, range(64)))
    assert texts == [expected] * 64


def test_texts_become_vectors_of_length_1(llm: LLM) -> None:
    vectors = llm.embed(["a key", "a lost key", "bicycles"])
    assert vectors.shape[0] == 3
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_any_schema_and_any_company(llm: LLM) -> None:
    """Random schemas side by side, through the engine: each answer is its own schema's, and the same as alone."""
    asked = []
    for seed in range(60):
        schema = random_schema(random.Random(seed))
        try:
            asked.append((seed, schema, llm.compile_grammar(ownlm.Grammar.json_schema(schema))))
        except InvalidGrammar:
            continue

    def answer(item: tuple[int, Any, Any]) -> Any:
        return llm.chat(SAY, grammar=item[2], seed=item[0], max_tokens=120)

    with ThreadPoolExecutor(12) as pool:
        outputs = list(pool.map(answer, asked))
    whole = 0
    for (seed, schema, _), output in zip(asked, outputs, strict=True):
        if output.finish_reason == "stop":
            whole += 1
            jsonschema.validate(json.loads(output.text), schema, cls=jsonschema.Draft202012Validator)
        if seed % 10 == 0:
            assert answer(asked[[item[0] for item in asked].index(seed)]).text == output.text
    assert whole > 15


def test_one_that_is_dropped_frees_itself_but_not_before_its_answers(folder: Path) -> None:
    generation = noise_llm(folder).stream("the fox", max_tokens=30, ignore_eos=True)
    gc.collect()
    assert generation.output().completion_tokens == 30
    llm = noise_llm(folder)
    engine = llm.engine
    del llm
    gc.collect()
    with pytest.raises(EngineClosed):
        engine.submit([1])


def test_closing_ends_it(folder: Path) -> None:
    llm = noise_llm(folder)
    llm.close()
    with pytest.raises(EngineClosed):
        llm.generate("x")


@pytest.mark.parametrize(
    ("stated", "defaults", "remarks"),
    [
        ({}, {}, 0),
        ({"temperature": 0.6, "top_p": 0.9, "do_sample": True}, {"temperature": 0.6, "top_p": 0.9}, 0),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.0}, 0),
        ({"top_k": 20, "max_new_tokens": 9}, {"top_k": 20, "max_tokens": 9}, 0),
        ({"top_p": 7, "top_k": 3}, {"top_k": 3}, 1),
        ({"num_beams": 4, "no_repeat_ngram_size": 3, "typical_p": 1.0}, {}, 2),
        ({"eos_token_id": [1, 2], "transformers_version": "x", "_from_model_config": True}, {}, 0),
    ],
)  # fmt: skip
def test_generation_config_is_honoured_or_told(
    tmp_path: Path, stated: dict[str, Any], defaults: dict[str, Any], remarks: int
) -> None:
    (tmp_path / "generation_config.json").write_text(json.dumps(stated))
    found, told = folder_defaults(tmp_path)
    assert found == defaults and len(told) == remarks
    assert all(name in " ".join(told) for name in stated if remarks == 2 and name != "typical_p")


def test_a_damaged_generation_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(CorruptModel, match="generation_config"):
        folder_defaults(tmp_path)
    assert folder_defaults(tmp_path / "none") == ({}, [])


def test_a_gguf_files_wishes_are_honoured_or_told() -> None:
    stated = {"general.name": "x", "general.sampling.temp": float(np.float32(0.7)), "general.sampling.top_k": 20,
              "general.sampling.penalty_repeat": 1.0, "general.sampling.mirostat": 2}  # fmt: skip
    found, told = gguf_defaults(stated)
    assert found == {"temperature": 0.7, "top_k": 20, "repetition_penalty": 1.0}
    assert len(told) == 1 and "mirostat 2" in told[0]
    assert gguf_defaults({}) == ({}, [])
