"""What a language model consists of, once its files are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownlm.engine.runner import Runner
from ownlm.model.packed import Writing
from ownlm.tokenizer import ChatTemplate, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """``defaults`` are settings of ``SamplingParams`` that the model's files ask for; ``notes`` are for the user.

    ``fingerprint`` reads the weights' files where they carry no checksum: it is called when it is needed. ``path``: its
    folder or GGUF file, None for a model that has none. ``writing``: its packed weights, on their way to the disk.
    ``steps``: tokens that a step computes at most, and while anyone is being answered (``Engine``).
    """

    name: str
    runner: Runner
    tokenizer: Tokenizer
    chat_template: ChatTemplate | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    fingerprint: Callable[[], str] = str
    path: Path | None = None
    writing: Writing | None = None
    steps: tuple[int, int] = (512, 128)
