"""``runs/NAME/metrics.jsonl``: what happened in a run, a JSON object a line.

    {"run": {...}}                   facts, settings and forecast; again where the run was resumed
    {"step": 1, "loss": 8.3, ...}    every step
    {"end": {...}}                   the result, with how far off the forecast was

A number that is not finite is written as null. A line that a kill cut short is dropped when the file is next opened;
lines of steps that a resumed run does again are dropped too, so that no step stands there twice.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ownlm.errors import OwnLMError
from ownlm.files import atomic_write
from ownlm.train.hooks import Metrics
from ownlm.train.run_facts import RunFacts

NAME = "metrics.jsonl"


@dataclass(slots=True)
class History:
    """All that a file says. ``run`` is the latest; ``end`` is None while it goes on."""

    run: dict[str, Any] = field(default_factory=dict)
    steps: list[dict[str, Any]] = field(default_factory=list)
    end: dict[str, Any] | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """The next line."""
        if "step" in record:
            self.steps.append(dict(record))
        elif "run" in record:
            self.run, self.end = record["run"], None
        elif "end" in record:
            self.end = record["end"]


def read_history(path: Path) -> History:
    """What a file says. A last line without its end is passed over. Raises OwnLMError naming a broken line."""
    found = History()
    for record in _records(path):
        found.take(record)
    return found


class MetricsFile:
    """The hook that writes it. Raises OwnLMError when the disk is full."""

    def __init__(self) -> None:
        self.path = Path(NAME)

    def on_start(self, facts: RunFacts) -> None:
        self.path = facts.out / NAME
        kept = (
            [line for line in _records(self.path) if line.get("step", 0) <= facts.first_step]
            if facts.first_step
            else []
        )
        with atomic_write(self.path) as file:
            file.writelines(encoded(record) for record in kept if "end" not in record)
        self._write({"run": facts.to_json()})

    def on_step(self, metrics: Metrics) -> None:
        self._write(metrics)

    def on_end(self, result: Metrics) -> None:
        self._write({"end": dict(result)})

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            with self.path.open("ab") as file:  # opened anew: a kill between two steps loses nothing
                file.write(encoded(record))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OwnLMError(f"{self.path} cannot be written: {reason}; make room and resume the run") from error


def encoded(record: Mapping[str, Any]) -> bytes:
    r"""
    >>> encoded({"step": 1, "loss": float("nan")})
    b'{"step": 1, "loss": null}\n'
    """
    return json.dumps(finite(record), ensure_ascii=False, allow_nan=False, default=str).encode() + b"\n"


def finite(value: Any) -> Any:
    """The same with None for numbers that JSON cannot state."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return value


def _records(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    *lines, _torn = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict):
            raise OwnLMError(f"{path} line {number} is not a JSON object: mend it, or move the file away")
        found.append(record)
    return found
