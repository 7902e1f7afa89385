"""A tiny random research decoder ("ownlm"), and its logits by transformers' Qwen3 with three parts changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.model import safetensors

SIZES: dict[str, Any] = {
    "model_type": "ownlm", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "relu2", "value_embedding_layers": [0, 2],
    "final_logit_softcapping": 4.0, "tie_word_embeddings": True,
}  # fmt: skip
"""A cap that logits reach, so that one that is forgotten shows."""


def save(folder: Path, **changes: object) -> Path:
    """A folder with random weights; the norms' are near 1, not equal to it."""
    config = {**SIZES, **changes}
    rng, tensors = np.random.default_rng(0), {}
    for name, shape in shapes(config).items():
        drawn = rng.standard_normal(shape, np.float32)
        tensors[name] = ("F32", 1 + 0.1 * drawn if len(shape) == 1 else 0.2 * drawn)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.write(folder / "model.safetensors", tensors)
    return folder


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor by name."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        for name, rows, columns in (("q", q, hidden), ("k", kv, hidden), ("v", kv, hidden), ("o", hidden, q)):
            found[f"{at}.self_attn.{name}_proj.weight"] = (rows, columns)
        found |= {f"{at}.self_attn.{name}_norm.weight": (head,) for name in "qk"}
        found |= {f"{at}.{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
        found[f"{at}.mlp.up_proj.weight"] = (inner, hidden)
        found[f"{at}.mlp.down_proj.weight"] = (hidden, inner)
        if layer in config["value_embedding_layers"]:
            found[f"{at}.self_attn.value_gate.weight"] = (config["num_key_value_heads"], hidden)
            found[f"{at}.self_attn.value_embedding.weight"] = (config["vocab_size"], kv)
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    return found


def logits(folder: Path, ids: NDArray[np.int32]) -> NDArray[np.float32]:
    """[T, V] of a text, all at once."""
    found: NDArray[np.float32] = Reference(folder).logits(ids).detach().numpy()
    return found


class Reference:
    """transformers' Qwen3 with another feed-forward, values that a table adds to, and capped logits."""

    def __init__(self, folder: Path) -> None:
        import torch
        import transformers

        self.config = json.loads((folder / "config.json").read_text())
        kept = {name: value for name, value in self.config.items() if name not in ("model_type", "hidden_act")}
        stored = safetensors.read(folder / "model.safetensors").tensors
        self.weights = {
            name: torch.from_numpy(np.array(tensor.float32())).requires_grad_() for name, tensor in stored.items()
        }
        self.model: Any = transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(**kept, attn_implementation="eager")
        ).eval()
        own = self.model.model
        known = {name: self.weights.get(f"model.{name}") for name in own.state_dict()}
        own.load_state_dict({name: value.detach() for name, value in known.items() if value is not None}, strict=False)
        for index, layer in enumerate(own.layers):
            at = f"model.layers.{index}"
            layer.mlp.forward = self._feed_forward(f"{at}.mlp")
            if index in self.config["value_embedding_layers"]:
                layer.self_attn.v_proj.forward = self._values(f"{at}.self_attn")
        self.names = {f"model.{name}": parameter for name, parameter in own.named_parameters()}

    def logits(self, ids: NDArray[np.int32]) -> Any:
        """[T, V], a tensor with its graph."""
        import torch

        self.ids = torch.from_numpy(ids.astype(np.int64))
        x = self.model.model(self.ids[None]).last_hidden_state[0]
        tied = self.names["model.embed_tokens.weight"]
        raw = x @ self.weights.get("lm_head.weight", tied).T
        cap = self.config["final_logit_softcapping"]
        return raw if cap is None else cap * torch.tanh(raw / cap)

    def gradient(self, name: str) -> Any:
        """Of a tensor of the checkpoint, after a backward pass."""
        return self.weights[name].grad if self.weights[name].grad is not None else self.names[name].grad

    def _feed_forward(self, at: str) -> Any:
        up, down = self.weights[f"{at}.up_proj.weight"], self.weights[f"{at}.down_proj.weight"]
        return lambda x: (x @ up.T).clamp(min=0) ** 2 @ down.T

    def _values(self, at: str) -> Any:
        import torch

        project, gate = self.weights[f"{at}.v_proj.weight"], self.weights[f"{at}.value_gate.weight"]
        table, head = self.weights[f"{at}.value_embedding.weight"], self.config["head_dim"]

        def values(x: Any) -> Any:
            gates = 2 / (1 + torch.exp(-(x @ gate.T)))
            return x @ project.T + gates.repeat_interleave(head, dim=-1) * table[self.ids]

        return values
