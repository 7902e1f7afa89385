"""Tokens to text: no character is broken, no stop string shown, whatever tokens a text comes in."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizer_kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ownlm.engine.engine import Engine
from ownlm.engine.generation import Generation, Output
from ownlm.engine.prefix_cache import Reuse
from ownlm.engine.request import FinishReason, TokenOut
from ownlm.engine.sampling_params import SamplingParams
from ownlm.errors import OwnLMError
from ownlm.model.batch import Batch
from ownlm.tokenizer import Tokenizer

TEXT = "the fox and the dogs, 12 größer ünd 漢字 🦊🦊 over\n\n    indented END of it. END"


class ScriptRunner:
    """A model that says one thing: its next token depends on the position alone."""

    blocks, block_size, max_positions = 64, 16, 1024

    def __init__(self, script: Sequence[int], vocab_size: int) -> None:
        self.script, self.vocab_size = script, vocab_size

    def step(self, batch: Batch) -> NDArray[np.float32]:
        logits = np.zeros((len(batch.rows), self.vocab_size), np.float32)
        for row, at in enumerate(batch.rows):
            position = int(batch.positions[at]) + 1
            logits[row, self.script[position] if position < len(self.script) else 0] = 9.0
        return logits

    block_bytes, cache_key = 0, ""

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None: ...

    def read_blocks(self, ids: Sequence[int]) -> NDArray[np.uint8]:
        return np.zeros((len(ids), 0), np.uint8)

    def write_blocks(self, ids: Sequence[int], data: NDArray[np.uint8]) -> None: ...


class FakeHandle:
    """The tokens that an engine would give."""

    prompt_tokens, cached_tokens, prompt_logprobs, reuse = 3, 1, None, Reuse()
    accepted_tokens = rejected_tokens = 0

    def __init__(self, outs: list[TokenOut], error: OwnLMError | None = None) -> None:
        self.outs, self.error = outs, error
        self.done = self.cancelled = False
        self.finish_reason: FinishReason | None = None

    def get(self) -> TokenOut | None:
        if not self.outs:
            self.done = True
            if self.error:
                raise self.error
            self.finish_reason = "cancelled"
            return None
        out = self.outs.pop(0)
        self.finish_reason, self.done = out.finish_reason, out.finish_reason is not None
        return out

    def poll(self) -> list[TokenOut]:
        out = None if self.done else self.get()
        return [] if out is None else [out]

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture(scope="module", params=["byte-level", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "byte-level":
        tokenizer_kinds.byte_level(folder)
    else:
        pytest.importorskip("sentencepiece")
        tokenizer_kinds.sentencepiece(folder, **tokenizer_kinds.SENTENCEPIECES["bpe"])
    return Tokenizer.load(folder)


def outs(ids: Sequence[int], reason: FinishReason | None = "length") -> list[TokenOut]:
    return [
        TokenOut(id_, None, [], reason if rank == len(ids) - 1 else None, 0) for rank, id_ in enumerate(ids)
    ]  # fmt: skip


def some_tokens(tokenizer: Tokenizer, text: str, chance: random.Random) -> list[int]:
    """The text in tokens as no tokenizer would cut it: any token that goes on with it may be next."""
    plain = [id_ for id_ in range(tokenizer.vocab_size) if id_ not in tokenizer.special_ids]
    data, ids = text.encode(), []
    by_first: dict[int, list[int]] = {}
    for id_ in plain:
        if found := tokenizer.token_bytes(id_):
            by_first.setdefault(found[0], []).append(id_)
    while data:
        fitting = [id_ for id_ in by_first.get(data[0], ()) if data.startswith(tokenizer.token_bytes(id_))]
        if not fitting:
            return []
        ids.append(chance.choice(fitting))
        data = data[len(tokenizer.token_bytes(ids[-1])) :]
    return ids


def answer(tokenizer: Tokenizer, tokens: list[TokenOut], **options: object) -> tuple[Output, list[str], FakeHandle]:
    handle = FakeHandle(tokens)
    generation = Generation(handle, tokenizer, [5], continues=True, **options)  # type: ignore[arg-type]
    pieces = [delta.text for delta in generation]
    return generation.output(), pieces, handle


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.lists(st.sampled_from(["END", "D o", "fox", "🦊🦊", "字 ", "\n\n ", "zzz", "E", "END!"]), max_size=3),
)
def test_any_tokens_of_a_text_give_the_same_answer(tokenizer: Tokenizer, seed: int, stops: list[str]) -> None:
    ids = some_tokens(tokenizer, TEXT, random.Random(seed))
    output, pieces, handle = answer(tokenizer, outs(ids), stop=stops)
    ends = sorted((TEXT.find(stop) + len(stop), TEXT.find(stop), stop) for stop in stops if stop in TEXT)
    expected = TEXT[: ends[0][1]] if ends else TEXT
    assert output.text == expected == "".join(pieces)
    assert output.finish_reason == ("stop" if ends else "length") and handle.cancelled == bool(ends)
    assert output.stop == (ends[0][2] if ends else None)
    assert output.completion_tokens >= len(output.tokens)
    assert all("\ufffd" not in piece for piece in pieces)
    if not ends:
        assert output.token_ids == ids and output.completion_tokens == len(ids)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_tokens_come_with_the_text_that_begins_in_them(tokenizer: Tokenizer, seed: int) -> None:
    ids = some_tokens(tokenizer, TEXT, random.Random(seed))
    generation = Generation(FakeHandle(outs(ids)), tokenizer, [5], continues=True, stop=["END"])  # type: ignore[arg-type]
    data = b""
    shown = ""
    for delta in generation:
        shown += delta.text
        for out in delta.tokens:
            assert len(data) < len(shown.encode())  # no token comes before its text
            data += tokenizer.token_bytes(out.token)
        assert data.startswith(shown.encode())  # nor after it
    assert shown == TEXT[: TEXT.index("END")]


def test_what_might_have_been_a_stop_string_is_shown_at_the_end(tokenizer: Tokenizer) -> None:
    ids = some_tokens(tokenizer, TEXT, random.Random(2))
    output, pieces, _ = answer(tokenizer, outs(ids), stop=["END!"])
    assert output.text == TEXT and pieces[-1].endswith("END") and output.token_ids == ids


def test_the_token_that_ends_a_text_is_none_of_it(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the fox", add_special=False)
    end = min(tokenizer.eos_ids)
    output, _, _ = answer(tokenizer, outs([*ids, end], "stop"), ends=tokenizer.eos_ids)
    assert output.text.strip() == "the fox" and output.token_ids == ids
    assert output.completion_tokens == len(ids) + 1
    plain, _, _ = answer(tokenizer, outs([*ids], "stop"), ends=tokenizer.eos_ids)  # a grammar that is complete
    assert plain.token_ids == ids


def test_a_character_that_never_becomes_whole_is_shown_as_such(tokenizer: Tokenizer) -> None:
    ids = some_tokens(tokenizer, "a🦊", random.Random(1))
    single = [id_ for id_ in ids if tokenizer.token_bytes(id_) != b"a"]
    if len(single) < 2:
        pytest.skip("the fox is one token here")
    output, _, _ = answer(tokenizer, outs(ids[:-1]))
    assert output.text.startswith("a") and output.text.endswith("\ufffd") and output.token_ids == ids[:-1]


def test_poll_gives_what_iteration_gives(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(TEXT, add_special=False)
    generation = Generation(FakeHandle(outs(ids)), tokenizer, [5], stop=["END"])  # type: ignore[arg-type]
    found = []
    while not generation.done:
        found += generation.poll()
    assert generation.poll() == []
    again = list(Generation(FakeHandle(outs(ids)), tokenizer, [5], stop=["END"]))  # type: ignore[arg-type]
    assert found == again


@pytest.mark.parametrize("way", ["iterate", "poll"])
def test_an_error_of_the_engine_reaches_the_caller(tokenizer: Tokenizer, way: str) -> None:
    handle = FakeHandle(outs(tokenizer.encode("the fox"), None), OwnLMError("broken"))
    generation = Generation(handle, tokenizer, [5])  # type: ignore[arg-type]
    with pytest.raises(OwnLMError, match="broken"):
        while True:
            if way == "iterate":
                list(generation)
            else:
                generation.poll()


def test_a_cancelled_answer_ends(tokenizer: Tokenizer) -> None:
    generation = Generation(FakeHandle([]), tokenizer, [5])  # type: ignore[arg-type]
    assert [delta.finish_reason for delta in generation] == ["cancelled"]


def test_from_a_real_engine_and_its_stop_frees_it(tokenizer: Tokenizer) -> None:
    prompt = tokenizer.encode("of", add_special=False)
    script = prompt + tokenizer.encode(TEXT, add_special=False)
    with Engine(ScriptRunner(script, tokenizer.vocab_size), eos_ids=tokenizer.eos_ids) as engine:
        params = SamplingParams(temperature=0, stop=["END"], logprobs=1)
        generation = Generation(engine.submit(prompt, params), tokenizer, prompt, stop=params.stop)
        text = "".join(delta.text for delta in generation)
        assert text.strip() == TEXT[: TEXT.index("END")].strip()
        assert all(out.logprob is not None for out in generation.output().tokens)
        for _ in range(200):
            if engine.stats().running == 0:
                break
            time.sleep(0.01)
        assert engine.stats().running == 0


def test_where_the_answer_begins_decides_on_its_first_space(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    tokenizer_kinds.sentencepiece(tmp_path, **tokenizer_kinds.SENTENCEPIECES["bpe"])
    tokenizer = Tokenizer.load(tmp_path)
    ids = tokenizer.encode("fox", add_special=False)
    assert tokenizer.bos_id is not None

    def text(prompt: list[int]) -> str:
        return Generation(FakeHandle(outs(ids)), tokenizer, prompt).output().text  # type: ignore[arg-type]

    assert text([tokenizer.bos_id]) == "fox"
    assert text([tokenizer.bos_id, ids[0]]) == " fox"
