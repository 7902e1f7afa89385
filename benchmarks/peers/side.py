"""How a peer's process talks to cpu_engine.py: one JSON command a line, one JSON answer a line. No import of ours.

A side is made from one JSON argument and has four methods, all greedy and all timed from inside:

    prompt(ids, sequences)   compute a prompt anew, for so many sequences from then on: seconds until its last logits
    extend(ids)              go on with a prompt of one sequence
    more(new)                so many tokens for each sequence: seconds of each step
    check(rows, times)       (seconds of steps of one token, of steps of ``rows`` tokens with the logits of each)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, Protocol


class Side(Protocol):
    def prompt(self, ids: list[int], sequences: int) -> float: ...
    def extend(self, ids: list[int]) -> None: ...
    def more(self, new: int) -> list[float]: ...
    def check(self, rows: int, times: int) -> tuple[list[float], list[float]]: ...


def serve(make: Callable[..., Side]) -> None:
    """Make the side and answer until standard input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is not an answer
    side: Any = make(**json.loads(sys.argv[1]))
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        found = getattr(side, command.pop("do"))(**command)
        print(json.dumps(found), file=answers, flush=True)
