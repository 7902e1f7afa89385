"""What a head that is read by a 4-bit copy changes: the distribution of the next token beside the exact head's.

    python benchmarks/rescored_head.py [MODEL ...] --text FILE [--tokens 8192]

A model is a folder or a GGUF file; without one it is the model that ships. Its head is copied whatever its size. Of
every token of the text: the Kullback-Leibler divergence from the exact head's distribution to the rescored head's, at
several temperatures, in nats; how often the likeliest token is the same; and how many logits were computed again. "4
bits alone" is the same of the copy without rescoring.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ownlm import hub
from ownlm.model import checkpoint
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.opened import OpenDecoder, window_of, windows
from ownlm.model.ops.native import NativeOps
from ownlm.model.ops.native_weights import Head, Linear
from ownlm.model.ops.packs import Packs
from ownlm.model.params import DecoderParams

P = TypeVar("P")
Logits = NDArray[np.float64]
TEMPERATURES = (0.5, 1.0, 1.5)


class CopyAlone(NativeOps):
    """Every logit from the 4-bit copy."""

    def prepare(self, params: P, packs: Packs | None = None) -> P:
        prepared: Any = super().prepare(params, packs)
        head = prepared.head
        assert isinstance(head, Head)
        alone: P = replace(prepared, head=Linear(head.weight.copy, head.bias))
        return alone


def log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max(1, keepdims=True)
    found: Logits = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return found


def divergence(exact: Logits, other: Logits, temperature: float) -> float:
    """Sum over rows."""
    p, q = log_softmax(exact / temperature), log_softmax(other / temperature)
    return float((np.exp(p) * (p - q)).sum())


def compare(config: DecoderConfig, params: DecoderParams, ids: list[int]) -> None:
    exact, *others = (
        OpenDecoder(ops, config, params, blocks=-(-window_of(config) // 16))
        for ops in (NativeOps(), NativeOps(head="rescored", rescore_from=1), CopyAlone(head="rescored", rescore_from=1))
    )
    found = {
        name: {"rows": 0, "same": 0, "again": 0, **dict.fromkeys(TEMPERATURES, 0.0)}
        for name in ("rescored", "4 bits alone")
    }
    for part in windows(ids, window_of(config)):
        want = exact.read(part[:-1]).copy()
        for sums, decoder in zip(found.values(), others, strict=True):
            got = decoder.read(part[:-1])
            sums["rows"] += len(got)
            sums["same"] += int((got.argmax(1) == want.argmax(1)).sum())
            sums["again"] += int((got == want).sum())
            for temperature in TEMPERATURES:
                sums[temperature] += divergence(want.astype(np.float64), got.astype(np.float64), temperature)
    for name, sums in found.items():
        rows = sums["rows"]
        told = "  ".join(f"KL at {t}: {sums[t] / rows:.2e}" for t in TEMPERATURES)
        print(
            f"  {name:14} {told}  same likeliest: {sums['same'] / rows:.4%} of {rows}"
            f"  exact logits a row: {sums['again'] / rows:.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="folders or GGUF files (default: the model that ships)")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=8192)
    arguments = parser.parse_args()
    for model in arguments.models or [hub.starter()]:
        path = hub.resolve(model)
        files = checkpoint.load(path)
        config = decoder_config(files.config(), path, 256)
        params = decoder_params(config, files.tensors)
        (head,) = params.head.matrices
        ids = files.load_tokenizer(path).encode(arguments.text.read_text("utf-8")[: 8 * arguments.tokens])
        print(f"{path.name}: {head.rows} x {config.hidden_size}, {head.format}")
        compare(config, params, [int(i) for i in ids][: arguments.tokens])


if __name__ == "__main__":
    main()
