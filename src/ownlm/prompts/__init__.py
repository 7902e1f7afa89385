"""What models are asked, word by word: each template has a version, which the ledger keeps."""

from __future__ import annotations

from ownlm.prompts.library import load, variants
from ownlm.prompts.template import Prompt, Shot

__all__ = ["Prompt", "Shot", "load", "variants"]
