"""Every family's decoder against transformers, and what would happen if a feature of it were forgotten."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model import checkpoint
from ownlm.model.decoder_config import DecoderConfig, LayerConfig
from ownlm.model.decoder_families import decoder_config, supported
from ownlm.model.gguf.export import export
from ownlm.model.ops import load
from ownlm.model.ops.base import Ops
from ownlm.model.ops.native import NativeOps
from ownlm.model.params import DecoderParams, LinearWeight, Matrix
from ownlm.model.rope import Rope

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import EVERY, Forward, check_ways, expected, folder, relative, text  # noqa: E402
from tiny_families import FAMILIES  # noqa: E402

from ownlm.model.ops.torch import TorchOps  # noqa: E402

WITHIN = 1e-4


@pytest.mark.parametrize("family", EVERY)
def test_logits_are_those_of_transformers(family: str) -> None:
    assert expected(family, 1).std() >= 1
    check_ways(Forward(folder(family)), family, WITHIN)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("family", EVERY)
def test_a_gpu_gives_the_same_logits(family: str) -> None:
    check_ways(Forward(folder(family), ops=TorchOps("cuda")), family, WITHIN)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gguf_file_gives_the_same_logits(family: str, tmp_path: Path) -> None:
    export(folder(family), tmp_path / "m.gguf")
    assert relative(Forward(tmp_path / "m.gguf").run((0, text(1), 0)), expected(family, 1)) < WITHIN


def changed(**values: Any) -> Callable[[DecoderConfig], DecoderConfig]:
    return lambda config: dataclasses.replace(config, **values)


def layers(**values: Any) -> Callable[[DecoderConfig], DecoderConfig]:
    return lambda config: dataclasses.replace(
        config, layers=tuple(dataclasses.replace(layer, **values) for layer in config.layers)
    )


def wider(config: DecoderConfig) -> DecoderConfig:
    """Off by one: the window holds the token itself."""
    return dataclasses.replace(
        config,
        layers=tuple(dataclasses.replace(layer, window=layer.window and layer.window + 1) for layer in config.layers),
    )


def unscaled(config: DecoderConfig) -> DecoderConfig:
    """The frequencies that the model would have without its rope scaling."""
    theta = {"llama3": 5e5, "qwen2_yarn": 1e6, "gpt_oss": 15e4, "phi3_longrope": 1e4, "gemma3": 1e6}

    def plain(layer: Any) -> Any:
        size = 2 * len(layer.rope.inverse_frequencies)
        base = next(theta[name] for name in theta if name.startswith(config.model_type.removesuffix("_text")))
        inverse = (1 / base ** (np.arange(0, size, 2) / size)).astype(np.float32)
        return dataclasses.replace(layer, rope=dataclasses.replace(layer.rope, inverse_frequencies=inverse))

    return dataclasses.replace(config, layers=tuple(map(plain, config.layers)))


def each_rope(change: Callable[[Rope], Rope]) -> Callable[[DecoderConfig], DecoderConfig]:
    def layer(found: LayerConfig) -> LayerConfig:
        return dataclasses.replace(found, rope=found.rope and change(found.rope))

    return lambda config: dataclasses.replace(config, layers=tuple(map(layer, config.layers)))


factor_of_one = each_rope(lambda rope: dataclasses.replace(rope, attention_factor=1.0))
turning_all = each_rope(
    lambda rope: dataclasses.replace(
        rope, inverse_frequencies=np.concatenate([rope.inverse_frequencies, rope.inverse_frequencies[-2:]])
    )
)


def same_rope(config: DecoderConfig) -> DecoderConfig:
    """Every layer turns as those do that see all."""
    whole = next(layer.rope for layer in config.layers if layer.window is None)
    return layers(rope=whole)(config)


def the_other_layers(config: DecoderConfig) -> DecoderConfig:
    return dataclasses.replace(config, layers=config.layers[::-1])


def experts(**values: Any) -> Callable[[DecoderConfig], DecoderConfig]:
    def change(config: DecoderConfig) -> DecoderConfig:
        assert config.experts is not None
        return dataclasses.replace(config, experts=dataclasses.replace(config.experts, **values))

    return change


FAULTS: list[tuple[str, str, Callable[[DecoderConfig], DecoderConfig]]] = [
    ("window", "mistral", layers(window=None)),
    ("window of one more", "gemma2", wider),
    ("softcap of scores", "gemma2", changed(attention_softcap=None)),
    ("softcap of logits", "gemma2", changed(final_softcap=None)),
    ("rope scaling, Llama 3", "llama3", unscaled),
    ("rope scaling, YaRN", "qwen2_yarn", unscaled),
    ("rope scaling, linear", "gemma3", unscaled),
    ("rope scaling, LongRoPE", "phi3_longrope", unscaled),
    ("rope in every layer", "smollm3",
     lambda config: dataclasses.replace(config, layers=(config.layers[0],) * len(config.layers))),
    ("norm offset", "gemma3", changed(norm_offset=0.0)),
    ("scale of embeddings", "gemma2", changed(embedding_scale=1.0)),
    ("scale of residuals", "granite", changed(residual_scale=1.0)),
    ("scale of attention", "granite", changed(attention_scale=0.25)),
    ("activation", "gemma2", changed(activation="silu")),
    ("epsilon of norms", "olmo2", changed(norm_eps=1e-1)),
    ("scale of logits", "granite", changed(logits_scale=1.0)),
    ("rope of sliding layers", "gemma3", same_rope),
    ("factor of YaRN", "qwen2_yarn", factor_of_one),
    ("factor of LongRoPE", "phi3_longrope", factor_of_one),
    ("part that turns", "phi3_longrope", turning_all),
    ("which layers slide", "gpt_oss", the_other_layers),
    ("weights of experts", "qwen3_moe", experts(normalize=False)),
    ("how many experts", "mixtral", experts(chosen=1)),
    ("softmax of those chosen", "gpt_oss", experts(softmax_of_chosen=False)),
    ("activation of experts", "gpt_oss", experts(activation="silu")),
    ("squared ReLU", "ownlm", changed(activation="gelu")),
    ("softcap of the research decoder", "ownlm", changed(final_softcap=None)),
]  # fmt: skip


SIDES: dict[str, Callable[[], Ops]] = {
    "torch": lambda: load("torch"),
    "native": lambda: NativeOps(cache_format="f32"),
}
MARGIN = 5  # times what the tests of parity allow: a fault is no matter of rounding
ALLOWED = {"torch": WITHIN, "native": 2e-3}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("feature", "family", "fault"), FAULTS, ids=[name for name, _, _ in FAULTS])
def test_a_forgotten_feature_shows(
    feature: str, family: str, fault: Callable[[DecoderConfig], DecoderConfig], side: str
) -> None:
    ours = Forward(folder(family), fault, SIDES[side]()).run((0, text(1), 0))
    assert relative(ours, expected(family, 1)) > MARGIN * ALLOWED[side], feature


def without(**values: Any) -> Callable[[DecoderParams], DecoderParams]:
    """The layers without some of their weights."""
    return lambda params: dataclasses.replace(
        params, layers=tuple(dataclasses.replace(layer, **values) for layer in params.layers)
    )


def without_bias(params: DecoderParams) -> DecoderParams:
    return dataclasses.replace(
        params,
        layers=tuple(
            dataclasses.replace(layer, qkv=dataclasses.replace(layer.qkv, biases=())) for layer in params.layers
        ),
    )


def other_head(params: DecoderParams) -> DecoderParams:
    """Where the embeddings are the head, another one."""
    (matrix,) = params.head.matrices
    return dataclasses.replace(params, head=LinearWeight((Matrix(np.ascontiguousarray(matrix.values[::-1])),)))


WEIGHTS: list[tuple[str, str, Callable[[DecoderParams], DecoderParams]]] = [
    ("tied head", "llama3", other_head),
    ("tied head of Gemma", "gemma2", other_head),
    ("sinks", "gpt_oss", without(sinks=None)),
    ("norms of query and key", "qwen3", without(q_norm=None, k_norm=None)),
    ("norm of what attention adds", "gemma2", without(attention_post_norm=None)),
    ("norm of what the feed-forward adds", "olmo2", without(mlp_post_norm=None)),
    ("norm before attention", "llama", without(attention_norm=None)),
    ("biases of query, key and value", "qwen2", without_bias),
    ("learned positions", "gpt2", lambda params: dataclasses.replace(params, positions=None)),
]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("feature", "family", "fault"), WEIGHTS, ids=[name for name, _, _ in WEIGHTS])
def test_forgotten_weights_show(
    feature: str, family: str, fault: Callable[[DecoderParams], DecoderParams], side: str
) -> None:
    ours = Forward(folder(family), ops=SIDES[side](), spoil=fault).run((0, text(1), 0))
    assert relative(ours, expected(family, 1)) > MARGIN * ALLOWED[side], feature


def test_copied_blocks_are_the_same_past() -> None:
    forward = Forward(folder("gemma3"))
    whole = text(1)
    forward.run((0, whole[:96], 0))
    pairs = np.array([[1 + block, 8 + block] for block in range(6)], np.int32)
    forward.ops.copy_blocks(forward.cache, pairs)
    assert relative(forward.run((1, whole[96:], 96)), expected("gemma3", 1)[96:]) < WITHIN


def rewritten(source: Path, target: Path, **values: object) -> Path:
    """A copy whose config says something else; None takes a setting away."""
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    config = json.loads((source / "config.json").read_text())
    config |= values
    (target / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return target


@pytest.mark.parametrize(
    ("family", "values", "names"),
    [
        ("llama", {"num_key_value_heads": 3}, "share"),
        ("llama", {"num_hidden_layers": 3}, "model.layers.2.* is missing"),
        ("llama", {"num_hidden_layers": 1}, "tensors that config.json does not imply"),
        ("llama", {"intermediate_size": 100}, "config.json implies"),
        ("llama", {"attention_bias": True}, "bias is missing"),
        ("llama_bias", {"attention_bias": False}, "does not imply"),
        ("llama", {"hidden_size": 0}, "hidden_size"),
        ("llama", {"rms_norm_eps": "small"}, "rms_norm_eps"),
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types"),
        ("mixtral", {"num_experts_per_tok": 9}, "num_experts_per_tok"),
        ("phi3_longrope", {"head_dim": 32}, "shape|factors"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type"),
        ("gpt2", {"n_inner": 100}, "config.json implies"),
        ("ownlm", {"value_embedding_layers": [0, 1, 2]}, "layers.1.self_attn.value_embedding.weight is missing"),
        ("ownlm", {"value_embedding_layers": [0]}, "does not imply"),
        ("ownlm", {"value_embedding_layers": [0, 3]}, "not a list of layers from 0 to 2"),
        ("ownlm", {"value_embedding_layers": 2}, "value_embedding_layers is 2"),
    ],
)
def test_a_config_that_contradicts_its_tensors(
    family: str, values: dict[str, object], names: str, tmp_path: Path
) -> None:
    with pytest.raises(CorruptModel, match=names):
        Forward(rewritten(folder(family), tmp_path / "m", **values))


@pytest.mark.parametrize(
    ("family", "values", "names"),
    [
        ("llama", {"model_type": "mamba"}, "'mamba'; supported: .*gemma2.*qwen3_moe"),
        ("llama", {"hidden_act": "relu"}, "hidden_act"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "dynamic"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0, "mscale": 1.0}},
            "mscale",
        ),
        ("gemma2", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("gemma3", {"layer_types": ["chunked_attention"] * 7}, "chunked_attention"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("ownlm", {"hidden_act": "silu"}, "hidden_act"),
        ("llama", {"hidden_act": "relu2"}, "hidden_act"),
    ],
)
def test_what_is_not_supported_is_named(family: str, values: dict[str, object], names: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match=names):
        Forward(rewritten(folder(family), tmp_path / "m", **values))


def test_every_family_of_the_tests_is_supported() -> None:
    kinds = {json.loads((folder(name) / "config.json").read_text())["model_type"] for name in EVERY}
    assert kinds == set(supported())


def test_the_text_part_of_a_multimodal_checkpoint_is_found(tmp_path: Path) -> None:
    """As Gemma 3's files are: the config nested, the names prefixed, a tower beside it."""
    from safetensors.numpy import load_file, save_file

    source, target = folder("gemma3"), tmp_path / "m"
    target.mkdir()
    config = json.loads((source / "config.json").read_text())
    tied = config.pop("tie_word_embeddings")
    (target / "config.json").write_text(
        json.dumps({"model_type": "gemma3", "text_config": config, "vision_config": {}, "tie_word_embeddings": tied})
    )
    tensors = {f"language_model.{name}": values for name, values in load_file(source / "model.safetensors").items()}
    tensors["vision_tower.patch.weight"] = np.zeros((2, 2), np.float32)
    save_file(tensors, target / "model.safetensors")
    assert relative(Forward(target).run((0, text(1), 0)), expected("gemma3", 1)) < WITHIN


def test_long_factors_only_where_the_text_may_be_long(tmp_path: Path) -> None:
    raw = checkpoint.raw_config(folder("phi3_longrope"))
    short, long = (decoder_config(raw, "m", context).layers[0].rope for context in (64, 65))
    assert short is not None and long is not None
    assert not np.array_equal(short.inverse_frequencies, long.inverse_frequencies)


def test_a_head_that_is_stored_beside_the_embeddings(tmp_path: Path) -> None:
    """Tied, so that it must be the same matrix: then it is left out; another one contradicts the config."""
    from safetensors.numpy import load_file, save_file

    path = rewritten(folder("llama3"), tmp_path / "m")
    tensors = load_file(path / "model.safetensors")
    embed = tensors["model.embed_tokens.weight"]
    save_file(tensors | {"lm_head.weight": embed}, path / "model.safetensors")
    assert relative(Forward(path).run((0, text(1), 0)), expected("llama3", 1)) < WITHIN
    for other in (embed[:-1].copy(), embed + 1):
        save_file(tensors | {"lm_head.weight": other}, path / "model.safetensors")
        with pytest.raises(CorruptModel, match="tie_word_embeddings"):
            Forward(path)
