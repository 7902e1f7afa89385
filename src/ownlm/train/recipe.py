"""A training run's settings, typed: a recipe is a Python function that returns one, so that a typo is a type error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ownlm.train.hooks import flat
from ownlm.train.losses import Loss, cross_entropy
from ownlm.train.optim import OptimizerSettings
from ownlm.train.rows import Rows, TokenRows
from ownlm.train.schedule import Schedule

if TYPE_CHECKING:
    from ownlm.train.decoder import Decoder

Precision = Literal["auto", "float32", "bfloat16"]
MAY_CHANGE = ("name", "schedule.steps", "schedule.minutes", "save_every", "measure_every", "measured_rows", "keep")
"""Settings that a resumed run may change."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """A new model: ``config`` is its config.json, ``tokenizer`` the folder whose tokenizer files it takes."""

    config: Mapping[str, Any]
    tokenizer: Path


@dataclass(frozen=True, slots=True)
class Base:
    """A model to go on from. ``frozen`` keeps its weights as they are stored: for adapters."""

    path: Path
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """Data at hand: rows to learn from and, where there are such, to measure by; of the latter, ``tokens_per_byte``
    and in ``measured_on`` a name that no other text has."""

    train: Rows
    valid: Rows | None = None
    tokens_per_byte: float | None = None
    measured_on: str | None = None


class Data(Protocol):
    """Settings of data; ``tokenizer`` is the model's folder, ``cache`` a folder that the run owns."""

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened: ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token shards (``ownlm data build``)."""

    folder: Path

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened:
        """See ``Data``."""
        train = TokenRows(self.folder, "train", length)
        manifest = train.manifest
        if not manifest.tokens("valid") > length:
            return Opened(train)
        ratio = manifest.tokens("valid") / max(1, manifest.bytes("valid"))
        measured_on = " ".join(shard.sha256 for shard in manifest.splits["valid"])
        return Opened(train, TokenRows(self.folder, "valid", length), ratio, measured_on)


class Tuning(Protocol):
    """What is trained of a base, and what is written of it: adapters have their own."""

    def apply(self, model: Decoder) -> None:
        """Before the optimizer is made."""

    def write(self, model: Decoder, folder: Path) -> None:
        """At the end, into the run's ``model`` folder, which holds config and tokenizer already."""


class Quantization(Protocol):
    """Quantization-aware training for the last ``share`` of a run."""

    @property
    def share(self) -> float: ...

    def apply(self, model: Decoder) -> None:
        """From now on weights are rounded at every use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """``batch`` rows of ``length`` tokens are a step; ``micro`` rows are computed together (0: what is fast here).

    ``average``: the share that the moving average of the weights keeps each step; what is measured and written is the
    average. ``save_every``, ``measure_every`` in steps (0: at the end alone); ``keep`` so many checkpoints.
    """

    name: str
    model: Fresh | Base
    data: Data
    optimizer: OptimizerSettings
    schedule: Schedule
    batch: int
    length: int
    micro: int = 0
    loss: Loss = cross_entropy
    tuning: Tuning | None = None
    quantization: Quantization | None = None
    average: float | None = None
    precision: Precision = "auto"
    recompute: bool = False
    compile: bool = False
    threads: int | None = None
    seed: int = 0
    save_every: int = 200
    measure_every: int = 200
    measured_rows: int = 64
    keep: int = 2
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokenizer(self) -> Path:
        """The folder with the files that stand beside the weights: the tokenizer's, templates, settings."""
        return self.model.path if isinstance(self.model, Base) else self.model.tokenizer

    def to_json(self) -> dict[str, Any]:
        """Every setting as JSON; a function by its name."""
        found: dict[str, Any] = plain(self)
        return found

    def changes(self, other: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
        """The settings in which a run of ``other`` (JSON) could not go on: (there, here)."""
        there, here = dict(flat(other)), dict(flat(self.to_json()))
        return {
            name: (there.get(name), here.get(name))
            for name in there.keys() | here.keys()
            if there.get(name) != here.get(name) and name not in MAY_CHANGE
        }


def plain(value: Any) -> Any:
    """Settings as JSON values.

    >>> plain(Schedule(steps=3))["steps"]
    3
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **items}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Callable):  # type: ignore[arg-type]
        return f"{value.__module__}.{value.__qualname__}"
    return value
