"""What prompt lookup gains: decoding with it beside decoding without, on texts that somebody wrote.

    python benchmarks/speculation.py [--model FILE.gguf] [--starter] [--kind quoting] [--tokens 128] [--rounds 3]

A model with random weights falls into loops, which lookup would seem to do wonders for. So recorded answers are forced
on it: each step computes and samples as ever, and what was sampled is then replaced by the answer's next token. A draft
stands if it is that token. The shapes are Qwen2.5-0.5B's and Llama-3.2-1B's, of random weights; ``--model`` measures
files of your own instead; ``--starter`` measures the model that ships on its own greedy answers, as it gives them.

Rounds alternate between with and without. A text's gain is the median of its rounds' ratios of decoding time (from the
first token to the last, the prompt's not counted). What the model would have said at each place must be the same in
both, and so must answers that it gives freely, likeliest and by chance: otherwise this ends with 1.
Texts are tokenized by ``--tokenizer`` (a folder; by default the model that ships).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm import hub, native
from ownlm.engine.engine import Engine
from ownlm.engine.loaded import Loaded
from ownlm.engine.loading import load
from ownlm.engine.request import Request
from ownlm.engine.sampler import RequestSampling, Sampled, Sampler
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.speculate import Speculator
from ownlm.tokenizer import Tokenizer
from random_gguf import SHAPES, write_random
from speculation_texts import KINDS, Pair, pairs

MODELS = ("qwen2.5-0.5b", "llama-3.2-1b")
CONTEXT = 4096
SHORT = 2200  # characters of a prompt to the model that ships


class Forced(Sampler):
    """Samples, and then says what it is told; ``chosen`` is what was sampled. Without a ``text`` it is not forced."""

    def __init__(self) -> None:
        self.text: Sequence[int] = ()
        self.chosen: list[int] = []

    def sample(self, logits: NDArray[np.float32], states: Sequence[RequestSampling]) -> list[Sampled]:
        at = states[0].generated
        found = super().sample(logits, states)
        self.chosen.append(found[0].token)
        return [Sampled(self.text[at])] if self.text else found


class Switched(Speculator):
    """Drafts while it is on."""

    on = True

    def draft(self, running: Sequence[Request]) -> None:
        if self.on:
            super().draft(running)


@dataclass(frozen=True)
class Run:
    """One answer."""

    seconds: float
    steps: int
    accepted: int
    rejected: int
    chosen: list[int]


class Model:
    """An engine whose sampler and speculator we hold."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.sampler, self.speculator = Forced(), Switched()
        self.engine = Engine(loaded.runner, sampler=self.sampler, speculator=self.speculator)

    def run(self, on: bool, prompt: Sequence[int], params: SamplingParams, text: Sequence[int] = ()) -> Run:
        self.sampler.text, self.sampler.chosen, self.speculator.on = text, [], on
        steps = self.engine.stats().counters.steps
        handle = self.engine.submit(prompt, params)
        first = last = 0.0
        for _ in handle:
            last = time.perf_counter()
            first = first or last
        steps = self.engine.stats().counters.steps - steps
        return Run(last - first, steps, handle.accepted_tokens, handle.rejected_tokens, self.sampler.chosen)


def compare(
    model: Model, pair: Pair, prompt: list[int], text: list[int], rounds: int, tokens: int
) -> tuple[float, float] | None:
    """Median seconds of one text without and with, printed; None if what the model says is not the same in both."""
    params = SamplingParams(temperature=0, max_tokens=len(text) or tokens, ignore_eos=bool(text))
    runs: dict[bool, list[Run]] = {False: [], True: []}
    for number in range(rounds):
        for on in (False, True) if number % 2 == 0 else (True, False):
            runs[on].append(model.run(on, prompt, params, text))
    off, on = runs[False][-1], runs[True][-1]
    if any(run.chosen != off.chosen for run in (*runs[False], *runs[True])):
        print(f"{pair.name}: the model says something else with drafts")
        return None
    pairs_of = zip(runs[False], runs[True], strict=True)
    gain = statistics.median([before.seconds / max(after.seconds, 1e-9) for before, after in pairs_of])
    print(
        f"  {pair.kind:13} {pair.name:38} {len(prompt):5} +{len(off.chosen):4} tokens,"
        f" {off.steps:4} -> {on.steps:4} steps, drafts {on.accepted:4} stood {on.rejected:4} fell   {gain:5.2f}x",
        flush=True,
    )
    before, after = (statistics.median([run.seconds for run in runs[on]]) for on in (False, True))
    return before, after


def same_when_free(model: Model, prompts: Sequence[list[int]], tokens: int) -> bool:
    """Whether answers that nobody forces are the same with and without: the likeliest, and by chance."""
    drafted = 0
    for prompt in prompts:
        for temperature in (0.0, 0.8):
            params = SamplingParams(temperature=temperature, seed=7, max_tokens=tokens, ignore_eos=True)
            off, on = (model.run(on, prompt, params) for on in (False, True))
            drafted += on.accepted + on.rejected
            if off.chosen != on.chosen:
                return False
    print(f"  {2 * len(prompts)} free answers of {tokens} tokens: the same ids ({drafted} tokens were drafted)")
    return True


def measure(loaded: Loaded, tokenizer: Tokenizer, arguments: argparse.Namespace, *, own: bool) -> bool:
    """All texts on one model, or its ``own`` answers to their prompts; whether everything was the same."""
    model = Model(loaded)
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in arguments.kind or KINDS}
    prompts = []
    try:
        for pair in pairs():
            if pair.kind not in times:
                continue
            prompt = asked(loaded, pair) if own else tokenizer.encode(pair.prompt)
            text = [] if own else tokenizer.encode(pair.answer)[: arguments.tokens]
            prompts.append(prompt)
            taken = compare(model, pair, prompt, text, arguments.rounds, arguments.tokens)
            if taken is None:
                return False
            if taken[0]:  # more than one token
                times[pair.kind].append(taken)
        for kind, found in times.items():
            if found:
                gains = [before / after for before, after in found]
                whole = sum(before for before, _ in found) / sum(after for _, after in found)
                print(
                    f"  {kind:13} all together {whole:.2f}x; of {len(found)} texts the median"
                    f" {statistics.median(gains):.2f}x, the least {min(gains):.2f}x"
                )
        return own or same_when_free(model, prompts[-2:], 48)
    finally:
        model.engine.close()


def asked(loaded: Loaded, pair: Pair) -> list[int]:
    """A prompt as a conversation's first message, its end if it is too long for a small context."""
    assert loaded.chat_template is not None
    return list(loaded.chat_template.render([{"role": "user", "content": pair.prompt[-SHORT:]}]).ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, action="append", help="a model to measure on; may be repeated")
    parser.add_argument("--starter", action="store_true", help="measure the model that ships, on its own answers")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this one; may be repeated")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer, at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=native.threads())
    parser.add_argument("--tokenizer", type=Path, help="a folder with a tokenizer.json")
    arguments = parser.parse_args()
    native.set_threads(arguments.threads)
    tokenizer = Tokenizer.load(arguments.tokenizer or hub.resolve(hub.starter()))
    fine = True
    with tempfile.TemporaryDirectory() as scratch:
        files = arguments.model or ([] if arguments.starter else [Path(scratch) / f"{name}.gguf" for name in MODELS])
        for path in files:
            if not path.exists():
                write_random(path, SHAPES[path.stem])
            print(f"{path.stem}, {arguments.threads} threads, {native.isa()}")
            loaded = load(
                path, context=CONTEXT, cache_tokens=2 * CONTEXT, ops="native", head="rescored", on_progress=None
            )
            fine &= measure(loaded, tokenizer, arguments, own=False)
        if arguments.starter:
            print(f"the model that ships, {arguments.threads} threads, {native.isa()}")
            loaded = load(
                hub.starter(), context=None, cache_tokens=None, ops="native", head="rescored", on_progress=None
            )
            fine &= measure(loaded, loaded.tokenizer, arguments, own=True)
    if not fine:
        sys.exit(1)


if __name__ == "__main__":
    main()
