"""Pairs of answers as the data of a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ownlm.files import atomic_write
from ownlm.model import checkpoint
from ownlm.tokenizer import ChatTemplate
from ownlm.train.batch import Row, collate
from ownlm.train.chat_data import check_held_out, split
from ownlm.train.chat_rows import TooLong
from ownlm.train.decoder import Decoder
from ownlm.train.dpo import log_probabilities
from ownlm.train.packing import PackedRows, Texts
from ownlm.train.precision import multiplying
from ownlm.train.preference_rows import Pairs, preference_rows
from ownlm.train.recipe import Opened

_TOKENS = 8192


@dataclass(frozen=True, slots=True)
class Preferences:
    """Files of pairs (see ``preference_rows``), packed into rows; ``valid`` and ``held_out`` as in ``Chats``.

    ``reference``: what the base model gives each answer is computed beforehand, once, in this precision, which should
    be the run's, and kept with the data. Adapters need no such thing: without them the model is its own reference.
    """

    files: tuple[Path, ...]
    valid: tuple[Path, ...] = ()
    held_out: float = 0.0
    too_long: TooLong = "refuse"
    reference: Literal["", "float32", "bfloat16"] = ""

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened:
        """See ``recipe.Data``. Raises InvalidData, and NotFound for a model without a chat template."""
        check_held_out(self.held_out, self.valid)
        template = ChatTemplate.load(tokenizer)
        pairs = [
            preference_rows(files, template, cache, length=length, too_long=self.too_long)
            for files in (self.files, self.valid)
            if files
        ]
        if self.reference:
            pairs = with_reference(pairs, tokenizer, length, cache, getattr(torch, self.reference))
        texts: Texts = pairs[0]
        kept: Texts | None = pairs[1] if self.valid else None
        if self.held_out:
            texts, kept = split(texts, self.held_out)
        return Opened(PackedRows(texts, length), PackedRows(kept, length) if kept is not None and len(kept) else None)


def with_reference(pairs: list[Pairs], model: Path, length: int, cache: Path, precision: torch.dtype) -> list[Pairs]:
    """The pairs with what the model gives each answer, computed now unless ``cache`` has it."""
    weights = checkpoint.load(model).fingerprint()
    found: list[Pairs] = []
    reader: Decoder | None = None
    for each in pairs:
        mark = hashlib.sha256(f"{weights} {each.examples.facts['fingerprint']} {precision}".encode()).hexdigest()
        path = cache / f"reference-{mark[:32]}.npy"
        if not path.is_file():
            reader = reader or _reader(model, length)
            with atomic_write(path) as file:
                np.save(file, measured(reader, each, precision), allow_pickle=False)
        found.append(replace(each, reference=np.load(path, allow_pickle=False)))
    return found


def measured(model: Decoder, pairs: Pairs, precision: torch.dtype = torch.float32) -> NDArray[np.float32]:
    """float32 [pairs, 2]: the logarithms of the probabilities of the chosen and the rejected answers."""
    found = []
    with torch.no_grad(), multiplying(model.device, precision):
        for rows in _portions(pairs):
            found.append(log_probabilities(model, collate(rows).to(model.device)).view(-1, 2).cpu().numpy())
    return np.concatenate(found)


def _portions(pairs: Pairs) -> Iterator[list[Row]]:
    rows: list[Row] = []
    size = 0
    for index, length in enumerate(pairs.lengths.tolist()):
        if rows and size + length > _TOKENS:
            yield rows
            rows, size = [], 0
        rows.append(pairs[index])
        size += length
    yield rows


def _reader(model: Path, length: int) -> Decoder:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Decoder.load(model, frozen=True, context=length).place(device)
