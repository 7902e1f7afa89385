"""Models without weights behind a real engine and a real, small tokenizer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizer_kinds
from numpy.typing import NDArray

from ownlm.engine.llm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.model.batch import Batch
from ownlm.tokenizer import ChatTemplate, Tokenizer

CHATML = (
    "{%- if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class NoiseRunner:
    """Logits that depend on the token and its position, and on nothing else. ``favour``: added by id."""

    def __init__(self, vocab_size: int, *, context: int = 4096, favour: Mapping[int, float] | None = None) -> None:
        self.blocks, self.block_size, self.max_positions, self.vocab_size = 4 * context // 16, 16, context, vocab_size
        self._favour = np.zeros(vocab_size, np.float32)
        for id_, value in (favour or {}).items():
            self._favour[id_] = value

    def step(self, batch: Batch) -> NDArray[np.float32]:
        rows = [(int(batch.ids[row]), int(batch.positions[row])) for row in batch.rows]
        found = [np.random.default_rng(row).normal(0, 3, self.vocab_size).astype(np.float32) for row in rows]
        return np.stack(found) + self._favour if found else np.zeros((0, self.vocab_size), np.float32)

    block_bytes, cache_key = 0, ""

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None: ...

    def read_blocks(self, ids: Sequence[int]) -> NDArray[np.uint8]:
        return np.zeros((len(ids), 0), np.uint8)

    def write_blocks(self, ids: Sequence[int], data: NDArray[np.uint8]) -> None: ...


class EchoRunner(NoiseRunner):
    """Says one text, token by token, after any prompt that ends with ``after``; waits at ``gate`` before each step."""

    def __init__(self, vocab_size: int, says: Sequence[int], after: int) -> None:
        super().__init__(vocab_size)
        self.says, self.after = list(says), after
        self.gate = threading.Event()
        self.gate.set()
        self._starts: dict[int, int] = {}

    def step(self, batch: Batch) -> NDArray[np.float32]:
        self.gate.wait(10)
        logits = np.zeros((len(batch.rows), self.vocab_size), np.float32)
        for sequence in range(len(batch.lengths)):
            rows = range(batch.cu_seqlens[sequence], batch.cu_seqlens[sequence + 1])
            block = int(batch.block_tables[sequence][0])
            for row in rows:
                if batch.ids[row] == self.after:
                    self._starts[block] = int(batch.positions[row])
                wanted = np.flatnonzero(batch.rows == row)
                said = int(batch.positions[row]) - self._starts.get(block, 0)
                if len(wanted):
                    logits[wanted[0], self.says[said] if 0 <= said < len(self.says) else self.says[-1]] = 20.0
        return logits


class AnswerRunner(NoiseRunner):
    """Answers a conversation by a function of its text; remembers tokens by their place in the cache, as models do."""

    def __init__(self, tokens: Tokenizer, answer: Callable[[str], str], context: int) -> None:
        super().__init__(tokens.vocab_size, context=context)
        self._tokens, self._answer = tokens, answer
        self._cache = np.zeros((self.blocks, self.block_size), np.int64)
        self._begin = tokens.encode("<|im_start|>assistant\n")
        self._end = tokens.id_of("<|im_end|>")

    def step(self, batch: Batch) -> NDArray[np.float32]:
        logits = np.zeros((len(batch.rows), self.vocab_size), np.float32)
        places = {int(row): at for at, row in enumerate(batch.rows)}
        for sequence in range(len(batch.lengths)):
            table = batch.block_tables[sequence]
            for row in range(batch.cu_seqlens[sequence], batch.cu_seqlens[sequence + 1]):
                position = int(batch.positions[row])
                self._cache[table[position // self.block_size], position % self.block_size] = batch.ids[row]
                if row in places:
                    used = table[: position // self.block_size + 1]
                    logits[places[row], self._next(self._cache[used].ravel()[: position + 1].tolist())] = 20.0
        return logits

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        for source, target in pairs:
            self._cache[target] = self._cache[source]

    @property
    def block_bytes(self) -> int:  # type: ignore[override]
        return self._cache[0].nbytes

    def read_blocks(self, ids: Sequence[int]) -> NDArray[np.uint8]:
        return self._cache[list(ids)].view(np.uint8)

    def write_blocks(self, ids: Sequence[int], data: NDArray[np.uint8]) -> None:
        self._cache[list(ids)] = data.view(np.int64)

    def _next(self, ids: list[int]) -> int:
        length = len(self._begin)
        starts = [at for at in range(length, len(ids) + 1) if ids[at - length : at] == self._begin]
        if not starts:
            return ids[-1]
        said = [*self._tokens.encode(self._answer(self._tokens.decode(ids[: starts[-1]]))), self._end]
        at = len(ids) - starts[-1]
        return said[min(at, len(said) - 1)]


def answer_llm(
    folder: Path, answer: Callable[[str], str], *, context: int = 1024, store: Path | None = None, **loaded: Any
) -> LLM:
    """A model that answers any conversation with ``answer`` of its text."""
    tokens = tokenizer(folder)
    runner = AnswerRunner(tokens, answer, context)
    runner.cache_key = "answers"
    template = ChatTemplate(CHATML, tokens)
    return LLM.of(
        Loaded(name="answers", runner=runner, tokenizer=tokens, chat_template=template, **loaded), store=store
    )


def tokenizer(folder: Path) -> Tokenizer:
    """Byte-level, with ChatML's control tokens."""
    if not (folder / "tokenizer.json").exists():
        tokenizer_kinds.byte_level(folder)
    return Tokenizer.load(folder)


def noise_llm(folder: Path, *, chat: bool = True, favour: Mapping[str, float] | None = None, **loaded: Any) -> LLM:
    """A model that writes noise; ``favour``: what is added to the logits of tokens by their text."""
    tokens = tokenizer(folder)
    by_id = {id_: value for text, value in (favour or {}).items() if (id_ := tokens.id_of(text)) is not None}
    runner = NoiseRunner(tokens.vocab_size + 3, favour=by_id)
    template = ChatTemplate(CHATML, tokens) if chat else None
    return LLM.of(Loaded(name="noise", runner=runner, tokenizer=tokens, chat_template=template, **loaded))


def echo_llm(folder: Path, says: str) -> tuple[LLM, EchoRunner]:
    """A model that answers any conversation with one text."""
    tokens = tokenizer(folder)
    end = tokens.id_of("<|im_end|>")
    assert end is not None
    *_, after = tokens.encode("<|im_start|>assistant\n")
    runner = EchoRunner(tokens.vocab_size, [*tokens.encode(says), end], after)
    return LLM.of(
        Loaded(name="echo", runner=runner, tokenizer=tokens, chat_template=ChatTemplate(CHATML, tokens))
    ), runner  # fmt: skip
