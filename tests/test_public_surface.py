"""What ``import ownlm`` promises. Adding a name is a decision; losing one breaks somebody."""

from __future__ import annotations

import ownlm


def test_public_names() -> None:
    assert sorted(ownlm.__all__) == [
        "Answer", "Citation", "Claim", "Document", "Embedder", "Grammar", "LLM", "Library", "OwnLMError", "Passage",
        "__version__",
    ]  # fmt: skip
    assert all(getattr(ownlm, name) is not None for name in ownlm.__all__)
    assert dir(ownlm) == sorted(ownlm.__all__)


def test_public_names_are_documented() -> None:
    assert all(getattr(ownlm, name).__doc__ for name in ownlm.__all__ if name != "__version__")
