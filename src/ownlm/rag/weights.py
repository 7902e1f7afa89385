"""The numbers that scores are made with: fitted by ``recipes/rag_weights.py``, kept in ``weights.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any

from ownlm.rag.features import ABSTAIN, PASSAGE, SENTENCE

FILE = "weights.json"


@dataclass(frozen=True, slots=True)
class Weights:
    """``columns`` are BM25's weights of title, headings and text; ``passage``, ``sentence`` and ``abstain`` follow
    the names in ``features``. ``bias`` belongs to ``abstain``; ``threshold`` is the confidence below which an
    answer abstains; ``gap`` is how far below the best sentence's score another may be quoted.
    """

    columns: tuple[float, float, float]
    passage: tuple[float, ...]
    sentence: tuple[float, ...]
    abstain: tuple[float, ...]
    bias: float
    threshold: float
    gap: float

    def to_dict(self) -> dict[str, Any]:
        """By name, so that the file can be read."""
        named = asdict(self)
        named["passage"] = dict(zip(PASSAGE, self.passage, strict=True))
        named["sentence"] = dict(zip(SENTENCE, self.sentence, strict=True))
        named["abstain"] = dict(zip(ABSTAIN, self.abstain, strict=True))
        return named

    @classmethod
    def from_dict(cls, named: dict[str, Any]) -> Weights:
        """The inverse of ``to_dict``; a name that is missing raises KeyError."""
        title, heading, text = named["columns"]
        return cls(
            (title, heading, text),
            tuple(named["passage"][name] for name in PASSAGE),
            tuple(named["sentence"][name] for name in SENTENCE),
            tuple(named["abstain"][name] for name in ABSTAIN),
            named["bias"],
            named["threshold"],
            named["gap"],
        )


@cache
def shipped() -> Weights:
    """The weights that ship."""
    return Weights.from_dict(json.loads(resources.files(__package__).joinpath(FILE).read_text("utf-8")))
