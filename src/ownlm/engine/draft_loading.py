"""The small model of ``draft``: loaded beside the large one, if it has the same vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ownlm.engine.loaded import Loaded
from ownlm.errors import InvalidSetting
from ownlm.tokenizer import Tokenizer

if TYPE_CHECKING:
    from ownlm.hub import Progress


def load_draft(
    draft: str | Path, loaded: Loaded, *, ops: str, on_progress: Callable[[Progress], None] | None = None
) -> Loaded:
    """A model that drafts for ``loaded``, with a cache for as many tokens. Raises as ``LLM`` does, and InvalidSetting
    if it has another vocabulary."""
    from ownlm.engine.loading import load

    runner = loaded.runner
    found = load(
        draft, context=None, cache_tokens=runner.blocks * runner.block_size, ops=ops, on_progress=on_progress
    )  # fmt: skip
    check_vocabulary(draft, found.tokenizer, loaded.tokenizer)
    return found


def check_vocabulary(draft: str | Path, small: Tokenizer, large: Tokenizer) -> None:
    """Raise InvalidSetting unless each id is the same token to both: ids are what one tells the other."""
    ours, theirs = large.backend.get_vocab(), small.backend.get_vocab()
    if ours == theirs:
        return
    if len(ours) != len(theirs):
        difference = f"it has {len(theirs)} tokens, the model {len(ours)}"
    else:
        token, id_ = min(ours.items() - theirs.items(), key=lambda entry: entry[1])
        difference = f"its token {id_} is {small.token(id_)!r}, the model's {token!r}"
    raise InvalidSetting("draft", str(draft), f"{difference}: give a smaller model of the same family")
