"""What quantizing cost, measured: the same text through both models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_json
from ownlm.model import checkpoint, memory
from ownlm.model.agreement import Agreement, agreement
from ownlm.model.beside import beside
from ownlm.model.checkpoint import Checkpoint
from ownlm.model.opened import check_memory, open_to_read, window_of, windows
from ownlm.tokenizer import Tokenizer

TOKENS = 4096
"""So many of the text are read at most; how many it were stands in the receipt."""
POLICY = "embeddings and head keep at least 8 bits (q8_0); norms, biases, routers and positions are float32"


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

    @classmethod
    def of(cls, found: Agreement, format: str, sizes: tuple[int, int], text: str) -> Receipt:
        """What an agreement of both models says; ``sizes`` are their bytes, ``text`` names what they read."""
        first, second = found.perplexities
        return cls(
            format=format,
            bytes_before=sizes[0],
            bytes_after=sizes[1],
            mean_kl=found.mean_kl,
            top1_agreement=found.top1_agreement,
            perplexity_before=first,
            perplexity_after=second,
            perplexity_ratio=found.perplexity_ratio,
            tokens=found.tokens,
            text=text,
        )

    def write(self, target: Path) -> Path:
        """Beside the weights: ``receipt.json`` in a folder, NAME.receipt.json by a file NAME.gguf."""
        path = receipt_path(target)
        atomic_json(path, asdict(self))
        return path


def receipt_path(model: Path) -> Path:
    """Where a model's receipt is."""
    return beside(model, "receipt")


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
    check_memory([(original, before, ops), (quantized, after, ops)])
    ids = sample_ids(before.load_tokenizer(original), text, name)
    first, second = (open_to_read(path, found, ops) for path, found in ((original, before), (quantized, after)))
    found = agreement(first.read, second.read, windows(ids, window_of(first.config)), on_progress)
    return Receipt.of(found, to, stored_bytes(before, after), name)


def stored_bytes(before: Checkpoint, after: Checkpoint) -> tuple[int, int]:
    """Of the weights as both models store them."""
    first, second = (sum(memory.weight_bytes(found.tensors).values()) for found in (before, after))
    return first, second


def sample_ids(tokenizer: Tokenizer, text: str | None, name: str) -> list[int]:
    """The first ``TOKENS`` of a text, or of the one that ships. InvalidSetting if there are fewer than two."""
    ids = tokenizer.encode(shipped_text() if text is None else text, parse_special=False)[:TOKENS]
    if len(ids) < 2:
        raise InvalidSetting("--text", name, "it has fewer than two tokens: give a longer one")
    return ids
