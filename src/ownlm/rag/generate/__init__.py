"""Answers that a language model writes, held to the passages it was given. See ``answer``."""

from __future__ import annotations
