"""The engine over real decoders: its greedy ids are those of a loop that computes everything anew for each token."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ownlm.engine.engine import Engine
from ownlm.engine.model_runner import ModelRunner
from ownlm.engine.sampling_params import SamplingParams
from ownlm.model import checkpoint
from ownlm.model import ops as sides
from ownlm.model.batch import Batch
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.ops.base import Ops
from ownlm.model.params import DecoderParams

sys.path.append(str(Path(__file__).parents[1] / "model"))
import tiny_families
from decoder_support import side

# Without windows, with windows shorter than the prompts, alternating, with experts, with learned positions.
FAMILIES = ["llama3", "mistral", "gemma3", "qwen3_moe", "gpt2", "gpt_oss"]
Tiny = tuple[Ops, DecoderConfig, DecoderParams]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_families.save(tmp_path_factory.mktemp("model"), request.param)


@pytest.fixture(params=sides.SIDES)
def tiny(folder: Path, request: pytest.FixtureRequest) -> Tiny:
    files = checkpoint.load(folder)
    config = decoder_config(files.config(), folder)
    return side(request.param), config, decoder_params(config, files.tensors)


def runner(tiny: Tiny, blocks: int, block_size: int = 16) -> ModelRunner:
    return ModelRunner(*tiny, blocks=blocks, block_size=block_size)


class Naive:
    """Every token anew, in one step over an empty cache."""

    def __init__(self, tiny: Tiny) -> None:
        self._runner = runner(tiny, blocks=16)

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        count = len(tokens)
        positions = np.arange(count, dtype=np.int32)
        batch = Batch(
            ids=np.array(tokens, np.int32),
            positions=positions,
            cu_seqlens=np.array([0, count], np.int32),
            lengths=np.array([count], np.int32),
            block_tables=np.arange(16, dtype=np.int32)[None],
            slots=positions,
            rows=np.array([count - 1], np.int32),
        )
        return self._runner.step(batch)[0].copy()

    def answer(self, prompt: list[int], length: int) -> list[int]:
        tokens = list(prompt)
        for _ in range(length):
            tokens.append(int(self.logits(tokens).argmax()))
        return tokens[len(prompt) :]


def prompts(vocabulary: int) -> list[list[int]]:
    chance = np.random.default_rng(1)
    shared = chance.integers(3, vocabulary, 40).tolist()
    return [
        *([*shared[: 8 * index], *chance.integers(3, vocabulary, 3 + 9 * index).tolist()] for index in range(6)),
        shared + chance.integers(3, vocabulary, 50).tolist(),
    ]


def test_greedy_is_the_naive_loop(tiny: Tiny) -> None:
    naive, params = Naive(tiny), SamplingParams(temperature=0, max_tokens=20)
    asked = prompts(tiny[1].vocab_size)
    wanted = [naive.answer(prompt, 20) for prompt in asked]
    assert len({tuple(answer) for answer in wanted}) == len(wanted)

    def answers(engine: Engine) -> list[list[int]]:
        handles = [engine.submit(prompt, params) for prompt in asked]
        return [[out.token for out in handle] for handle in handles]

    with Engine(runner(tiny, blocks=64), max_running=1) as engine:
        assert answers(engine) == wanted, "alone"
    with Engine(runner(tiny, blocks=64)) as engine:
        assert answers(engine) == wanted, "in a batch"
        assert answers(engine) == wanted, "cached"
        assert engine.stats().counters.cached_tokens > 200
        forks = engine.submit_many(asked[-1], [params] * 3)
        assert [[out.token for out in fork] for fork in forks] == [wanted[-1]] * 3, "forked"
    with Engine(runner(tiny, blocks=9), step_tokens=7, step_tokens_shared=7, max_running=4) as engine:
        assert answers(engine) == wanted, "chunked, with too few blocks"
        assert engine.stats().counters.preemptions > 0


def test_forked_answers_keep_apart(tiny: Tiny) -> None:
    """Forks that go different ways write to copies: what each says next is what its own text says."""
    naive, prompt = Naive(tiny), prompts(tiny[1].vocab_size)[3]
    ways = [SamplingParams(temperature=0, max_tokens=5, logit_bias={7 + way: 100.0}, logprobs=0) for way in range(3)]
    with Engine(runner(tiny, blocks=64)) as engine:
        for way, handle in enumerate(engine.submit_many(prompt, ways)):
            for at, out in enumerate(handle):
                row = naive.logits([*prompt, *[7 + way] * at]).astype(np.float64)
                logprob = row[7 + way] - row.max() - np.log(np.exp(row - row.max()).sum())
                assert out.token == 7 + way and out.logprob == pytest.approx(logprob, abs=2e-3)


def test_what_else_runs_changes_no_bit(tiny: Tiny) -> None:
    """Native side: seeded answers and their log probabilities, alone and among others, whole and in chunks."""
    if tiny[0].name != "native":
        pytest.skip("torch, as a GPU, chooses its arithmetic by the shape of the batch")
    asked = prompts(tiny[1].vocab_size)
    params = [SamplingParams(temperature=1.2, max_tokens=12, seed=seed, logprobs=1) for seed in range(len(asked))]

    def answers(**options: int) -> list[list[tuple[int, float | None]]]:
        with Engine(runner(tiny, blocks=64), **options) as engine:
            handles = [engine.submit(prompt, each) for prompt, each in zip(asked, params, strict=True)]
            return [[(out.token, out.logprob) for out in handle] for handle in handles]

    assert answers(max_running=1) == answers() == answers(step_tokens=11, step_tokens_shared=11, max_running=5)


def test_a_fault_in_the_copy_is_seen(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelRunner, "copy_blocks", lambda self, pairs: None)
    with pytest.raises(AssertionError):
        test_forked_answers_keep_apart(tiny)
