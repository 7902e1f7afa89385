"""Shapes of known decoders, which the benchmarks fill with random weights. No import of ours: peers read it too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Of a decoder with grouped queries and a gated MLP. ``tied``: the table of embeddings is the head."""

    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    rope_base: float
    biases: bool = False
    head_dim: int = 64
    tied: bool = True

    @property
    def matrices(self) -> int:
        """Weights of the layers that a token is multiplied with."""
        qkv = (self.heads + 2 * self.kv_heads) * self.head_dim
        return self.layers * self.hidden * (qkv + self.heads * self.head_dim + 3 * self.inner)

    @property
    def weights(self) -> int:
        """Weights that a token is multiplied with, the head's among them."""
        return self.matrices + self.vocabulary * self.hidden

    @property
    def cached_values(self) -> int:
        """Numbers that the cache keeps of a token."""
        return self.layers * 2 * self.kv_heads * self.head_dim


SHAPES = {
    "qwen2.5-0.5b": Shape("qwen2", 24, 896, 14, 2, 4864, 151936, 1e6, biases=True),
    "llama-3.2-1b": Shape("llama", 16, 2048, 32, 8, 8192, 128256, 5e5),
    "llama-2-7b": Shape("llama", 32, 4096, 32, 32, 11008, 32000, 1e4, head_dim=128, tied=False),
}
