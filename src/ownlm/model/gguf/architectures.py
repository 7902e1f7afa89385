"""What GGUF calls a family's keys and tensors, and what the Hugging Face layout calls them.

One table a family, read in both directions. ``keys`` pairs a metadata key (after ``ARCHITECTURE.``) with a name in
``config.json``; ``layers`` and ``model`` pair tensors, without ``.weight`` and ``.bias``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ownlm.model.gguf.types import Kind


@dataclass(frozen=True, slots=True)
class Key:
    """A metadata key and the setting it is; ``required`` of a file that is read."""

    key: str
    setting: str
    kind: Kind
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How GGUF stores a family."""

    name: str
    model_type: str
    keys: tuple[Key, ...]
    layers: Mapping[str, str]
    model: Mapping[str, str]
    activation: str = "silu"
    layer_prefix: str = "model.layers"
    permuted: bool = False
    """Rows of q and k are stored so that rotary pairs are neighbours."""
    norm_offset: bool = False
    """Norms are stored with the 1 that their family adds to them."""
    transposed: bool = False
    """Matrices of the layers are [in, out] in the Hugging Face layout (GPT-2's Conv1D)."""
    experts: tuple[str, str, str] | None = None
    """Gate, down and up projection of expert {e} under Hugging Face's names; GGUF stacks the experts."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Settings that this architecture implies, and no key can change."""


_HEAD = (
    Key("context_length", "max_position_embeddings", "u32"),
    Key("embedding_length", "hidden_size", "u32"),
    Key("block_count", "num_hidden_layers", "u32"),
    Key("attention.head_count", "num_attention_heads", "u32"),
    Key("attention.head_count_kv", "num_key_value_heads", "u32", required=False),
    Key("attention.key_length", "head_dim", "u32", required=False),
    Key("attention.layer_norm_rms_epsilon", "rms_norm_eps", "f32"),
)
_INNER = Key("feed_forward_length", "intermediate_size", "u32")
_WINDOW = Key("attention.sliding_window", "sliding_window", "u32", required=False)
_DENSE = (*_HEAD, _INNER)
_EXPERT_COUNTS = (
    Key("expert_count", "num_local_experts", "u32"),
    Key("expert_used_count", "num_experts_per_tok", "u32"),
)

_MODEL = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_ATTENTION = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
}
_QK_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_MLP = {"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
_PRE_NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_POST_NORMS = {"post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm"}
_LLAMA = {**_PRE_NORMS, **_ATTENTION, **_MLP}
_GEMMA = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    **_POST_NORMS,
    **_ATTENTION,
    **_MLP,
}

LLAMA = Architecture(
    name="llama", model_type="llama", keys=(*_DENSE, _WINDOW), layers=_LLAMA, model=_MODEL, permuted=True
)
MIXTRAL = Architecture(
    name="llama",
    model_type="mixtral",
    keys=(*_DENSE, *_EXPERT_COUNTS, _WINDOW),
    layers={**_PRE_NORMS, **_ATTENTION, "ffn_gate_inp": "block_sparse_moe.gate"},
    model=_MODEL,
    permuted=True,
    experts=tuple(f"block_sparse_moe.experts.{{e}}.{name}" for name in ("w1", "w2", "w3")),  # type: ignore[arg-type]
)
_OTHERS = (
    Architecture(name="qwen2", model_type="qwen2", keys=_DENSE, layers=_LLAMA, model=_MODEL),
    Architecture(name="qwen3", model_type="qwen3", keys=_DENSE, layers={**_LLAMA, **_QK_NORMS}, model=_MODEL),
    Architecture(
        name="qwen3moe",
        model_type="qwen3_moe",
        keys=(
            *_DENSE,
            Key("expert_count", "num_experts", "u32"),
            Key("expert_used_count", "num_experts_per_tok", "u32"),
            Key("expert_feed_forward_length", "moe_intermediate_size", "u32"),
        ),
        layers={**_PRE_NORMS, **_ATTENTION, **_QK_NORMS, "ffn_gate_inp": "mlp.gate"},
        model=_MODEL,
        experts=("mlp.experts.{e}.gate_proj", "mlp.experts.{e}.down_proj", "mlp.experts.{e}.up_proj"),
        fixed={"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
    ),
    Architecture(
        name="gemma2",
        model_type="gemma2",
        keys=(
            *_DENSE,
            Key("attention.sliding_window", "sliding_window", "u32"),
            Key("attn_logit_softcapping", "attn_logit_softcapping", "f32"),
            Key("final_logit_softcapping", "final_logit_softcapping", "f32"),
        ),
        layers=_GEMMA,
        model=_MODEL,
        activation="gelu_pytorch_tanh",
        norm_offset=True,
    ),
    Architecture(
        name="gemma3",
        model_type="gemma3_text",
        keys=(
            *_DENSE,
            Key("attention.sliding_window", "sliding_window", "u32"),
            Key("final_logit_softcapping", "final_logit_softcapping", "f32", required=False),
        ),
        layers={**_GEMMA, **_QK_NORMS},
        model=_MODEL,
        activation="gelu_pytorch_tanh",
        norm_offset=True,
        fixed={"attn_logit_softcapping": None},
    ),
    Architecture(
        name="phi3",
        model_type="phi3",
        keys=(*_DENSE, _WINDOW),
        layers={
            **_PRE_NORMS,
            "attn_qkv": "self_attn.qkv_proj",
            "attn_output": "self_attn.o_proj",
            "ffn_up": "mlp.gate_up_proj",
            "ffn_down": "mlp.down_proj",
        },
        model=_MODEL,
    ),
    Architecture(
        name="olmo2",
        model_type="olmo2",
        keys=_DENSE,
        layers={**_POST_NORMS, **_ATTENTION, **_MLP, **_QK_NORMS},
        model=_MODEL,
    ),
    Architecture(
        name="granite",
        model_type="granite",
        keys=(
            *_DENSE,
            Key("attention.scale", "attention_multiplier", "f32"),
            Key("embedding_scale", "embedding_multiplier", "f32"),
            Key("residual_scale", "residual_multiplier", "f32"),
            Key("logit_scale", "logits_scaling", "f32"),
        ),
        layers=_LLAMA,
        model=_MODEL,
        permuted=True,
    ),
    Architecture(name="smollm3", model_type="smollm3", keys=_DENSE, layers=_LLAMA, model=_MODEL, permuted=True),
    Architecture(
        name="gpt-oss",
        model_type="gpt_oss",
        keys=(
            *_HEAD,
            Key("expert_feed_forward_length", "intermediate_size", "u32"),
            *_EXPERT_COUNTS,
            Key("attention.sliding_window", "sliding_window", "u32"),
        ),
        layers={
            "attn_norm": "input_layernorm",
            "post_attention_norm": "post_attention_layernorm",
            **_ATTENTION,
            "attn_sinks": "self_attn.sinks",
            "ffn_gate_inp": "mlp.router",
        },
        model=_MODEL,
        fixed={"attention_bias": True, "swiglu_limit": 7.0},
    ),
    Architecture(
        name="gpt2",
        model_type="gpt2",
        keys=(
            Key("context_length", "n_positions", "u32"),
            Key("embedding_length", "n_embd", "u32"),
            Key("block_count", "n_layer", "u32"),
            Key("feed_forward_length", "n_inner", "u32"),
            Key("attention.head_count", "n_head", "u32"),
            Key("attention.layer_norm_epsilon", "layer_norm_epsilon", "f32"),
        ),
        layers={
            "attn_norm": "ln_1",
            "ffn_norm": "ln_2",
            "attn_qkv": "attn.c_attn",
            "attn_output": "attn.c_proj",
            "ffn_up": "mlp.c_fc",
            "ffn_down": "mlp.c_proj",
        },
        model={
            "token_embd": "transformer.wte",
            "position_embd": "transformer.wpe",
            "output_norm": "transformer.ln_f",
            "output": "lm_head",
        },
        activation="gelu_new",
        layer_prefix="transformer.h",
        transposed=True,
        fixed={
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "reorder_and_upcast_attn": False,
        },
    ),
)

# By GGUF's name ("llama" covers Mixtral: see ``gguf.config``), and by the model_type of config.json.
BY_NAME: Mapping[str, Architecture] = {architecture.name: architecture for architecture in (LLAMA, *_OTHERS)}
BY_MODEL_TYPE: Mapping[str, Architecture] = {
    **{architecture.model_type: architecture for architecture in (LLAMA, MIXTRAL, *_OTHERS)},
    "mistral": LLAMA,
}


def sliding_layers(architecture: Architecture, layers: int, pattern: int | None = None) -> list[str] | None:
    """``layer_types`` that the architecture implies: every ``pattern``-th layer attends fully; None if all do."""
    every = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2}.get(architecture.name)
    if every is None:
        return None
    every = pattern or every
    return ["full_attention" if (layer + 1) % every == 0 else "sliding_attention" for layer in range(layers)]


def query_scale(architecture: Architecture, config: Mapping[str, Any]) -> float:
    """``query_pre_attn_scalar`` of a Gemma model, which GGUF does not state: it follows from the size."""
    largest = {"gemma2": 46, "gemma3": 62}[architecture.name]  # the 27B models
    head: int = config["head_dim"]
    if config["num_hidden_layers"] == largest:
        return int(config["hidden_size"]) // int(config["num_attention_heads"])
    return head
