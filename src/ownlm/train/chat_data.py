"""Conversations as the data of a recipe."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidData, InvalidSetting
from ownlm.tokenizer import ChatTemplate
from ownlm.train.batch import Row
from ownlm.train.chat_rows import TooLong, chat_rows
from ownlm.train.packing import PackedRows, Texts
from ownlm.train.recipe import Opened

_PARTS = 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the examples, by number."""

    examples: Texts
    numbers: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each."""
        return self.examples.lengths[self.numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Row:
        return self.examples[int(self.numbers[index])]


@dataclass(frozen=True, slots=True)
class Chats:
    """Files of conversations (see ``chat_rows``), packed into rows.

    ``valid`` are files to measure by; without them the share ``held_out`` of the conversations is kept back for that,
    chosen by what they say, so that equal ones are on the same side. ``full``: see ``PackedRows``.
    """

    files: tuple[Path, ...]
    valid: tuple[Path, ...] = ()
    held_out: float = 0.0
    too_long: TooLong = "refuse"
    full: bool = False

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened:
        """See ``recipe.Data``. Raises InvalidData, and NotFound for a model without a chat template."""
        check_held_out(self.held_out, self.valid)
        template = ChatTemplate.load(tokenizer)
        texts: Texts = chat_rows(self.files, template, cache, length=length, too_long=self.too_long)
        kept: Texts | None = None
        if self.valid:
            kept = chat_rows(self.valid, template, cache, length=length, too_long=self.too_long)
        elif self.held_out:
            texts, kept = split(texts, self.held_out)
        train = PackedRows(texts, length, full=self.full)
        return Opened(train, PackedRows(kept, length) if kept is not None and len(kept) else None)


def check_held_out(share: float, valid: tuple[Path, ...]) -> None:
    """Raise InvalidSetting for a share that is none, or one beside files to measure by."""
    if not 0 <= share < 1:
        raise InvalidSetting("held_out", share, "give a share from 0 to below 1")
    if share and valid:
        raise InvalidSetting("held_out", share, "files to measure by are given too: give one of the two")


def split(texts: Texts, share: float) -> tuple[Texts, Texts]:
    """What to learn from and what to measure by. Raises InvalidData where nothing is left to learn from."""
    marks = [
        int.from_bytes(hashlib.sha256(texts[number].ids.tobytes()).digest()[:2], "little")
        for number in range(len(texts))
    ]
    out = np.array(marks) < share * _PARTS
    if out.all():
        raise InvalidData(
            "the data", f"has {len(texts)} examples, all held out", "give more, or hold out a smaller share"
        )
    return Part(texts, np.flatnonzero(~out)), Part(texts, np.flatnonzero(out))
