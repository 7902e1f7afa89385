"""config.json: every value that matters is honoured or refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ownlm.errors import CorruptModel, NotFound, OwnLMError, UnsupportedModel
from ownlm.model.config import ModelConfig, QuantizationConfig
from ownlm.model.pooling import PoolingConfig
from tiny_bert import CONFIG

Q8 = {"quant_method": "ownlm", "format": "q8_0", "block_size": 32}


def load(folder: Path, **changes: object) -> ModelConfig:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    return ModelConfig.load(folder)


def test_values_keep_the_checkpoints_names(tmp_path: Path) -> None:
    config = load(tmp_path, quantization_config={**Q8, "outlier_channels": [1, 5]}, hidden_act="gelu_new")
    assert (config.hidden_size, config.head_size, config.activation) == (32, 8, "gelu_tanh")
    assert config.quantization_config == QuantizationConfig("ownlm", "q8_0", 32, (1, 5))


@pytest.mark.parametrize(
    ("changes", "error", "what"),
    [
        ({"model_type": "llama"}, UnsupportedModel, "model_type is 'llama'; supported: bert"),
        ({"model_type": None}, UnsupportedModel, "supported: bert"),
        ({"model_type": ["bert"]}, UnsupportedModel, "supported: bert"),
        ({"hidden_act": "relu"}, UnsupportedModel, "hidden_act is 'relu'; supported: gelu, gelu_fast"),
        ({"position_embedding_type": "relative_key"}, UnsupportedModel, "position_embedding_type"),
        ({"is_decoder": True}, UnsupportedModel, "is_decoder"),
        ({"quantization_config": {"quant_method": "gptq"}}, UnsupportedModel, "'gptq'.*supported: 'ownlm' with q8_0"),
        ({"quantization_config": {**Q8, "format": "q1"}}, UnsupportedModel, "'q1'"),
        ({"quantization_config": {**Q8, "block_size": 64}}, CorruptModel, "block_size is 64"),
        (
            {"quantization_config": {**Q8, "outlier_channels": [32]}},
            CorruptModel,
            r"outlier_channels is \[32\], not rising",
        ),
        ({"quantization_config": {**Q8, "outlier_channels": [3, 3]}}, CorruptModel, "not rising within 32"),
        ({"quantization_config": {**Q8, "outlier_channels": ["3"]}}, CorruptModel, "not a list of numbers"),
        ({"quantization_config": "q8_0"}, CorruptModel, "not an object"),
        ({"hidden_size": 33}, CorruptModel, "4 num_attention_heads do not divide"),
        ({"hidden_size": "32"}, CorruptModel, "hidden_size is '32'"),
        ({"num_hidden_layers": 0}, CorruptModel, "num_hidden_layers is 0"),
        ({"vocab_size": -1}, CorruptModel, "vocab_size is -1"),
        ({"type_vocab_size": True}, CorruptModel, "type_vocab_size is True"),
        ({"layer_norm_eps": "small"}, CorruptModel, "layer_norm_eps"),
        ({"layer_norm_eps": float("nan")}, CorruptModel, "layer_norm_eps"),
    ],
)
def test_what_cannot_run_says_why(tmp_path: Path, changes: dict, error: type[OwnLMError], what: str) -> None:
    with pytest.raises(error, match=what):
        load(tmp_path, **changes)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", "[" * 100_000])
def test_a_damaged_config_is_corrupt(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CorruptModel, match=r"config\.json"):
        ModelConfig.load(tmp_path)


def test_no_config_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"config\.json is not there"):
        ModelConfig.load(tmp_path)


def pooled(folder: Path, modules: object, pooling: object = None, settings: object = None) -> PoolingConfig:
    (folder / "1_Pooling").mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling or {"pooling_mode_mean_tokens": True}))
    if settings is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps(settings))
    return PoolingConfig.load(folder, load(folder))


def module(kind: str, path: str = "") -> dict[str, str]:
    return {"type": f"sentence_transformers.models.{kind}", "path": path}


STEPS = [module("Transformer"), module("Pooling", "1_Pooling"), module("Normalize")]


def test_pooling_is_what_the_folder_says(tmp_path: Path) -> None:
    assert PoolingConfig.load(tmp_path, load(tmp_path)) == PoolingConfig("mean", 24)
    assert pooled(tmp_path, STEPS, settings={"max_seq_length": 9}) == PoolingConfig("mean", 9)


def test_newer_folders_state_the_length_with_the_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 7}))
    assert pooled(tmp_path, STEPS, {"pooling_mode": "mean"}, {}) == PoolingConfig("mean", 7)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 10**30}))
    assert PoolingConfig.load(tmp_path, load(tmp_path)).max_length == 24


def test_a_model_that_expects_a_prompt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"default_prompt_name": "query"}))
    with pytest.raises(UnsupportedModel, match="default_prompt_name"):
        pooled(tmp_path, STEPS)


@pytest.mark.parametrize(
    ("modules", "pooling", "settings", "error", "what"),
    [
        (STEPS, {"pooling_mode_cls_token": True}, None, UnsupportedModel, "cls_token"),
        ([*STEPS, module("Dense", "2_Dense")], None, None, UnsupportedModel, "Dense"),
        (STEPS[:1], None, None, UnsupportedModel, "supported"),
        ([module("Transformer"), module("Pooling", "../x")], None, None, CorruptModel, "no folder of the model"),
        ([1], None, None, CorruptModel, "damaged"),
        (STEPS, None, {"max_seq_length": 25}, CorruptModel, "max_seq_length is 25"),
        (STEPS, None, {"max_seq_length": "9"}, CorruptModel, "max_seq_length is '9'"),
    ],
)
def test_other_pooling_is_refused(
    tmp_path: Path, modules: object, pooling: object, settings: object, error: type[OwnLMError], what: str
) -> None:
    with pytest.raises(error, match=what):
        pooled(tmp_path, modules, pooling, settings)
