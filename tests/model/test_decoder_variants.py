"""Settings that a family has beside those of its tiny model, each against transformers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import Forward, Logits, relative, text
from tiny_families import LLAMA3, LONGROPE, YARN, save

from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.model.ops.native import NativeOps

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"mlp_bias": True, "attention_bias": True, "num_key_value_heads": 1}),
    ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 3.0}, "hidden_act": "gelu"}),
    ("llama", {"rope_parameters": {**YARN, "attention_factor": 1.25, "beta_fast": 16.0, "beta_slow": 2.0}}),
    ("llama", {"rope_parameters": {**YARN, "factor": 1.0}, "rms_norm_eps": 1e-3}),
    ("llama3", {"rope_parameters": {**LLAMA3, "low_freq_factor": 2.0, "high_freq_factor": 16.0}}),
    ("llama", {"pretraining_tp": 2}),  # the same sums in another order; SmolLM3 states it
    ("mistral", {"sliding_window": 1}),
    ("mistral", {"sliding_window": None, "num_attention_heads": 6, "num_key_value_heads": 3}),
    ("mixtral", {"sliding_window": 24, "num_experts_per_tok": 1}),
    ("mixtral", {"num_experts_per_tok": 4}),
    ("qwen2", {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1, "num_hidden_layers": 3}),
    ("qwen2", {"use_sliding_window": False, "sliding_window": 20, "tie_word_embeddings": True}),
    ("qwen3", {"attention_bias": True, "tie_word_embeddings": False}),
    ("qwen3", {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}),
    ("qwen3_moe", {"norm_topk_prob": False, "num_experts_per_tok": 3}),
    ("qwen3_moe", {"num_hidden_layers": 4, "decoder_sparse_step": 2}),
    ("qwen3_moe", {"num_hidden_layers": 3, "mlp_only_layers": [1], "attention_bias": True}),
    ("gemma2", {"num_hidden_layers": 3, "attn_logit_softcapping": None, "query_pre_attn_scalar": 50}),
    ("gemma2", {"final_logit_softcapping": None, "attention_bias": True}),
    ("gemma3", {"final_logit_softcapping": 5.0, "num_hidden_layers": 3,
                "layer_types": ["full_attention", "sliding_attention", "full_attention"]}),
    ("phi3", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}),
    ("phi3_longrope", {"rope_parameters": {**LONGROPE, "attention_factor": 1.5}, "sliding_window": 30}),
    ("phi3_longrope", {"tie_word_embeddings": True, "num_key_value_heads": 4}),
    ("olmo2", {"attention_bias": True, "num_key_value_heads": 4, "tie_word_embeddings": True}),
    ("granite", {"attention_bias": True, "mlp_bias": True}),
    ("smollm3", {"no_rope_layers": [0, 1, 1, 0, 1], "attention_bias": True, "mlp_bias": True}),
    ("smollm3", {"use_sliding_window": True, "sliding_window": 20, "no_rope_layer_interval": 2}),
    ("gpt2", {"activation_function": "gelu", "n_inner": 80, "scale_attn_weights": False}),
    ("gpt2", {"layer_norm_epsilon": 1e-2, "tie_word_embeddings": False}),
    ("gpt_oss", {"num_experts_per_tok": 3, "num_hidden_layers": 3, "rope_parameters": {**YARN, "truncate": True}}),
]  # fmt: skip


def theirs(path: Path, ids: Any) -> Logits:
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(path, attn_implementation="eager").eval()
    with torch.no_grad():
        logits: Logits = model(torch.tensor(ids[None].astype(np.int64))).logits[0].float().numpy()
    return logits


@pytest.mark.parametrize(("family", "changes"), VARIANTS, ids=[f"{f}-{'-'.join(c)}" for f, c in VARIANTS])
def test_logits_are_those_of_transformers(family: str, changes: dict[str, Any], tmp_path: Path) -> None:
    path, ids = save(tmp_path / "m", family, **changes), text(5)
    want = theirs(path, ids)
    for within, ops in ((1e-4, None), (2e-3, NativeOps(cache_format="f32"))):
        forward = Forward(path, ops=ops)
        assert relative(forward.run((0, ids, 0)), want) < within
        parts = [forward.run((1, ids[:51], 0)), forward.run((1, ids[51:95], 51))]
        parts += [forward.run((1, ids[at : at + 1], at)) for at in range(95, len(ids))]
        assert relative(np.concatenate(parts), want) < within


def test_short_factors_where_no_text_is_long(tmp_path: Path) -> None:
    path, ids = save(tmp_path / "m", "phi3_longrope"), text(5, 64)
    forward = Forward(path, lambda _: decoder_config(checkpoint.raw_config(path), path, 64))
    assert relative(forward.run((0, ids, 0)), theirs(path, ids)) < 1e-4
    assert relative(Forward(path).run((0, ids, 0)), theirs(path, ids)) > 1e-2


@pytest.mark.parametrize(
    ("family", "outer", "text_of", "head_of"),
    [
        ("llama", "llava", "language_model.model.", "language_model.lm_head."),
        ("llama", "idefics3", "model.text_model.", "lm_head."),
        ("mistral", "mistral3", "model.language_model.", "lm_head."),
        ("qwen2", "llava_next", "language_model.model.", "language_model.lm_head."),
        ("gemma2", "paligemma", "model.language_model.", "lm_head."),
        ("granite", "llava_next", "model.language_model.", "lm_head."),
    ],
)
def test_text_parts_of_multimodal_checkpoints(
    family: str, outer: str, text_of: str, head_of: str, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    source, target = save(tmp_path / "m", family), tmp_path / "n"
    target.mkdir()
    config = json.loads((source / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({"model_type": outer, "text_config": config, "vision_config": {}}))
    tensors = {
        name.replace("model.", text_of, 1) if name.startswith("model.") else name.replace("lm_head.", head_of): values
        for name, values in load_file(source / "model.safetensors").items()
    }
    beside = {"model.vision_tower.w": np.zeros(2, np.float32), "multi_modal_projector.w": np.zeros(2, np.float32)}
    save_file(tensors | beside, target / "model.safetensors")
    ids = text(5)
    assert relative(Forward(target).run((0, ids, 0)), theirs(source, ids)) < 1e-4
