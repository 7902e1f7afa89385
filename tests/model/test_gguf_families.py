"""Every family through GGUF and back: the same config, the same tensors; and as other readers see the file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import CorruptModel, InvalidSetting, UnsupportedModel
from ownlm.formats import FORMATS
from ownlm.model import checkpoint, gguf
from ownlm.model.gguf import rope as gguf_rope
from ownlm.model.gguf import write as gguf_write
from ownlm.model.gguf.export import export
from ownlm.model.gguf.metadata import metadata
from ownlm.model.gguf.types import Value

pytest.importorskip("transformers")
reference = pytest.importorskip("gguf")
sys.path.append(str(Path(__file__).parent))
from tiny_families import FAMILIES, save  # noqa: E402

# What says nothing about the forward, or is stated in its older form.
BESIDE = {
    "architectures", "attention_dropout", "dtype", "initializer_range", "transformers_version", "use_cache",
    "rope_parameters", "pretraining_tp", "output_router_logits", "router_aux_loss_coef", "router_jitter_noise",
    "attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_activation", "summary_first_dropout",
    "summary_proj_to_labels", "summary_type", "summary_use_proj", "_sliding_window_pattern", "num_local_experts",
    "use_bidirectional_attention", "use_sliding_window", "max_window_layers", "add_cross_attention", "swiglu_alpha",
    "query_pre_attn_scalar", "partial_rotary_factor",
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: save(tmp_path_factory.mktemp(name), name) for name in FAMILIES}


def same(ours: object, theirs: object, within: float = 1e-6) -> bool:
    """Equal, numbers and lists of numbers within a relative tolerance."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key], within) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(same(*pair, within) for pair in zip(ours, theirs, strict=True))
    if isinstance(theirs, float) and isinstance(ours, int | float):
        return abs(ours - theirs) <= within * abs(theirs)
    return ours == theirs


@pytest.mark.parametrize("family", FAMILIES)
def test_config_and_tensors_come_back(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    source = folders[family]
    export(source, tmp_path / "a.gguf")
    before, after = checkpoint.load(source), checkpoint.load(tmp_path / "a.gguf")
    stated = json.loads((source / "config.json").read_text())
    config = after.config()
    assert checkpoint.raw_config(tmp_path / "a.gguf") == config
    for setting, value in stated.items():
        # what is null takes the family's own default, which GGUF states
        if setting not in BESIDE and value is not None and (setting, value) not in config.items():
            if setting in ("attention_bias", "mlp_bias", "layer_types") and setting not in config:
                continue  # implied by the tensors, or by the family
            assert same(config.get(setting), value), setting
    if family != "gpt2":
        ours, theirs = gguf_rope.normalised(config, ""), gguf_rope.normalised(stated, "")
        if family != "gpt_oss":
            theirs.pop("truncate", None)
        assert same(ours, theirs), (ours, theirs)
    assert set(before.tensors) == set(after.tensors)
    for name, tensor in before.tensors.items():
        back = after.tensors[name].float32()
        if "norm" in name and family.startswith("gemma"):
            assert np.allclose(back, tensor.float32(), rtol=0, atol=2e-7), name
        else:
            assert np.array_equal(back, tensor.float32()), name


@pytest.mark.parametrize("family", ["llama", "qwen3_moe", "gemma2", "gpt2", "gpt_oss"])
@pytest.mark.parametrize("to", ["q8_0", "bf16"])
def test_quantized_tensors_are_those_of_the_same_rows(
    folders: dict[str, Path], tmp_path: Path, family: str, to: str
) -> None:
    """Quantizing commutes with all that is moved: the rows read back are the quantized rows of the source."""
    types = export(folders[family], tmp_path / "a.gguf", to)
    assert to in types.values()
    before, after = checkpoint.load(folders[family]).tensors, checkpoint.load(tmp_path / "a.gguf").tensors
    for name, tensor in after.items():
        w = before[name].float32()
        turned = (family == "gpt2" and ".h." in name) or (family == "gpt_oss" and "experts" in name)
        rows = w.swapaxes(-1, -2) if turned and w.ndim > 1 and not name.endswith("_bias") else w
        if tensor.format:
            assert np.array_equal(tensor.array, FORMATS[to].quantize(np.ascontiguousarray(rows))), name
        elif w.ndim > 1 and not name.endswith(("_bias", "router.weight", "mlp.gate.weight", "wpe.weight")):
            got = tensor.float32()
            assert np.abs(got - w).max() < (0.02 if to == "q8_0" else 0.01), name


@pytest.mark.parametrize("family", ["llama3", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2"])
def test_transformers_reads_the_same_weights(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    import torch
    import transformers

    pytest.importorskip("accelerate")
    export(folders[family], tmp_path / "a.gguf")
    config = transformers.AutoConfig.from_pretrained(folders[family])
    original = transformers.AutoModelForCausalLM.from_pretrained(folders[family]).state_dict()
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf", config=config)
    for name, value in model.state_dict().items():
        assert torch.allclose(value, original[name], atol=2e-7), name


@pytest.mark.parametrize("family", FAMILIES)
def test_names_and_shapes_are_those_of_the_architecture(folders: dict[str, Path], tmp_path: Path, family: str) -> None:
    export(folders[family], tmp_path / "a.gguf")
    reader = reference.GGUFReader(tmp_path / "a.gguf")
    architecture = reader.fields["general.architecture"].contents()
    (kind,) = [kind for kind, name in reference.MODEL_ARCH_NAMES.items() if name == architecture]
    known = {reference.TENSOR_NAMES[tensor] for tensor in reference.MODEL_TENSORS[kind]}
    extra = {"rope_freqs"} if family == "llama3" else set()
    for tensor in reader.tensors:
        stem = tensor.name.rsplit(".", 1)[0]
        parts = stem.split(".")
        if parts[0] == "blk":
            parts[1] = "{bid}"
        assert ".".join(parts) in known | extra, tensor.name


def test_a_second_export_changes_nothing(folders: dict[str, Path], tmp_path: Path) -> None:
    for family in FAMILIES:
        export(folders[family], tmp_path / "a.gguf", "q8_0", name="x")
        export(tmp_path / "a.gguf", tmp_path / "b.gguf", name="x")
        if family != "gpt2":  # whose blocks are dequantized, since its matrices are turned
            assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes(), family


def test_types_by_tensor(folders: dict[str, Path], tmp_path: Path) -> None:
    types = export(folders["qwen2"], tmp_path / "a.gguf", "q4_0", {"lm_head.*": "q8_0", "*.down_proj.*": "f16"})
    assert types["output.weight"] == "q8_0"
    assert types["blk.1.ffn_down.weight"] == "f16"
    assert types["blk.0.attn_q.weight"] == "q4_0"
    assert types["blk.0.attn_q.bias"] == types["output_norm.weight"] == "f32"
    assert export(folders["qwen2"], tmp_path / "a.gguf", "q4_k")["blk.0.ffn_up.weight"] == "q8_0"  # 64 columns
    with pytest.raises(InvalidSetting, match="q9"):
        export(folders["qwen2"], tmp_path / "b.gguf", "q9")
    with pytest.raises(InvalidSetting, match="q9"):
        export(folders["qwen2"], tmp_path / "b.gguf", None, {"*": "q9"})


def test_what_gguf_cannot_state_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    for family, setting, value in [
        ("gemma2", "query_pre_attn_scalar", 99),
        ("qwen3_moe", "norm_topk_prob", False),
        ("gpt_oss", "swiglu_limit", 3.0),
        ("smollm3", "no_rope_layers", [1, 1, 1, 1, 1]),
        ("llama", "hidden_act", "gelu"),
        ("llama", "model_type", "mamba"),
        ("llama", "rope_parameters", {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
        ("gemma3", "layer_types", ["full_attention"] * 7),
        ("qwen2", "use_sliding_window", True),
    ]:
        config = {**json.loads((folders[family] / "config.json").read_text()), setting: value}
        with pytest.raises(UnsupportedModel, match="type|" + setting.split("_")[0]):
            metadata(config, tmp_path)


def rewritten(path: Path, target: Path, changes: dict[str, Value | None]) -> Path:
    """The file with other metadata; None takes a key away."""
    file = gguf.read(path)
    keys: dict[str, Value] = {}
    for key, value in file.metadata.items():
        if not key.startswith("tokenizer."):
            kind = "str" if isinstance(value, str) else "f32" if isinstance(value, float) else "u32"
            keys[key] = Value(kind, value)
    for key, change in changes.items():
        keys.pop(key, None)
        if change is not None:
            keys[key] = change
    planned = {
        name: gguf_write.Planned(tensor.format or tensor.dtype, tensor.weights_shape, tensor.array.copy)
        for name, tensor in file.tensors.items()
    }
    gguf_write.write(target, keys, planned)
    return target


@pytest.mark.parametrize(
    ("key", "value", "about"),
    [
        ("llama.block_count", None, "block_count is None"),
        ("llama.block_count", Value("u32", 1), "is of layer 1, where block_count is 1"),
        ("llama.embedding_length", Value("u32", 0), "embedding_length is 0"),
        ("llama.attention.head_count", Value("str", "four"), "head_count is 'four'"),
        ("llama.attention.head_count", Value("u32", 7), "do not divide"),
        ("llama.attention.layer_norm_rms_epsilon", Value("f32", 0.0), "epsilon is 0.0"),
        ("llama.rope.freq_base", Value("f32", -1.0), "freq_base is -1.0"),
        ("llama.rope.dimension_count", Value("u32", 99), "dimension_count 99"),
        ("llama.rope.scaling.type", Value("u32", 9), "scaling.type is 9"),
        ("general.architecture", None, "states no general.architecture"),
    ],
)
def test_metadata_that_cannot_be_is_named(
    folders: dict[str, Path], tmp_path: Path, key: str, value: Value | None, about: str
) -> None:
    export(folders["llama"], tmp_path / "a.gguf")
    path = rewritten(tmp_path / "a.gguf", tmp_path / "b.gguf", {key: value})
    with pytest.raises(CorruptModel, match=about) as error:
        checkpoint.load(path)
    assert str(path) in str(error.value)


def test_another_architecture_lists_what_is_supported(folders: dict[str, Path], tmp_path: Path) -> None:
    export(folders["llama"], tmp_path / "a.gguf")
    path = rewritten(tmp_path / "a.gguf", tmp_path / "b.gguf", {"general.architecture": Value("str", "mamba")})
    with pytest.raises(UnsupportedModel, match="'mamba'; supported: gemma2, gemma3, gpt-oss, gpt2, granite, llama"):
        checkpoint.load(path)


@pytest.mark.parametrize("original", [None, 64, 8192])
@pytest.mark.parametrize(("factor", "low", "high"), [(8.0, 1.0, 4.0), (32.0, 1.0, 4.0), (4.0, 2.0, 9.0)])
def test_llama3_scaling_is_recovered_from_its_factors(
    factor: float, low: float, high: float, original: int | None
) -> None:
    rope = {
        "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
        "original_max_position_embeddings": original or 8192,
    }  # fmt: skip
    factors = gguf_rope.llama3_factors(rope, 500000.0, 128)
    assert len(set(factors.tolist())) > 1
    found = gguf_rope.llama3_settings(factors, 500000.0, original)
    assert same(found, {"rope_type": "llama3", **rope}, 1e-3), found
    assert np.allclose(gguf_rope.llama3_factors(found, 500000.0, 128), factors, rtol=1e-5)
    with pytest.raises(CorruptModel, match="no Llama 3 scaling"):
        gguf_rope.llama3_settings(np.linspace(1, 7, 64, dtype=np.float32) ** 2, 500000.0, original)


def test_a_model_in_parts(folders: dict[str, Path], tmp_path: Path) -> None:
    export(folders["qwen2"], tmp_path / "whole.gguf")
    file = gguf.read(tmp_path / "whole.gguf")
    names = list(file.tensors)
    parts = [names[:5], names[5:9], names[9:]]
    for index, part in enumerate(parts):
        keys = {"split.no": Value("u16", index), "split.count": Value("u16", 3)}
        keys["split.tensors.count"] = Value("i32", len(names))
        if index == 0:
            for key, value in file.metadata.items():
                kind = "str" if isinstance(value, str) else "f32" if isinstance(value, float) else "u32"
                keys[key] = Value(kind, value)
        planned = {
            name: gguf_write.Planned("F32", file.tensors[name].shape, file.tensors[name].array.copy) for name in part
        }
        gguf_write.write(tmp_path / f"m-0000{index + 1}-of-00003.gguf", keys, planned)
    whole, split = checkpoint.load(tmp_path / "whole.gguf"), checkpoint.load(tmp_path / "m-00001-of-00003.gguf")
    assert split.config() == whole.config()
    assert set(split.tensors) == set(whole.tensors)
    assert len(split.files) == 3
    with pytest.raises(InvalidSetting, match="give the first of its files"):
        checkpoint.load(tmp_path / "m-00002-of-00003.gguf")
    (tmp_path / "m-00003-of-00003.gguf").unlink()
    with pytest.raises(Exception, match=r"m-00003-of-00003\.gguf is not there"):
        checkpoint.load(tmp_path / "m-00001-of-00003.gguf")
