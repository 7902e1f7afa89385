"""OwnLM: own your language model, and trust what it says about your documents."""

from __future__ import annotations

__version__ = "0.1.0"
