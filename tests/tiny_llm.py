"""A whole language model of a few thousand random weights, in the Hugging Face layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizer_kinds

from ownlm.model import checkpoint
from ownlm.model.safetensors import Tensor

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS = 64, 96, 2, 4, 2
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_tiny_llm(folder: Path, *, seed: int = 0, scale: float = 0.3, chat: bool = True, **config: Any) -> Path:
    """A Llama with a tokenizer, ChatML and a generation_config.json. ``config``: changes to its config.json."""
    tokenizer_kinds.byte_level(folder)
    entries = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    ends = {token["content"]: token["id"] for token in entries["added_tokens"]}
    vocabulary = max(*entries["model"]["vocab"].values(), *ends.values()) + 5  # padded, as many are
    settings = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": vocabulary, "hidden_size": HIDDEN,
        "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "hidden_act": "silu",
        "rope_theta": 10000.0, "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": ends["<|im_end|>"],
    } | config  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [ends["<|im_end|>"]]}))
    if chat:
        (folder / "chat_template.jinja").write_text(CHATML)
    chance = np.random.default_rng(seed)
    hidden, inner, layers = (settings[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    kept = hidden // settings["num_attention_heads"] * settings["num_key_value_heads"]
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "lm_head.weight": (vocabulary, hidden)}
    for layer in range(layers):
        at = f"model.layers.{layer}"
        shapes |= {
            f"{at}.self_attn.q_proj.weight": (hidden, hidden),
            f"{at}.self_attn.k_proj.weight": (kept, hidden),
            f"{at}.self_attn.v_proj.weight": (kept, hidden),
            f"{at}.self_attn.o_proj.weight": (hidden, hidden),
            f"{at}.mlp.gate_proj.weight": (inner, hidden),
            f"{at}.mlp.up_proj.weight": (inner, hidden),
            f"{at}.mlp.down_proj.weight": (hidden, inner),
        }
    tensors = {name: chance.normal(0, scale, shape).astype(np.float32) for name, shape in shapes.items()}
    norms = ["model.norm.weight"]
    for layer in range(layers):
        norms += [f"model.layers.{layer}.{name}.weight" for name in ("input_layernorm", "post_attention_layernorm")]
    tensors |= {name: np.ones(hidden, np.float32) for name in norms}
    checkpoint.write(folder, {name: Tensor(name, "F32", values) for name, values in tensors.items()})
    return folder
