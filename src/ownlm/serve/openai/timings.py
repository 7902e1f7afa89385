"""How long answers take: histograms in Prometheus' text format. Touched by the event loop alone, so without locks."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from ownlm.engine.generation import Generation

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_EACH = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_WHOLE = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Histogram:
    """Seconds, counted in ``buckets`` by their upper ends."""

    def __init__(self, name: str, help_: str, buckets: Sequence[float]) -> None:
        self.name, self.help = name, help_
        self._buckets = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._buckets, seconds)] += 1
        self._sum += seconds

    def lines(self) -> Iterator[str]:
        """As Prometheus reads it: each bucket counts the smaller ones too."""
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} histogram"
        total = 0
        for end, count in zip((*self._buckets, float("inf")), self._counts, strict=True):
            total += count
            yield f'{self.name}_bucket{{le="{"+Inf" if end == float("inf") else end}"}} {total}'
        yield f"{self.name}_sum {self._sum}"
        yield f"{self.name}_count {total}"


class Timings:
    """Of all answers of a server."""

    def __init__(self) -> None:
        self.first = Histogram(
            "ownlm_time_to_first_token_seconds", "From taking a request on to its first token", _FIRST
        )
        self.each = Histogram(
            "ownlm_time_per_output_token_seconds", "Between two tokens of an answer, on its average", _EACH
        )
        self.whole = Histogram("ownlm_answer_seconds", "From taking a request on to its answer's end", _WHOLE)

    def lines(self) -> Iterator[str]:
        """All of them."""
        for histogram in (self.first, self.each, self.whole):
            yield from histogram.lines()


class Watch:
    """One answer's clock. ``see`` it whenever something may have come."""

    def __init__(self, generation: Generation, timings: Timings) -> None:
        self._generation, self._timings = generation, timings
        self._begun = time.monotonic()
        self._first: float | None = None

    def see(self) -> None:
        """Look at the clock, if something came."""
        now, count = time.monotonic(), self._generation.completion_tokens
        if self._first is None and count:
            self._first = now
            self._timings.first.observe(now - self._begun)
        if not self._generation.done:
            return
        self._timings.whole.observe(now - self._begun)
        if self._first is not None and count > 1:
            self._timings.each.observe((now - self._first) / (count - 1))
