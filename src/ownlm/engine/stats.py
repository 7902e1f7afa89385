"""What an engine has done and what it holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self


@dataclass(slots=True, kw_only=True)
class Counters:
    """What was done since the start. Seconds are of the engine's thread: ``step_seconds`` are the model's own, of
    ``busy_seconds`` in all, so the rest is what scheduling, batches and sampling cost."""

    submitted: int = 0
    refused: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    preemptions: int = 0
    evictions: int = 0
    steps: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompts' tokens, found in the cache
    restored_tokens: int = 0  # of these, read from disk
    restore_seconds: float = 0.0
    stored_tokens: int = 0  # written to disk
    computed_tokens: int = 0
    generated_tokens: int = 0
    drafted_tokens: int = 0  # computed because they might come
    accepted_tokens: int = 0  # of those, the ones that came
    step_seconds: float = 0.0
    busy_seconds: float = 0.0
    audits: int = 0
    audit_failures: int = 0
    last_audit: str = ""  # what the last audit that failed found

    def copy(self) -> Self:
        return replace(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A moment: ``blocks_free + blocks_cached + blocks_used == blocks_total``. ``waiting`` counts future forks too."""

    running: int
    waiting: int
    context: int
    block_size: int
    blocks_total: int
    blocks_free: int
    blocks_cached: int
    blocks_used: int
    counters: Counters
