"""A model measured on this machine: load, first token, prefill, decode, several answers at a time, memory, energy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm import hub
from ownlm.engine.llm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.engine.loading import load
from ownlm.engine.runner import Runner
from ownlm.errors import InvalidSetting
from ownlm.fit.cost import Prices
from ownlm.fit.energy import Meter
from ownlm.fit.figures import Figure, Memory, Report, limit
from ownlm.fit.traffic import Traffic, resident, traffic
from ownlm.fit.workload import Steps, answer, random_prompt
from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.native import machine

DEEP = 8192
_SPARE = 32  # tokens beside a prompt and its answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """``rounds`` of: a prompt of ``prompt`` tokens, ``new`` tokens after it, as many after a text of ``depth`` tokens,
    ``streams`` answers to one prompt, and ``rows`` tokens in one step, as in checking a draft. ``depth`` None is 8192
    where the model's context and memory admit it."""

    rounds: int = 5
    prompt: int = 512
    new: int = 64
    depth: int | None = None
    streams: int = 8
    rows: int = 16

    def __post_init__(self) -> None:
        for name, most in (("rounds", 1000), ("prompt", None), ("new", None), ("streams", 64), ("rows", 256)):
            value = getattr(self, name)
            if value < 1 or (most is not None and value > most):
                option = "tokens" if name == "new" else name
                remedy = "give 1 or more" if most is None else f"give 1 to {most}"
                raise InvalidSetting(f"--{option}", value, remedy)
        if self.depth is not None and self.depth < 1:
            raise InvalidSetting("--depth", self.depth, "give 1 or more")


def bench(
    model: str | Path,
    workload: Workload,
    *,
    prices: Prices | None = None,
    meter: Meter | None = None,
    on_progress: Callable[[str], None] = lambda text: None,
    **settings: Any,
) -> Report:
    """Load ``model`` (as ``LLM`` does, with its ``settings``), measure, and give all that was found.

    Prompts are random and no drafts are made, so that every token is computed; the greedy answers go through the whole
    engine. Raises what ``LLM`` raises, and InvalidSetting where the context is too short for the workload.
    """
    prices = prices or Prices()
    if prices.kilowatt_hour is not None and meter is None:
        raise InvalidSetting(
            "--electricity",
            prices.kilowatt_hour,
            "this machine does not tell what it takes: give its watts with --power",
        )
    on_progress("measuring the machine")
    limits = machine.measure()
    path = hub.resolve(model)
    own = decoder_config(checkpoint.raw_config(path), path).max_position_embeddings
    depth, notes = _depth(workload, own)
    before = resident_bytes()
    on_progress("loading the model")
    loaded, took, depth, more = _loaded(model, workload, depth, own, settings)
    runner: Any = loaded.runner
    native = getattr(getattr(runner, "ops", None), "name", "") == "native"
    known = traffic(runner.params, _chosen(runner), runner.block_bytes // runner.block_size) if native else None
    if known is not None and known.layers + known.head < machine.largest_cache():
        notes.append("the weights fit into the processor's cache: decoding is not held against the memory's bandwidth")
    measuring = _Measuring(workload, limits, known, meter, on_progress)
    figures = [Figure(name="load", unit="s", values=(took,))]
    checking = measuring.checking(runner)
    with LLM.of(loaded, speculate="off") as llm:
        figures += measuring.prompts(llm)
        if depth:
            figures.append(measuring.deep(llm, depth))
        figures.append(measuring.streams(llm))
        memory = _memory(runner, before, native)
    return Report(
        model=loaded.name,
        context=own,
        kv_format=getattr(getattr(runner, "ops", None), "cache_format", ""),
        machine=limits,
        figures=(*figures, *checking),
        memory=memory,
        energy=None if meter is None else meter.source,
        prices=prices,
        notes=(*loaded.notes, *notes, *more),
    )


class _Measuring:
    """Rounds of each kind of work, and the share of the machine's limit that each comes to."""

    def __init__(
        self,
        workload: Workload,
        limits: machine.Machine,
        known: Traffic | None,
        meter: Meter | None,
        say: Callable[[str], None],
    ) -> None:
        self.work, self.limits, self.known, self.meter, self.say = workload, limits, known, meter, say

    def prompts(self, llm: LLM) -> list[Figure]:
        """First token, prefill, and decode behind it. The first round warms up."""
        work, known = self.work, self.known
        firsts, rates = [], []
        prefill, decode = _Spent(self.meter), _Spent(self.meter)
        for number in range(work.rounds + 1):
            if number:
                self.say(f"prompt and answer, round {number} of {work.rounds}")
            prompt = random_prompt(llm, work.prompt, number)
            with prefill:
                first = answer(llm, prompt, 1).first
            with decode:  # the prompt is in the cache now
                rate = answer(llm, prompt, work.new).rate
            if number:
                firsts.append(first)
                rates.append(rate)
        times = work.rounds + 1
        return [
            Figure(name="first token", unit="s", values=tuple(firsts), remark=f"of a prompt of {work.prompt:,} tokens"),
            self._rate(
                f"prefill of {work.prompt:,}",
                tuple(work.prompt / first for first in firsts),
                None if known is None else known.kind,
                None if known is None else known.operations + known.head_operations / work.prompt,
                prefill.each(times * work.prompt),
            ),
            self._decode(work.prompt, rates, 1, decode.each(times * work.new)),
        ]

    def deep(self, llm: LLM, depth: int) -> Figure:
        """Decode behind a long text, which is computed once."""
        work = self.work
        self.say(f"computing {depth:,} tokens")
        prompt = random_prompt(llm, depth, work.rounds + 2)
        answer(llm, prompt, 1)
        rates = []
        spent = _Spent(self.meter)
        for number in range(1, work.rounds + 1):
            self.say(f"answer behind {depth:,} tokens, round {number} of {work.rounds}")
            with spent:
                rates.append(answer(llm, prompt, work.new).rate)
        return self._decode(depth, rates, 1, spent.each(work.rounds * work.new))

    def streams(self, llm: LLM) -> Figure:
        """Several answers to one prompt."""
        work = self.work
        rates = []
        spent = _Spent(self.meter)
        for number in range(1, work.rounds + 1):
            self.say(f"{work.streams} answers at a time, round {number} of {work.rounds}")
            prompt = random_prompt(llm, work.prompt, work.rounds + 2 + number)
            answer(llm, prompt, 1)
            with spent:
                rates.append(answer(llm, prompt, work.new, work.streams).rate)
        return self._decode(work.prompt, rates, work.streams, spent.each(work.rounds * work.new * work.streams))

    def checking(self, runner: Runner) -> list[Figure]:
        """A step that gives the logits of several new tokens, against a step of one."""
        work = self.work
        self.say(f"{work.rows} tokens in one step, against one")
        steps = Steps(runner, work.prompt)
        for tokens in (1, work.rows):
            steps.seconds(tokens)
        ones, many = [], []
        for _ in range(4 * work.rounds):
            ones.append(steps.seconds(1))
            many.append(steps.seconds(work.rows))
        ratios = tuple(several / one for one, several in zip(ones, many, strict=True))
        known = self.known
        rate = self._rate(
            "",
            tuple(1 / several for several in many),
            None if known is None else known.kind,
            None if known is None else work.rows * (known.operations + known.head_operations),
        )
        return [
            Figure(
                name=f"{work.rows} rows in a step", unit="x one", values=ratios, share=rate.share, limit=rate.limit,
                remark="as in checking a draft",
            )
        ]  # fmt: skip

    def _decode(self, depth: int, rates: list[float], streams: int, joules: float | None) -> Figure:
        name = f"decode at {depth:,}" if streams == 1 else f"{streams} answers at {depth:,}"
        each = None if self.known is None else self.known.decode_bytes(depth, streams) / streams
        if self.known is not None and self.known.layers + self.known.head < machine.largest_cache():
            each = None
        return self._rate(name, tuple(rates), "bandwidth", each, joules)

    def _rate(
        self, name: str, rates: tuple[float, ...], of: str | None, each: float | None, joules: float | None = None
    ) -> Figure:
        """``each``: bytes or operations of a unit of work, of the limit ``of``."""
        most = None if of is None else limit(self.limits, of)
        if each is None or most is None:
            return Figure(name=name, unit="tokens/s", values=rates, joules=joules)
        share = statistics.median(rates) * each / most
        return Figure(name=name, unit="tokens/s", values=rates, share=share, limit=of, joules=joules)


class _Spent:
    """Sums up the joules of what is done inside."""

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self._total = self._began = 0.0

    def __enter__(self) -> None:
        if self._meter is not None:
            self._began = self._meter.joules()

    def __exit__(self, *error: object) -> None:
        if self._meter is not None:
            self._total += self._meter.joules() - self._began

    def each(self, units: int) -> float | None:
        """Joules of one of ``units``; None without a meter."""
        return None if self._meter is None else self._total / units


def _depth(work: Workload, own: int) -> tuple[int, list[str]]:
    """How deep to decode a second time, 0 for not at all, and what to say about it."""
    least = work.prompt + work.new + _SPARE
    if own < least:
        raise InvalidSetting(
            "--prompt", work.prompt,
            f"with --tokens {work.new} it needs a context of {least} and the model's is {own}: give smaller ones",
        )  # fmt: skip
    if work.depth is None:
        if own < DEEP + work.new + _SPARE:
            return 0, [f"decode at {DEEP:,} is left out: the model's context is {own:,}"]
        return DEEP, []
    if own < work.depth + work.new + _SPARE:
        raise InvalidSetting(
            "--depth", work.depth, f"give at most {own - work.new - _SPARE}: the model's context is {own}"
        )
    return (work.depth if work.depth != work.prompt else 0), []


def _loaded(
    model: str | Path, work: Workload, depth: int, own: int, settings: dict[str, Any]
) -> tuple[Loaded, float, int, list[str]]:
    """The model, seconds that loading took, the depth that there is room for, and what to say about it."""
    start = time.perf_counter()
    try:
        loaded = load(model, **_room(work, depth, own), on_progress=None, **settings)
    except InvalidSetting as error:
        if error.setting != "model" or work.depth is not None or not depth:
            raise
        start = time.perf_counter()
        loaded = load(model, **_room(work, 0, own), on_progress=None, **settings)
        note = f"decode at {depth:,} is left out: memory has no room for so many keys and values"
        return loaded, time.perf_counter() - start, 0, [note]
    return loaded, time.perf_counter() - start, depth, []


def _room(work: Workload, depth: int, own: int) -> dict[str, Any]:
    """Settings of the cache: the longest text, and all that is held at a time."""
    context = min(own, max(depth, work.prompt) + work.new + _SPARE)
    tokens = max(depth, work.prompt) + work.streams * (work.new + _SPARE) + 2 * (work.prompt + _SPARE)
    return {"context": context, "cache_tokens": max(context, tokens)}


def _chosen(runner: Any) -> int:
    experts = runner.config.experts
    return 0 if experts is None else int(experts.chosen)


def _memory(runner: Any, before: int, native: bool) -> Memory:
    parts = resident(runner.params) if native else None
    return Memory(
        resident=resident_bytes(),
        before=before,
        layers=None if parts is None else parts.layers,
        head=None if parts is None else parts.head,
        table=None if parts is None else parts.table,
        cache=runner.block_bytes * runner.blocks,
        cache_per_token=runner.block_bytes // runner.block_size,
    )


def resident_bytes(status: Path = Path("/proc/self/status")) -> int:
    """Bytes of this process that are in memory now, mapped files included; 0 where the system does not say."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)
