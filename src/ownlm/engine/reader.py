"""Which sentences of a passage answer a question, read together by a small cross-encoder.

[CLS] question [SEP] title, newline, sentences [SEP]  ──>  encoder  ──>  a score a sentence, and one for "none of them"

A sentence's score is a linear function of the mean of its tokens' last states, "none" of the state of [CLS]; softmax
over both was trained to put its weight on what answers (``recipes/reader.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm import hub
from ownlm.engine.batching import micro_batches
from ownlm.errors import CorruptModel
from ownlm.model import checkpoint
from ownlm.model import ops as sides
from ownlm.model.config import BertConfig, read_json
from ownlm.model.encoder import encode
from ownlm.model.families import encoder_params
from ownlm.model.ops.base import Ops
from ownlm.model.params import EncoderParams
from ownlm.model.safetensors import Tensor
from ownlm.tokenizer import Tokenizer

MODEL = "reader-MiniLM-L6-q8_0"
QUESTION = 64
"""Wordpieces of a question that are read; as in training."""
TABLE = "embeddings.word_embeddings.weight"
HEADS = ("sentence", "nothing")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """A passage as the reader sees it: a title (or headings; may be empty), a text, and its sentences' spans in it."""

    title: str
    text: str
    spans: tuple[Span, ...]


class Reader:
    """A reader with its tokenizer. Any number of threads may call it; what else is asked changes no score."""

    def __init__(
        self,
        config: BertConfig,
        params: EncoderParams,
        heads: NDArray[np.float32],
        tokenizer: Tokenizer,
        side: Ops,
        *,
        name: str,
        fingerprint: str,
    ) -> None:
        """``heads`` float32 [2, hidden + 1]: weights and bias for a sentence, and for "none of them"."""
        self.name = name
        self.fingerprint = fingerprint
        self._config = config
        self._heads = heads
        self._tokenizer = tokenizer
        self._ops = side
        self._params = side.prepare(params)
        self._before, self._between = _marks(tokenizer)

    @classmethod
    def load(cls, model: str | Path | None = None, ops: str = "native") -> Reader:
        """Load a reader: None is the one that ships. It may share its word embeddings with another model that ships.

        Raises NotFound, CorruptModel, UnsupportedModel, MissingExtra or InvalidSetting.
        """
        side = sides.load(ops)
        folder = hub.resolve(MODEL if model is None else model)
        if (folder / hub.SUMS).is_file():
            hub.verify(folder, leave_out=(checkpoint.SINGLE, "README.md", "NOTICE", "LICENSE"))
        config = BertConfig.load(folder)
        weights = checkpoint.load(folder)
        tensors = dict(weights.tensors)
        heads = _heads(folder, tensors, config.hidden_size)
        shared = read_json(folder / "config.json").get("word_embeddings_of")
        home = folder if shared is None else hub.shipped_folder(_shipped(folder, shared))
        if shared is not None:
            tensors[TABLE] = checkpoint.load(home).tensors[TABLE]
        params = encoder_params(config, tensors)
        tokenizer = Tokenizer.load(home)
        return cls(
            config, params, heads, tokenizer, side, name=folder.resolve().name, fingerprint=weights.fingerprint()
        )

    def read(self, question: str, passages: Sequence[Shown]) -> list[NDArray[np.float32]]:
        """For each passage float32 [sentences]: a sentence's score less that of "none of them".

        Above 0 the sentence rather answers than not. A passage is read as far as there are positions (512); sentences
        beyond score as "none": chunks are far shorter.
        """
        asked = self._tokenizer.encode(question, add_special=False, parse_special=False)[:QUESTION]
        head = [*self._before, *asked, *self._between]
        rows = [self._row(head, passage) for passage in passages]
        found: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(rows)
        for batch in micro_batches([len(ids) for ids, _ in rows]):
            states = self._states([rows[index][0] for index in batch], len(head))
            for index, own in zip(batch, states, strict=True):
                found[index] = self._scores(own, rows[index][1])
        return found

    def scores(self, ids: Sequence[int], question: int, spans: Sequence[Span]) -> NDArray[np.float32]:
        """``read`` of one passage that is ids already, the first ``question`` of them the question's; spans of ids."""
        return self._scores(self._states([ids], question)[0], spans)

    def _states(self, rows: Sequence[Sequence[int]], question: int) -> list[NDArray[np.float32]]:
        """The last states of each row; the first ``question`` ids of each are of type 0."""
        ids = np.fromiter(itertools.chain.from_iterable(rows), np.int32)
        cu_seqlens = np.zeros(len(rows) + 1, np.int32)
        np.cumsum([len(row) for row in rows], out=cu_seqlens[1:])
        types = np.ones_like(ids)
        for start in cu_seqlens[:-1]:
            types[start : start + question] = 0
        states = self._ops.numpy(encode(self._ops, self._config, self._params, ids, cu_seqlens, types))
        return [states[start:end] for start, end in itertools.pairwise(cu_seqlens)]

    def _row(self, head: list[int], passage: Shown) -> tuple[list[int], list[Span]]:
        """The ids, and for each sentence the range of ids that it is."""
        if not passage.spans:
            return [*head, *self._between], []
        start, end = passage.spans[0][0], passage.spans[-1][1]
        before = f"{passage.title}\n" if passage.title else ""
        ids, offsets = self._tokenizer.encode_with_offsets(before + passage.text[start:end])
        room = self._config.max_position_embeddings - len(head) - len(self._between)
        ids, offsets = ids[:room], offsets[:room]
        begins, ends = np.array([a for a, _ in offsets]), np.array([b for _, b in offsets])
        shift = len(before) - start
        spans = [
            (
                len(head) + int(np.searchsorted(ends, a + shift, "right")),
                len(head) + int(np.searchsorted(begins, b + shift, "left")),
            )
            for a, b in passage.spans
        ]
        return [*head, *ids, *self._between], spans

    def _scores(self, states: NDArray[np.float32], spans: Sequence[Span]) -> NDArray[np.float32]:
        sentence, nothing = self._heads
        none = float(states[0] @ nothing[:-1] + nothing[-1])
        scores = [float(states[a:b].mean(axis=0) @ sentence[:-1] + sentence[-1]) if a < b else none for a, b in spans]
        return np.array(scores, np.float32) - np.float32(none)


def _marks(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What goes before a question, and what ends it and a passage."""
    ids = tokenizer.encode("", parse_special=False)
    return ids[:1], ids[1:]


def _shipped(folder: Path, name: object) -> str:
    if not isinstance(name, str) or name not in hub.shipped():
        raise CorruptModel(f"{folder / 'config.json'}: word_embeddings_of is {name!r}, no model that ships")
    return name


def _heads(folder: Path, tensors: dict[str, Tensor], hidden: int) -> NDArray[np.float32]:
    """Takes the heads out of the tensors."""
    rows = []
    for head in HEADS:
        weight, bias = (tensors.pop(f"{head}.{part}", None) for part in ("weight", "bias"))
        if weight is None or bias is None or weight.shape != (1, hidden) or bias.shape != (1,):
            raise CorruptModel(
                f"{folder}: the tensors {head}.weight and .bias are missing, or not [1, {hidden}] and [1]"
            )
        rows.append(np.concatenate([weight.float32()[0], bias.float32()]))
    return np.stack(rows)
