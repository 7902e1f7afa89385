"""On real kernels: an answer has the same ids, and log probabilities to the last bit, alone, in a batch, in chunks,
from the cache in memory and on disk, with drafts by lookup, by another run and by a small model, and with any number
of threads; for every format of weights and of keys and values. All that takes is a ``seed``, or temperature 0."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from engine_harness import eventually
from ownlm import native
from ownlm.engine.draft_model import DraftModel
from ownlm.engine.engine import Engine
from ownlm.engine.model_runner import ModelRunner
from ownlm.engine.prefix_store import PrefixStore
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.speculate import Speculator
from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.ops.native import NativeOps
from ownlm.native import plan
from ownlm.quant.quantize import quantize
from speculation_cases import Cheap, Prophet
from tiny_llm import write_tiny_llm

WEIGHTS = ("f32", "q8_0", "q4_0")
Answers = list[list[tuple[int, float | None, str | None]]]


class Model:
    """Runners over one folder's weights."""

    def __init__(self, folder: Path, kv_format: Any) -> None:
        files = checkpoint.load(folder)
        self._config = decoder_config(files.config(), folder)
        self._params, self._kv_format = decoder_params(self._config, files.tensors), kv_format
        self.key = f"{folder.name}-{kv_format}"

    def runner(self, blocks: int = 160) -> ModelRunner:
        # A head of any size is rescored, as large ones are.
        ops = NativeOps(cache_format=self._kv_format, head="rescored", rescore_from=0)
        return ModelRunner(ops, self._config, self._params, blocks=blocks)

    def requests(self) -> list[tuple[list[int], SamplingParams]]:
        chance = random.Random(5)
        motif = [chance.randrange(300) for _ in range(40)]
        asked = []
        for number in range(8):
            prompt = motif[: 8 * number] + [chance.randrange(300) for _ in range(chance.randint(1, 50))] + motif
            settings: dict[str, Any] = {"temperature": [0.0, 0.9][number % 2], "seed": number, "max_tokens": 24}
            if number >= 4:
                settings["logprobs"] = 2  # of the others, the head's leading rows alone are exact
            if number == 3:
                settings |= {"repetition_penalty": 1.2, "top_p": 0.9}
            asked.append((prompt, SamplingParams(**settings, ignore_eos=True)))
        return asked


@pytest.fixture(scope="module", params=WEIGHTS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plain = write_tiny_llm(tmp_path_factory.mktemp("model"), scale=0.12)
    if request.param == "f32":
        return plain
    target = plain.with_name(f"{plain.name}-{request.param}")
    quantize(plain, target, request.param)
    return target


@pytest.fixture(params=get_args(plan.CacheFormat))
def model(folder: Path, request: pytest.FixtureRequest) -> Model:
    return Model(folder, request.param)


@pytest.fixture
def threads() -> Iterator[None]:
    before = native.threads()
    yield
    native.set_threads(before)


def answers(engine: Engine, asked: list[tuple[list[int], SamplingParams]], together: bool = True) -> Answers:
    found: Answers = []
    handles = [engine.submit(prompt, params) for prompt, params in asked] if together else []
    for at, (prompt, params) in enumerate(asked):
        handle = handles[at] if together else engine.submit(prompt, params)
        found.append([(out.token, out.logprob, out.finish_reason) for out in handle])
    return found


@pytest.mark.usefixtures("threads")
def test_nothing_that_else_happens_changes_an_answer(model: Model, tmp_path: Path) -> None:
    asked = model.requests()
    native.set_threads(1)
    with Engine(model.runner(), max_running=1) as engine:
        wanted = answers(engine, asked, together=False)
    native.set_threads(2)
    with Engine(model.runner()) as engine:
        assert answers(engine, asked) == wanted, "in a batch, with two threads"
        assert answers(engine, asked[::-1]) == wanted[::-1], "in another order, from the cache"
        assert engine.stats().counters.cached_tokens > 100
    with Engine(model.runner(blocks=10), step_tokens=7, step_tokens_shared=7, max_running=4) as engine:
        assert answers(engine, asked) == wanted, "in chunks of 7 tokens, with too few blocks"
        assert engine.stats().counters.preemptions > 0
    for together in (False, True):
        with Engine(model.runner(), speculator=Speculator(Cheap())) as engine:
            assert answers(engine, asked, together) == wanted, "with drafts by lookup"
            assert engine.stats().counters.drafted_tokens > 0
        outs = [([_Said(token) for token, *_ in answer], None) for answer in wanted]
        with Engine(model.runner(), speculator=Prophet(outs, 0.3, seed=1)) as engine:
            assert answers(engine, asked, together) == wanted, "with drafts of which most come"
            assert engine.stats().counters.accepted_tokens > 20
    small = DraftModel(model.runner(), vocab_size=1 << 20, texts=8)
    with Engine(model.runner(), speculator=Speculator(Cheap(), lookup=False, model=small)) as engine:
        assert answers(engine, asked) == wanted, "with drafts by a model"
        assert engine.stats().counters.accepted_tokens > 0
    for drafts in (None, Speculator(Cheap())):
        runner = model.runner()
        store = PrefixStore(tmp_path / "kv", model.key, runner.block_bytes)
        with Engine(runner, store=store, speculator=drafts) as engine:
            assert answers(engine, asked, together=False) == wanted, "by an engine that keeps and finds blocks on disk"
            if drafts is not None:
                assert eventually(lambda engine=engine: engine.stats().counters.restored_tokens > 100)


class _Said:
    def __init__(self, token: int) -> None:
        self.token = token
