"""What the gate found: ``parity.json`` in a model's folder, NAME.parity.json by a GGUF file NAME.gguf."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ownlm.files import atomic_json
from ownlm.model.agreement import Agreement
from ownlm.model.beside import beside
from ownlm.publish.thresholds import Limits

FORMAT = "ownlm-parity-1"


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. ``detail`` says what was compared, or what differs; ``reference`` and ``candidate`` are hashes
    or values of both, where there is one of each."""

    name: str
    passed: bool
    detail: str
    reference: str | None = None
    candidate: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One step. ``reference`` and ``candidate`` name both models, ``*_ops`` the arithmetic of each, ``fingerprint`` the
    candidate's weights. ``agreement`` is that over ``text``; None where it could not be measured."""

    step: str
    reference: str
    reference_ops: str
    candidate: str
    candidate_ops: str
    fingerprint: str
    limits: Limits
    checks: tuple[Check, ...]
    text: str
    agreement: Agreement | None

    @property
    def faults(self) -> list[str]:
        """What broke, one line each; empty if the step may be published."""
        return [f"{check.name}: {check.detail}" for check in self.checks if not check.passed]

    def write(self, model: Path, before: Path | None = None) -> Path:
        """Beside a model's weights, behind the steps that made the model at ``before``."""
        path = beside(model, "parity")
        found = {"format": FORMAT, "steps": [*_history(before), _plain(asdict(self) | {"passed": not self.faults})]}
        atomic_json(path, found)
        return path


def read(model: Path) -> list[dict[str, Any]]:
    """The steps that a model's report tells of, the last one last; empty where there is none that can be read."""
    try:
        found = json.loads(beside(model, "parity").read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    steps = found.get("steps") if isinstance(found, dict) and found.get("format") == FORMAT else None
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []


def _history(before: Path | None) -> list[dict[str, Any]]:
    """Of the model that the step was given, if its report is of the weights that are there."""
    from ownlm.errors import OwnLMError
    from ownlm.model import checkpoint

    steps = [] if before is None else read(before)
    if not steps or before is None:
        return []
    try:
        same = steps[-1].get("fingerprint") == checkpoint.load(before, verify=False).fingerprint()
    except OwnLMError:
        return []
    return steps if same else []


def _plain(value: Any) -> Any:
    """JSON has no infinity: the words that Python would write are not JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
