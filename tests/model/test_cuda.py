"""The side for GPUs, on the CPU: every family against transformers, quantized weights, the padding of steps, graphs.

What only a GPU can show is in test_cuda_gpu.py, which skips without one.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.errors import InvalidSetting
from ownlm.formats import FORMATS
from ownlm.model import checkpoint
from ownlm.model.batch import Batch
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.footprint import footprint
from ownlm.model.ops import load
from ownlm.model.params import LinearWeight, Matrix
from ownlm.quant.quantize import quantize

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import EVERY, Forward, check_ways, expected, folder, relative, text  # noqa: E402

from ownlm.model.ops.cuda import CudaOps  # noqa: E402
from ownlm.model.ops.cuda_batch import FEW, NOWHERE, DeviceBatch, few_parts, few_views  # noqa: E402
from ownlm.model.ops.cuda_graphs import Run, Steps  # noqa: E402
from ownlm.model.ops.cuda_weights import dequantized, pack  # noqa: E402


def ops(**settings: Any) -> CudaOps:
    """Exact enough to be compared closely."""
    return CudaOps("cpu", **{"dtype": torch.float32, "cache_format": "f32", **settings})


@pytest.mark.parametrize("family", EVERY)
def test_logits_are_those_of_transformers(family: str) -> None:
    check_ways(Forward(folder(family), ops=ops()), family, 1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss", "qwen3_moe", "gpt2", "ownlm"])
def test_logits_in_bfloat16_are_near(family: str) -> None:
    ours = Forward(folder(family), ops=CudaOps("cpu")).run((0, text(1), 0))
    difference = (ours - expected(family, 1)).ravel()
    assert np.isfinite(ours).all()
    assert np.sqrt(np.mean(difference**2)) / expected(family, 1).std() < 0.1  # weights of 0.2 are hard on 8 bits


@pytest.mark.parametrize("to", ["q4_0", "q8_0"])
@pytest.mark.parametrize("family", ["qwen3", "mixtral", "gpt_oss"])
def test_blocks_stand_for_what_the_oracle_takes(family: str, to: str, tmp_path: Path) -> None:
    path = tmp_path / "m"
    quantize(folder(family), path, to=to)
    oracle, ours = Forward(path, ops=load("torch")), Forward(path, ops=ops())
    want = oracle.run((0, text(1), 0))
    assert relative(ours.run((0, text(1), 0)), want) < 1e-4
    assert relative(ours.run((1, text(1)[:90], 0), (2, text(2)[:3], 0))[:90], want[:90]) < 1e-4
    assert relative(ours.run((1, text(1)[90:91], 90)), want[90:91]) < 1e-4


@pytest.mark.parametrize("kind", ["q5_k", "q6_k", "q5_0", "mxfp4"])
def test_other_blocks_keep_what_they_held(kind: str) -> None:
    form = FORMATS[kind]
    values = np.random.default_rng(0).standard_normal((3, 2 * form.block)).astype(np.float32)
    stored = form.quantize(values)
    made: Any = pack(LinearWeight((Matrix(stored, kind),)), torch.device("cpu"), torch.float32, {})
    assert made.weight.bits == 8
    held = form.dequantize(stored)
    difference = dequantized(made.weight, torch.float32).numpy() - held
    assert np.abs(difference).max() <= np.abs(held).max() / 127


@pytest.mark.parametrize(("kind", "within"), [("q4_0", 0), ("q4_1", 0), ("q8_0", 0), ("q4_k", 2**-10)])
def test_codes_stay_as_they_are(kind: str, within: float) -> None:
    """Q4_K's scales and minima, d * s and dmin * m, are rounded to float16: a weight moves by 2^-11 of either."""
    values = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32) + np.float32(0.5)
    stored = FORMATS[kind].quantize(values)
    made: Any = pack(LinearWeight((Matrix(stored, kind),)), torch.device("cpu"), torch.float32, {})
    held = FORMATS[kind].dequantize(stored)
    assert made.weight.bits == (8 if kind == "q8_0" else 4)
    difference = np.abs(dequantized(made.weight, torch.float32).numpy() - held)
    assert difference.max() <= within * np.abs(held).max()


def test_steps_that_are_ready_are_captured_before_the_first_comes() -> None:
    recorder = Recorder()
    steps = Steps(lambda given: given.slots[:, None].float(), torch.device("cpu"), 16, recorder, ready=(1, 2))
    assert set(steps.captured) == {(1, 32), (2, 32)} and recorder.captures == 2
    assert steps(batch([20], [1])).tolist() == [[19.0]] and recorder.captures == 2


def batch(lengths: list[int], new: list[int]) -> Batch:
    """Sequences of so many tokens in the cache, the last ``new`` of which come now; blocks are numbered through."""
    width = max(-(-length // 16) for length in lengths)
    tables = np.arange(len(lengths) * width, dtype=np.int32).reshape(len(lengths), width)
    places = [np.arange(length - count, length, dtype=np.int32) for length, count in zip(lengths, new, strict=True)]
    slots = [table[at // 16] * 16 + at % 16 for table, at in zip(tables, places, strict=True)]
    ends = np.cumsum([0, *new], dtype=np.int32)
    return Batch(
        ids=np.arange(ends[-1], dtype=np.int32) + 5, positions=np.concatenate(places), cu_seqlens=ends,
        lengths=np.array(lengths, np.int32), block_tables=tables, slots=np.concatenate(slots).astype(np.int32),
        rows=ends[1:] - np.int32(1),
    )  # fmt: skip


def test_a_step_of_few_tokens_is_padded_with_tokens_that_go_nowhere() -> None:
    given = batch([20, 3], [2, 1])
    parts = few_parts(given, 4, 32)
    assert all(part.nbytes % 16 == 0 for part in few_parts(batch([20], [1]), 1, 32))
    made = few_views(torch.from_numpy(np.concatenate([part.ravel() for part in parts])), 4)
    assert made.ids.tolist() == [5, 6, 7, 0] and made.positions.tolist() == [18, 19, 2, 0]
    assert made.slots.tolist() == [18, 19, 34, NOWHERE] and made.rows.tolist() == [1, 2, 0, 0]
    assert made.few is not None and made.few.which is None
    assert made.few.lengths.tolist() == [19, 20, 3, 1]
    assert made.few.tables[:, :3].tolist() == [[0, 1, 0], [0, 1, 0], [2, 3, 0], [0, 0, 0]]


class Recorder:
    """In the place of graphs: counts captures and replays, and overwrites what a captured step gave last time."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def __call__(self, run: Run) -> Run:
        self.captures += 1
        held = run()  # warm-up
        result = torch.empty_like(held)

        def replay() -> Any:
            self.replays += 1
            return result.copy_(run())

        return replay


def test_steps_are_captured_once_a_size() -> None:
    recorder = Recorder()
    seen: list[tuple[int, ...]] = []

    def forward(given: DeviceBatch) -> Any:
        seen.append((len(given.ids), 0 if given.few is None else given.few.tables.shape[1]))
        return (given.ids[given.rows] * 10 + given.slots[given.rows])[:, None].float()

    steps = Steps(forward, torch.device("cpu"), 16, recorder)
    for lengths, new in (
        ([20, 3], [1, 1]),
        ([9, 30], [1, 1]),
        ([7], [1]),
        ([20, 3, 9], [1, 1, 2]),
        ([600], [1]),
        ([80], [70]),
        ([80], [FEW + 1]),
    ):
        given = batch(lengths, new)
        wanted = (given.ids[given.rows] * 10 + given.slots[given.rows])[:, None]
        assert np.array_equal(steps(given), wanted)
    assert set(steps.captured) == {(2, 32), (1, 32), (4, 32), (1, 128)} and recorder.captures == 4
    assert recorder.replays == 5, "prompts run as they are"
    first, other = batch([20, 3], [1, 1]), batch([9, 30], [1, 1])
    kept = steps(first)
    before = kept.copy()
    steps(other)
    assert np.array_equal(kept, before), "what a step gave stays when the next one runs"


@pytest.mark.parametrize("family", ["mistral", "qwen3_moe", "gemma2", "gpt_oss"])
def test_replayed_steps_are_the_steps(family: str) -> None:
    recorder = Recorder()
    check_ways(Forward(folder(family), ops=ops(capture=recorder)), family, 1e-4)
    assert recorder.replays > recorder.captures > 1


def test_a_padded_step_leaves_the_blocks_alone() -> None:
    forward = Forward(folder("llama"), ops=ops())
    forward.run((0, text(1)[:40], 0), (1, text(2)[:40], 0), (2, text(3)[:40], 0))
    before = [forward.ops.read_blocks(forward.cache, np.array([at], np.int32)) for at in range(30)]
    forward.run((0, text(1)[40:41], 40), (1, text(2)[40:41], 40), (2, text(3)[40:41], 40))  # one more is padded
    changed = [
        at
        for at in range(30)
        if not np.array_equal(before[at], forward.ops.read_blocks(forward.cache, np.array([at], np.int32)))
    ]
    assert changed == [1 + 2, 8 + 2, 15 + 2]


def test_blocks_of_bfloat16_leave_and_come_back() -> None:
    forward = Forward(folder("llama"), ops=CudaOps("cpu"))
    forward.run((0, text(1)[:64], 0))
    kept = forward.ops.read_blocks(forward.cache, np.array([2, 4], np.int32))
    assert kept.shape == (2, forward.ops.block_bytes(forward.cache)) and kept.any()
    forward.ops.write_blocks(forward.cache, np.array([20, 21], np.int32), kept)
    assert np.array_equal(forward.ops.read_blocks(forward.cache, np.array([21, 20], np.int32)), kept[::-1])


def test_formats_of_the_cache_that_are_not_there_are_refused() -> None:
    with pytest.raises(InvalidSetting, match="int8"):
        CudaOps("cpu", cache_format="int8")


@pytest.mark.parametrize("to", ["", "q4_0", "q8_0"])
@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe", "gpt2"])
def test_the_footprint_is_what_is_held(family: str, to: str, tmp_path: Path) -> None:
    path = folder(family)
    if to:
        path = tmp_path / "m"
        quantize(folder(family), path, to=to)
    found = checkpoint.load(path)
    config = decoder_config(found.config(), path)
    held: dict[int, int] = {}

    def count(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, tuple):
            for item in value:
                count(item)
        elif dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                count(getattr(value, field.name))

    count(CudaOps("cpu").prepare(decoder_params(config, found.tensors)))
    assert footprint(config, found.tensors, "cuda").weights == sum(held.values())
