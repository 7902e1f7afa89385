"""The sides of cpu_engine.py: ours in this process, each peer in one of its own, all with the same three methods.

prompt(ids, sequences)   seconds until the first token (ours) or the last logits (theirs) of a prompt that is new
more(new)                tokens a second of so many tokens for each sequence, behind that prompt
check(rows, times)       (seconds of steps of one token, of steps of ``rows`` tokens with the logits of each)
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ownlm.engine.llm import LLM
from ownlm.engine.loading import load
from ownlm.fit.traffic import Traffic, traffic
from ownlm.fit.workload import Steps, answer
from random_gguf import write_random
from shapes import SHAPES, Shape

PEERS = Path(__file__).with_name("peers")


class Side(Protocol):
    """See the module."""

    def prompt(self, ids: list[int], sequences: int = 1) -> float: ...
    def extend(self, ids: list[int]) -> None: ...
    def more(self, new: int) -> float: ...
    def check(self, rows: int, times: int) -> tuple[list[float], list[float]]: ...
    def close(self) -> None: ...


class Ours:
    """The model as ``ownlm.LLM`` loads it, asked as a user asks it; drafts are off, so that every token is computed."""

    def __init__(self, model: Path, context: int, tokens: int, **settings: Any) -> None:
        self.loaded = load(model, context=context, cache_tokens=tokens, ops="native", on_progress=None, **settings)
        runner: Any = self.loaded.runner
        self.traffic: Traffic = traffic(runner.params, 0, runner.block_bytes // runner.block_size)
        self.plan = runner._step.__self__
        self.llm: LLM | None = None
        self._ids: list[int] = []
        self._sequences = 1

    def prompt(self, ids: list[int], sequences: int = 1) -> float:
        self._ids, self._sequences = ids, sequences
        first: float = answer(self._model(), ids, 1).first
        return first

    def extend(self, ids: list[int]) -> None:
        self._ids = self._ids + ids
        answer(self._model(), self._ids, 1)

    def more(self, new: int) -> float:
        rate: float = answer(self._model(), self._ids, new, self._sequences).rate
        return rate

    def check(self, rows: int, times: int) -> tuple[list[float], list[float]]:
        if self.llm is not None:
            raise RuntimeError("steps are timed before an engine has the runner")
        steps = Steps(self.loaded.runner, len(self._ids))
        ones, many = [], []
        for _ in range(times):
            ones.append(steps.seconds(1))
            many.append(steps.seconds(rows))
        return ones, many

    def hold(self, ids: list[int]) -> None:
        """What ``check`` is to be behind."""
        self._ids = ids

    def outside(self, new: int) -> float:
        """The share of a decoded token's time in which no step of the plan runs."""
        answer(self._model(), self._ids, 1)  # the prompt is in the cache now
        self.plan.measure()
        timed = answer(self._model(), self._ids, new)
        inside = sum(seconds for _, seconds in self.plan.seconds())
        self.plan.measure(False)
        return 1 - inside / (timed.first + new / timed.rate)

    def close(self) -> None:
        if self.llm is not None:
            self.llm.close()
        self.llm = self.loaded = None  # type: ignore[assignment]
        self.plan = None
        gc.collect()

    def _model(self) -> LLM:
        if self.llm is None:
            self.llm = LLM.of(self.loaded, speculate="off")
        return self.llm


class Peer:
    """A process that runs a script of ``peers`` with a Python which has the peer."""

    def __init__(self, python: str, script: str, settings: dict[str, Any]) -> None:
        self.name = script
        command = [python, str(PEERS / script), json.dumps(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()
        self._sequences = 1

    def prompt(self, ids: list[int], sequences: int = 1) -> float:
        self._sequences = sequences
        return float(self._ask(do="prompt", ids=ids, sequences=sequences))

    def extend(self, ids: list[int]) -> None:
        self._ask(do="extend", ids=ids)

    def more(self, new: int) -> float:
        return self._sequences * new / sum(self._ask(do="more", new=new))

    def check(self, rows: int, times: int) -> tuple[list[float], list[float]]:
        ones, many = self._ask(do="check", rows=rows, times=times)
        return ones, many

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _ask(self, **command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended: see above")
        return json.loads(line)


@dataclass(frozen=True)
class Kind:
    """One side by its name. ``variable`` names the Python that has it, "" for ours; ``streams``: whether it can answer
    several times to one prompt. ``weights`` and ``head``: bits of a weight; ``cached``: bytes of a cached number."""

    name: str
    variable: str = ""
    script: str = ""
    folder: str = ""
    streams: bool = True
    weights: float = 4.5
    head: float = 8.5
    cached: float = 2.0
    deep_cached: float = 34 / 32
    settings: tuple[tuple[str, Any], ...] = ()
    deep: tuple[tuple[str, Any], ...] = ()

    @property
    def python(self) -> str:
        """Its Python; "" if the variable is not set."""
        return os.environ.get(self.variable, "")

    def bytes(self, shape: Shape, depth: int = 0, deep: bool = False) -> float:
        """What a token reads, in bytes, by the formats."""
        weights = (shape.matrices * self.weights + shape.vocabulary * shape.hidden * self.head) / 8
        return weights + depth * shape.cached_values * (self.deep_cached if deep else self.cached)


KINDS = (
    Kind("ownlm", head=4.5, settings=(("head", "rescored"),), deep=(("kv_format", "int8"),)),
    Kind("ownlm, exact head", settings=(("head", "exact"),), deep=(("kv_format", "int8"),)),
    Kind("llama.cpp", "OWNLM_LLAMA_CPP", "llama_cpp_side.py", deep_cached=2.0),
    Kind("onnxruntime-genai", "OWNLM_ONNXRUNTIME", "onnxruntime_side.py", "onnxruntime/{}", streams=False,
         weights=5.0, head=9.0, cached=4.0, deep_cached=4.0),
    Kind("openvino, groups of 32", "OWNLM_OPENVINO", "openvino_side.py", "openvino/{}/32", head=8.0, cached=1.0,
         deep_cached=1.0, settings=(("dynamic", 32),)),
    Kind("openvino", "OWNLM_OPENVINO", "openvino_side.py", "openvino/{}/128", weights=4.125, head=8.0, cached=1.0,
         deep_cached=1.0, settings=(("dynamic", 128),)),
)  # fmt: skip


def open_side(
    kind: Kind, name: str, folder: Path, *, threads: int, context: int, sequences: int = 1, deep: bool = False,
    all_rows: bool = False,
) -> Ours | Peer:  # fmt: skip
    """A side with a model of the shape ``name`` below ``folder``, which is made there first if it is not there."""
    settings: dict[str, Any] = dict(kind.settings) | (dict(kind.deep) if deep else {})
    gguf = folder / f"{name}.gguf"
    if not gguf.exists():
        write_random(gguf, SHAPES[name])
    if not kind.variable:
        return Ours(gguf, context, context * 2 + sequences * 128, **settings)
    settings |= {"model": str(gguf), "threads": threads, "context": context}
    if kind.folder:
        model = folder / kind.folder.format(name)
        whole = folder / kind.folder.split("/")[0] / name
        if not whole.exists():
            builder = str(PEERS / f"build_{kind.folder.split('/')[0]}.py")
            subprocess.run([kind.python, builder, name, str(whole)], check=True, stdout=sys.stderr)
        settings |= {"model": str(model), "all_rows": all_rows}
    else:
        settings |= {"sequences": sequences}
    return Peer(kind.python, kind.script, settings)


def random_ids(shape: Shape, count: int, chance: np.random.Generator) -> list[int]:
    """A prompt that no cache knows."""
    found: list[int] = chance.integers(300, min(20000, shape.vocabulary - 300), count).tolist()
    return found
