"""How far every kernel is from the oracle: logits by instruction set, weight format, KV format and number of rows.

    python benchmarks/correctness.py [--isa avx2] [--weights q4_0 starter] [--kv int8] [--every] [--json FILE]

The oracle is the torch side in float32 over the same stored weights, so what differs is arithmetic: activations of 8
bits, or of bfloat16, and the KV format. A model reads 300 tokens, then M new ones in one step, for each M; the figures
compare the logits of all M: the largest difference in standard deviations of the logits, and the KL divergence of the
oracle's distribution from ours in nats a token, mean and largest. Models: a small random decoder in each weight format,
and the trained model that ships ("starter", 4 bits, its table 8).

A line stands for all M, for a row's logits are the same bits whatever M is, and that is checked; --every prints each M.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import ownlm
from ownlm import native
from ownlm.formats import FORMATS, bfloat16
from ownlm.model import checkpoint
from ownlm.model.agreement import log_softmax
from ownlm.model.batch import Batch
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import blank_params, decoder_params
from ownlm.model.opened import OpenDecoder
from ownlm.model.ops.base import Ops
from ownlm.model.ops.native import NativeOps
from ownlm.model.params import DecoderParams
from ownlm.model.safetensors import Tensor
from ownlm.native import plan
from ownlm.tokenizer.tokenizer import Tokenizer

ROWS = (1, 2, 3, 7, 8, 9, 12, 13, 16, 17, 32, 33, 64, 128)
BEFORE = 300  # tokens in the cache: more than a chunk of attention's, which is 256
BLOCK = 32
WEIGHTS = ("f32", "bf16", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k", "starter")
KV = typing.get_args(plan.CacheFormat)
STARTER = Path(ownlm.__file__).parent / "weights" / "starter-5m-q4_0"
Logits = NDArray[np.float32]
Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Line:
    """Of one step of ``rows`` rows: ``same_bits`` as the same rows of the step of most rows."""

    isa: str
    weights: str
    kv: str
    rows: int
    largest_error: float
    mean_kl: float
    largest_kl: float
    same_bits: bool


@dataclass(frozen=True, slots=True)
class Model:
    """A decoder and a text for it."""

    config: DecoderConfig
    params: DecoderParams
    ids: Ids


@functools.cache
def model(weights: str) -> Model:
    """One of ``WEIGHTS``."""
    return starter() if weights == "starter" else random_model(weights)


def random_model(weights: str) -> Model:
    """Two layers with weights of standard deviation 1 / sqrt(inputs), matrices stored in ``weights``, the rest float32.

    An odd vocabulary leaves the head a panel that is not full; its deviation of 2 makes distributions of some bits.
    """
    config = decoder_config(
        {
            "model_type": "qwen3", "vocab_size": 509, "hidden_size": 256, "intermediate_size": 512, "head_dim": 64,
            "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "rms_norm_eps": 1e-6,
            "max_position_embeddings": 1024, "rope_theta": 10000.0, "hidden_act": "silu", "attention_bias": False,
            "tie_word_embeddings": False,
        },
        "a random model",
    )  # fmt: skip
    rng = np.random.default_rng(11)
    tensors: dict[str, Tensor] = {}
    for name, blank in blank_params(config)[1].items():
        values = rng.standard_normal(blank.array.shape, dtype=np.float32)
        if values.ndim == 1:
            tensors[name] = Tensor(name, "F32", 1 + values / 8)
        elif "embed" in name:
            tensors[name] = Tensor(name, "F32", values)
        else:
            values *= np.float32((2 if "head" in name else 1) * values.shape[1] ** -0.5)
            tensors[name] = stored(name, values, weights)
    ids = rng.integers(0, config.vocab_size, BEFORE + max(ROWS)).astype(np.int32)
    return Model(config, decoder_params(config, tensors), ids)


def stored(name: str, values: NDArray[np.float32], weights: str) -> Tensor:
    """A matrix as a checkpoint would hold it."""
    if weights == "f32":
        return Tensor(name, "F32", values)
    if weights == "bf16":
        return Tensor(name, "BF16", bfloat16.from_float32(values))
    return Tensor(name, "U8", FORMATS[weights].quantize(values), weights)


def starter() -> Model:
    """The model that ships, and the beginning of its card."""
    found = checkpoint.load(STARTER)
    config = decoder_config(found.config(), STARTER)
    text = (STARTER / "README.md").read_text(encoding="utf-8")
    ids = np.array(Tokenizer.load(STARTER).encode(text)[: BEFORE + max(ROWS)], np.int32)
    return Model(config, decoder_params(config, found.tensors), ids)


def opened(side: Ops, of: Model) -> OpenDecoder:
    """With room for its text."""
    return OpenDecoder(side, of.config, of.params, blocks=-(-len(of.ids) // BLOCK), block_size=BLOCK)


def step(decoder: OpenDecoder, ids: Ids, done: int) -> Logits:
    """Logits of all of ``ids``, which stand behind ``done`` tokens that the cache holds."""
    places = np.arange(done, done + len(ids), dtype=np.int32)
    return decoder.step(
        Batch(
            ids=ids,
            positions=places,
            cu_seqlens=np.array([0, len(ids)], np.int32),
            lengths=np.array([done + len(ids)], np.int32),
            block_tables=np.arange(decoder.blocks, dtype=np.int32)[None],
            slots=places,
            rows=np.arange(len(ids), dtype=np.int32),
        )
    )


@functools.cache
def expected(weights: str) -> Logits:
    """The oracle's logits of the new tokens."""
    from ownlm.model.ops.torch import TorchOps

    return opened(TorchOps(), model(weights)).read(model(weights).ids)[BEFORE:]


def measure(isa: str, weights: str, kv: str, rows: Sequence[int] = ROWS) -> Iterator[Line]:
    """A line for each M of ``rows``, the largest first. The instruction set in use before comes back."""
    before = native.isa()
    native.use_isa(isa)
    try:
        of, oracle = model(weights), expected(weights)
        decoder = opened(NativeOps(cache_format=typing.cast(plan.CacheFormat, kv)), of)
        step(decoder, of.ids[:BEFORE], 0)
        whole: Logits | None = None
        for count in sorted(rows, reverse=True):
            found = step(decoder, of.ids[BEFORE : BEFORE + count], BEFORE)
            whole = found if whole is None else whole
            yield compare(isa, weights, kv, found, oracle[:count], np.array_equal(found, whole[:count]))
    finally:
        native.use_isa(before)


def compare(isa: str, weights: str, kv: str, found: Logits, oracle: Logits, same_bits: bool) -> Line:
    """Ours against the oracle's. What is no number is infinitely far."""
    error = float(np.abs(found - oracle).max() / oracle.std())
    left, right = log_softmax(oracle.astype(np.float64)), log_softmax(found.astype(np.float64))
    kl = (np.exp(left) * (left - right)).sum(axis=1)
    kl = np.where(np.isfinite(kl), kl, np.inf)
    error = error if np.isfinite(error) else float("inf")
    return Line(isa, weights, kv, len(found), error, float(kl.mean()), float(kl.max()), same_bits)


def worst(lines: Sequence[Line]) -> Line:
    """One line for all M, the largest first: the mean is of that one."""
    return dataclasses.replace(
        lines[0],
        largest_error=max(line.largest_error for line in lines),
        largest_kl=max(line.largest_kl for line in lines),
        same_bits=all(line.same_bits for line in lines),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isa", choices=native.isas(), nargs="+", default=native.isas())
    parser.add_argument("--weights", choices=WEIGHTS, nargs="+", default=WEIGHTS)
    parser.add_argument("--kv", choices=KV, nargs="+", default=KV)
    parser.add_argument("--every", action="store_true", help="a line for each M")
    parser.add_argument("--json", type=Path, help="write every line there too")
    arguments = parser.parse_args()
    print(
        f"{'weights':8} {'KV':5} {'instructions':14} {'M':>9} {'largest error':>14} {'mean KL':>9} {'largest KL':>11}"
    )
    every: list[Line] = []
    for weights in arguments.weights:
        for kv in arguments.kv:
            for isa in arguments.isa:
                lines = list(measure(isa, weights, kv))
                every += lines
                for line in reversed(lines) if arguments.every else [worst(lines)]:
                    rows = str(line.rows) if arguments.every else f"1 to {line.rows}"
                    note = "" if line.same_bits else "   other bits by M"
                    print(
                        f"{weights:8} {kv:5} {isa:14} {rows:>9} {line.largest_error:14.2e} {line.mean_kl:9.1e} "
                        f"{line.largest_kl:11.1e}{note}",
                        flush=True,
                    )
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(line) for line in every], indent=1) + "\n")


if __name__ == "__main__":
    main()
