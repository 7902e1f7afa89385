"""A decoder's shape: what ``config.json`` says of it, how many parameters it has and what a token costs.

Two kinds. "qwen3" is what ships, since transformers, llama.cpp and vLLM read it too. "ownlm" is for research: a
feed-forward of squared ReLU without a gate, value embeddings on every other layer, capped logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ownlm.model.decoder_config import DecoderConfig

Kind = Literal["qwen3", "ownlm"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Numbers of parameters by what they do; a tied head is counted under ``embedding`` alone."""

    embedding: int
    head: int
    projections: int
    value_embeddings: int
    gains: int

    @property
    def total(self) -> int:
        """All of them, as transformers' ``num_parameters`` counts."""
        return self.embedding + self.head + self.projections + self.value_embeddings + self.gains


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder's shape. ``vocab_size`` is the tokenizer's, padded; ``context`` the longest text in tokens."""

    kind: Kind
    depth: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab_size: int
    context: int
    tied: bool = True
    rope_theta: float = 10_000.0
    softcap: float | None = None

    @property
    def value_layers(self) -> tuple[int, ...]:
        """The layers that add an embedding to their values: every other one, the last among them."""
        return tuple(range((self.depth - 1) % 2, self.depth, 2)) if self.kind == "ownlm" else ()

    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds, without the ids of special tokens."""
        said: dict[str, Any] = {
            "architectures": ["Qwen3ForCausalLM" if self.kind == "qwen3" else "OwnLMForCausalLM"],
            "model_type": self.kind,
            "vocab_size": self.vocab_size,
            "hidden_size": self.width,
            "intermediate_size": self.ffn,
            "num_hidden_layers": self.depth,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu" if self.kind == "qwen3" else "relu2",
            "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-6,
            "rope_theta": self.rope_theta,
            "attention_bias": False,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "tie_word_embeddings": self.tied,
            "use_cache": True,
        }
        if self.kind == "ownlm":
            said["value_embedding_layers"] = list(self.value_layers)
            said["final_logit_softcapping"] = self.softcap
        return said

    def parameters(self) -> Parameters:
        """How many parameters do what."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = self.width * (q + 2 * kv) + q * self.width
        feed_forward = (3 if self.kind == "qwen3" else 2) * self.width * self.ffn
        tables = len(self.value_layers)
        return Parameters(
            embedding=self.vocab_size * self.width,
            head=0 if self.tied else self.vocab_size * self.width,
            projections=self.depth * (attention + feed_forward) + tables * self.kv_heads * self.width,
            value_embeddings=tables * self.vocab_size * kv,
            gains=self.depth * (2 * self.width + 2 * self.head_dim) + self.width,
        )

    @property
    def multiplied(self) -> int:
        """Parameters that multiply every token: projections and head. Tables are looked up and cost nothing."""
        return self.parameters().projections + self.vocab_size * self.width

    def flops_per_token(self, length: int | None = None) -> int:
        """Floating-point operations that training spends on a token of a text of ``length`` tokens (the context).

        See the function of that name.
        """
        attention = 12 * self.depth * self.heads * self.head_dim * (self.context if length is None else length)
        return 6 * self.multiplied + attention


def flops_per_token(config: DecoderConfig, length: int) -> int:
    """Floating-point operations that training a decoder of any family spends on a token of a text of ``length`` tokens.

    6 for every parameter that multiplies the token, and 12 * layers * heads * head_dim * length for attention:
    Chowdhery et al. 2022, arXiv:2204.02311, appendix B. That a token sees half of its text only is not deducted, as is
    the custom for MFU; of a window no more is counted than it shows. Of experts, those that a token is sent to.
    """
    hidden, q = config.hidden_size, config.num_attention_heads * config.head_dim
    kv = config.num_key_value_heads * config.head_dim
    multiplied, attention = config.vocab_size * hidden, 0
    for layer in config.layers:
        multiplied += hidden * (2 * q + 2 * kv + (config.num_key_value_heads if layer.value_embedding else 0))
        experts = config.experts if layer.sparse else None
        if experts is None:
            multiplied += (3 if config.gated else 2) * hidden * config.intermediate_size
        else:
            multiplied += hidden * (experts.count + 3 * experts.chosen * experts.intermediate_size)
        attention += 12 * q * min(length, layer.window or length)
    return 6 * multiplied + attention
