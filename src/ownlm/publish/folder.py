"""A model folder as others read it: plain numbers in safetensors, and a config.json that says which."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.errors import InvalidSetting
from ownlm.files import atomic_json
from ownlm.model import beside, checkpoint
from ownlm.model.block_policy import plain
from ownlm.model.gguf.plan import PLAIN, encoded
from ownlm.model.safetensors import Tensor
from ownlm.quant.quantize import spilled

METADATA = {"format": "pt"}
"""What transformers asks of a safetensors file, whoever wrote it."""
_NAMES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "mixtral": "MixtralForCausalLM",
    "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "qwen3_moe": "Qwen3MoeForCausalLM",
    "gemma2": "Gemma2ForCausalLM", "gemma3_text": "Gemma3ForCausalLM", "phi3": "Phi3ForCausalLM",
    "olmo2": "Olmo2ForCausalLM", "granite": "GraniteForCausalLM", "smollm3": "SmolLM3ForCausalLM",
    "gpt2": "GPT2LMHeadModel", "gpt_oss": "GptOssForCausalLM",
}  # fmt: skip


def write(source: Path, target: Path, dtype: str | None = None) -> None:
    """Write the model folder ``source`` to the new folder ``target``.

    ``dtype`` is the type of matrices ("f32", "f16", "bf16"); None keeps each one's own, and blocks of our quantization
    become float32, which holds their values exactly. Vectors keep theirs.
    """
    loaded = checkpoint.load(source)
    if loaded.tokenizer is not None:
        raise InvalidSetting("--format", "hf", f"of a GGUF file only a GGUF file is made: give {target}.gguf")
    target.mkdir()
    with tempfile.TemporaryFile(dir=target) as spill:
        made = {}
        for name, tensor in loaded.tensors.items():
            found = _cast(plain(tensor), dtype)
            made[name] = tensor if found is tensor else spilled(found, spill)
        checkpoint.write(target, made, METADATA)
    atomic_json(target / "config.json", _config(loaded.config(), made), sort_keys=True)
    beside.copy(loaded.folder, target)


def _cast(tensor: Tensor, dtype: str | None) -> Tensor:
    if dtype is None or len(tensor.shape) < 2 or tensor.dtype not in (*_NAMES, "F64") or PLAIN[dtype] == tensor.dtype:
        return tensor
    return Tensor(tensor.name, PLAIN[dtype], encoded(tensor.float32(), PLAIN[dtype], tensor.name))


def _config(config: dict[str, Any], made: Mapping[str, Tensor]) -> dict[str, Any]:
    """What config.json says afterwards: no blocks, and the type that most weights have."""
    stated = config.get("quantization_config")
    if isinstance(stated, dict) and stated.get("quant_method") == "ownlm":
        del config["quantization_config"]
    sizes: Counter[str] = Counter()
    for tensor in made.values():
        sizes[tensor.dtype] += tensor.array.size
    common = next((name for name, _ in sizes.most_common() if name in _NAMES), None)
    if common is not None:
        config["dtype"] = config["torch_dtype"] = _NAMES[common]  # the name that transformers reads, and the older one
    kind = config.get("model_type")
    if not config.get("architectures") and kind in _ARCHITECTURES:
        config["architectures"] = [_ARCHITECTURES[kind]]
    return config
