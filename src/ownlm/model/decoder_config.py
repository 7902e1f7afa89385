"""What a decoder-only transformer is, said once for every family: ``decoder_families`` reads it from config.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ownlm.model.rope import Rope

GatedActivation = Literal["silu", "gelu", "gelu_tanh", "swiglu_oai"]
"""What is done to the gate before it multiplies; ``swiglu_oai`` is gpt-oss's, which also clamps and shifts."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerConfig:
    """What sets a layer apart: ``window`` in tokens that it sees back (itself counted), None for all; no rotation
    without ``rope``; ``sparse``: its feed-forward is a mixture of experts; ``value_embedding``: its values are added a
    gated row of a table by token."""

    window: int | None = None
    rope: Rope | None = None
    sparse: bool = False
    value_embedding: bool = False


@dataclass(frozen=True, slots=True)
class ExpertsConfig:
    """A mixture of experts: ``chosen`` of ``count`` see a token.

    Their weights are the softmax over all experts, made to sum to 1 if ``normalize``; or the softmax over those chosen
    alone (``softmax_of_chosen``).
    """

    count: int
    chosen: int
    intermediate_size: int
    activation: GatedActivation
    normalize: bool = False
    softmax_of_chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecoderConfig:
    """A decoder. Where a family has no such thing, the default says so.

    ``norm`` is "rms" or "layer"; ``norm_offset`` is added to RMS weights; ``norm_placement`` is "pre", "post" (on
    what a block adds) or "both"; ``qk_norm`` is "", "head" or "row" (over all heads of a token). ``activation`` is
    the gate's; where there is none (``gated``) it is that of the one projection, and may be "relu2", max(0, x)^2.
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    layers: tuple[LayerConfig, ...]
    norm_eps: float
    norm: Literal["rms", "layer"] = "rms"
    norm_offset: float = 0.0
    norm_placement: Literal["pre", "post", "both"] = "pre"
    qk_norm: Literal["", "head", "row"] = ""
    activation: GatedActivation | Literal["relu2"] = "silu"
    gated: bool = True
    experts: ExpertsConfig | None = None
    attention_scale: float
    attention_bias: Literal["", "qkv", "all"] = ""
    mlp_bias: bool = False
    attention_sinks: bool = False
    attention_softcap: float | None = None
    final_softcap: float | None = None
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logits_scale: float = 1.0
    learned_positions: bool = False
    tie_word_embeddings: bool = False
    nested: bool = False
    """The text part of a multimodal checkpoint, whose other parts are not read."""

    @property
    def num_hidden_layers(self) -> int:
        """How many layers there are."""
        return len(self.layers)
