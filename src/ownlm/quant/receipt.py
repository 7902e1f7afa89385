"""What quantizing cost, measured: the same text through both models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_write
from ownlm.model import checkpoint, memory
from ownlm.model import ops as sides
from ownlm.model.batch import Batch
from ownlm.model.decoder import decode
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params

WINDOW = 256
"""Tokens that are read together, each predicted from those before it."""
TOKENS = 4096
"""So many of the text are read at most; how many it were stands in the receipt."""
POLICY = "embeddings and head keep at least 8 bits (q8_0); norms, biases, routers and positions are float32"
Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Receipt:
    """``mean_kl`` in nats a token, of the original's distribution from the quantized one's; ``top1_agreement`` the
    share of tokens for which both find the same most likely; perplexities of the text, and how the second compares.
    """

    format: str
    bytes_before: int
    bytes_after: int
    mean_kl: float
    top1_agreement: float
    perplexity_before: float
    perplexity_after: float
    perplexity_ratio: float
    tokens: int
    text: str
    policy: str = POLICY

    def write(self, target: Path) -> Path:
        """Beside the weights: ``receipt.json`` in a folder, NAME.receipt.json by a file NAME.gguf."""
        path = receipt_path(target)
        with atomic_write(path) as file:
            file.write((json.dumps(asdict(self), indent=2) + "\n").encode())
        return path


def receipt_path(model: Path) -> Path:
    """Where a model's receipt is."""
    return model / "receipt.json" if model.is_dir() else model.with_suffix(".receipt.json")


def shipped_text() -> str:
    """The text that is read where the user names none."""
    return resources.files(__package__).joinpath("sample.txt").read_text("utf-8")


def measure(
    original: Path,
    quantized: Path,
    to: str,
    *,
    text: str | None = None,
    name: str = "the text that ships",
    ops: str = "native",
    on_progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Read ``text`` with both models; ``on_progress(done, total)`` counts tokens. Raises as loading does, and
    InvalidSetting for a text of fewer than two tokens, or models that do not fit into memory together."""
    before, after = (checkpoint.load(path) for path in (original, quantized))
    sizes = [sum(memory.weight_bytes(found.tensors).values()) for found in (before, after)]
    memory.check(original, sum(sizes), 0, WINDOW)
    tokenizer = before.load_tokenizer(original)
    ids = tokenizer.encode(shipped_text() if text is None else text, parse_special=False)[:TOKENS]
    if len(ids) < 2:
        raise InvalidSetting("--text", name, "it has fewer than two tokens: give a longer one")
    models = [_Model(path, found, ops) for path, found in ((original, before), (quantized, after))]
    kl = agreed = 0.0
    losses = [0.0, 0.0]
    done = 0
    for window in _windows(ids):
        p, q = (_log_softmax(model.logits(window[:-1])) for model in models)
        kl += float((np.exp(p) * (p - q)).sum(dtype=np.float64))
        agreed += int((p.argmax(1) == q.argmax(1)).sum())
        for which, found in enumerate((p, q)):
            losses[which] -= float(found[np.arange(len(found)), window[1:]].sum(dtype=np.float64))
        done += len(window) - 1
        if on_progress is not None:
            on_progress(done, len(ids) - 1)
    first, second = (math.exp(min(loss / done, 700.0)) for loss in losses)
    return Receipt(
        format=to,
        bytes_before=sizes[0],
        bytes_after=sizes[1],
        mean_kl=kl / done,
        top1_agreement=agreed / done,
        perplexity_before=first,
        perplexity_after=second,
        perplexity_ratio=math.exp((losses[1] - losses[0]) / done),
        tokens=done,
        text=name,
    )


def _windows(ids: list[int]) -> Iterator[NDArray[np.int32]]:
    """Neighbours share one token: the last of one is the first of the next, so that each is predicted once."""
    for start in range(0, len(ids) - 1, WINDOW):
        yield np.array(ids[start : start + WINDOW + 1], np.int32)


def _log_softmax(x: Logits) -> Logits:
    x = x - x.max(axis=1, keepdims=True)
    found: Logits = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return found


class _Model:
    """A decoder that reads one window at a time."""

    def __init__(self, path: Path, found: checkpoint.Checkpoint, ops: str) -> None:
        config = decoder_config(found.config(), path, WINDOW)
        side = sides.load(ops)
        params = side.prepare(decoder_params(config, found.tensors))
        blocks = WINDOW // memory.BLOCK_SIZE
        cache = side.kv_cache(
            config.num_hidden_layers, config.num_key_value_heads, config.head_dim, blocks, memory.BLOCK_SIZE
        )
        self._tables = np.arange(blocks, dtype=np.int32)[None]
        self._step = side.compile(lambda batch: decode(side, config, params, batch, cache))

    def logits(self, ids: NDArray[np.int32]) -> Logits:
        """[T, vocabulary]."""
        places = np.arange(len(ids), dtype=np.int32)
        return self._step(
            Batch(
                ids=ids,
                positions=places,
                cu_seqlens=np.array([0, len(ids)], np.int32),
                lengths=np.array([len(ids)], np.int32),
                block_tables=self._tables,
                slots=places,
                rows=places,
            )
        )
