"""What may watch a training run. A hook never changes what is computed.

    on_start(facts)      once, before the first step (again when a run is resumed)
    on_step(metrics)     after every step
    on_end(result)       once, also when the run was stopped

``metrics``: "step" (1 after the first), "loss", "lr", "grad_norm", "tokens" (seen in all), "seconds" (of this step),
"tokens_per_second", "mfu", and further sums of the loss; on steps that measured also "valid_loss",
"valid_bits_per_byte", "sample". ``result``: "steps", "tokens", "seconds", "loss", "valid_bits_per_byte", "peak_memory",
"stopped" (None, or why before the end).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from ownlm.errors import MissingExtra
from ownlm.train.run_facts import RunFacts

Metrics = Mapping[str, Any]


class Hook(Protocol):
    """See above."""

    def on_start(self, facts: RunFacts) -> None: ...

    def on_step(self, metrics: Metrics) -> None: ...

    def on_end(self, result: Metrics) -> None: ...


class TensorBoard:
    """Event files under ``out/tensorboard``: `tensorboard --logdir runs`. Raises MissingExtra."""

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            raise MissingExtra("tensorboard", "tensorboard") from None
        self._open = SummaryWriter
        self._writer: Any = None

    def on_start(self, facts: RunFacts) -> None:
        purge = facts.first_step + 1 if facts.first_step else None
        self._writer = self._open(str(facts.out / "tensorboard"), purge_step=purge)
        self._writer.add_text("recipe", _markdown(facts.recipe), facts.first_step)

    def on_step(self, metrics: Metrics) -> None:
        for name, value in numbers(metrics):
            self._writer.add_scalar(
                f"{'valid' if name.startswith('valid_') else 'train'}/{name}", value, metrics["step"]
            )
        if metrics.get("sample"):
            self._writer.add_text("sample", str(metrics["sample"]), metrics["step"])

    def on_end(self, result: Metrics) -> None:
        self._writer.close()


class Trackio:
    """A run of a trackio project, kept on this machine: `trackio show`. Raises MissingExtra."""

    def __init__(self, project: str = "ownlm") -> None:
        try:
            import trackio
        except ModuleNotFoundError:
            raise MissingExtra("trackio", "trackio") from None
        self._trackio, self.project = trackio, project
        self._run: Any = None

    def on_start(self, facts: RunFacts) -> None:
        self._run = self._trackio.init(
            project=self.project,
            name=facts.name,
            config=dict(flat(facts.recipe)),
            resume="allow" if facts.first_step else "never",
            embed=False,
        )

    def on_step(self, metrics: Metrics) -> None:
        self._run.log(dict(numbers(metrics)), step=metrics["step"])

    def on_end(self, result: Metrics) -> None:
        self._run.log({f"final_{name}": value for name, value in numbers(result)})
        self._run.finish()


def numbers(metrics: Metrics) -> Iterator[tuple[str, float]]:
    """What can be plotted: finite numbers but the step itself."""
    for name, value in metrics.items():
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if name != "step" and plain and math.isfinite(value):
            yield name, float(value)


def flat(settings: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """
    >>> dict(flat({"seed": 1, "model": {"depth": 4, "layers": [1, 2]}}))
    {'seed': 1, 'model.depth': 4, 'model.layers': [1, 2]}
    """
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def _markdown(settings: Mapping[str, Any]) -> str:
    return "\n".join(
        ["| setting | value |", "|---|---|", *(f"| {name} | `{value}` |" for name, value in flat(settings))]
    )
