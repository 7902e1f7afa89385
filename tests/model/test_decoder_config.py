"""Configs: what a family presumes, nested ones, and any JSON at all in the place of any setting."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ownlm.errors import CorruptModel, OwnLMError, UnsupportedModel
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config, supported

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import EVERY, folder  # noqa: E402


def comparable(config: DecoderConfig) -> dict[str, Any]:
    """All that a config says, with arrays as lists."""
    found = {name: getattr(config, name) for name in DecoderConfig.__slots__ if name not in ("layers", "nested")}
    found["layers"] = [
        (
            layer.window,
            layer.sparse,
            layer.rope and (layer.rope.inverse_frequencies.tolist(), layer.rope.attention_factor),
        )
        for layer in config.layers
    ]
    return found


@pytest.mark.parametrize("kind", [kind for kind in supported() if kind != "ownlm"])  # which transformers has not
def test_silence_means_what_it_means_to_transformers(kind: str) -> None:
    """All that transformers would write, and nothing but the family's name, are one model."""
    stated = transformers.AutoConfig.for_model(kind).to_dict()
    ours, theirs = decoder_config({"model_type": kind}, "m"), decoder_config(stated, "m")
    assert comparable(ours) == comparable(theirs)
    nested = decoder_config({"model_type": "some-vl", "text_config": {"model_type": kind}, "vision_config": {}}, "m")
    assert nested.nested and comparable(nested) == comparable(theirs)


@pytest.mark.parametrize(
    ("family", "old"),
    [
        ("llama3", {"rope_theta": 5e5, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64}}),
        ("qwen2_yarn", {"rope_theta": 1e6, "rope_scaling": {
            "type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}}),
        ("gemma3", {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": {
            "rope_type": "linear", "factor": 8.0}}),
        ("phi3_longrope", {"rope_theta": 1e4, "partial_rotary_factor": 0.75, "rope_scaling": {
            "type": "su", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
            "long_factor": [1.0, 1.5, 2.0, 4.0, 8.0, 16.0]}}),
        ("mistral", {"rope_theta": 1e4, "rope_scaling": None}),
    ],
)  # fmt: skip
def test_rope_settings_of_old_files_are_those_of_new_ones(family: str, old: dict[str, Any]) -> None:
    new = json.loads((folder(family) / "config.json").read_text())
    before = {name: value for name, value in new.items() if name not in ("rope_parameters", "layer_types")} | old
    assert comparable(decoder_config(before, "m")) == comparable(decoder_config(new, "m"))


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=6)
    | st.sampled_from([0, 1, 2, -1, 1e-300, 1e308, "yarn", "sliding_attention", "silu"]),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["rope_type", "type", "factor", "rope_theta", "full_attention", "sliding_attention",
                         "short_factor", "long_factor", "original_max_position_embeddings", "beta_fast", "x"]),
        inner, max_size=5),
    max_leaves=8,
)  # fmt: skip
NAMES = (
    "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "hidden_act", "hidden_activation",
    "tie_word_embeddings", "rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor", "layer_types",
    "sliding_window", "use_sliding_window", "max_window_layers", "sliding_window_pattern", "_sliding_window_pattern",
    "no_rope_layers", "no_rope_layer_interval", "num_experts", "num_local_experts", "num_experts_per_tok",
    "moe_intermediate_size", "decoder_sparse_step", "mlp_only_layers", "norm_topk_prob", "query_pre_attn_scalar",
    "attn_logit_softcapping", "final_logit_softcapping", "attention_bias", "mlp_bias", "logits_scaling",
    "attention_multiplier", "embedding_multiplier", "residual_multiplier", "quantization_config", "text_config",
    "n_embd", "n_layer", "n_head", "n_inner", "n_positions", "layer_norm_epsilon", "activation_function",
    "scale_attn_weights", "rope_local_base_freq", "value_embedding_layers", "original_max_position_embeddings",
    "swiglu_limit",
)  # fmt: skip


@given(st.sampled_from(EVERY), st.dictionaries(st.sampled_from(NAMES), ANY, min_size=1, max_size=3))
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_a_config_or_an_error_of_ours(family: str, values: dict[str, Any]) -> None:
    stated = json.loads((folder(family) / "config.json").read_text())
    try:
        config = decoder_config({**stated, **values}, "folder/m")
    except OwnLMError as error:
        assert str(error).startswith("folder/m: ") and "\n" not in str(error)
    else:
        assert config.num_hidden_layers == len(config.layers) > 0 and config.head_dim > 0


def test_what_a_multimodal_file_says_at_its_top_counts() -> None:
    raw = {
        "model_type": "llava",
        "text_config": {"model_type": "llama"},
        "quantization_config": {"quant_method": "gptq"},
    }
    with pytest.raises(UnsupportedModel, match="gptq"):
        decoder_config(raw, "m")
    raw = {"model_type": "llava", "text_config": {"model_type": "llama"}, "tie_word_embeddings": True}
    assert decoder_config(raw, "m").tie_word_embeddings
    with pytest.raises(UnsupportedModel, match=r"'mllama_text_model'; supported: .*llama"):
        decoder_config({"model_type": "mllama", "text_config": {"model_type": "mllama_text_model"}}, "m")


@pytest.mark.parametrize(
    ("name", "value"), [("num_hidden_layers", 2**31 - 1), ("hidden_size", 2**30), ("head_dim", 2**30)]
)
def test_sizes_that_no_memory_would_hold_are_refused_at_once(name: str, value: int) -> None:
    with pytest.raises(CorruptModel, match=name):
        decoder_config({"model_type": "qwen3", "num_attention_heads": 1, name: value}, "m")
