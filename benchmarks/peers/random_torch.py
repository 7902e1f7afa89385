"""A decoder of transformers' in one of our shapes with random weights, for peers to convert. Needs torch, transformers.

``config`` is its config; ``folder`` writes what a converter looks for beside weights; ``model`` makes it in memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast, Qwen2Config

sys.path.insert(0, str(Path(__file__).parents[1]))
from shapes import Shape

CONTEXT = 16384


def config(shape: Shape, layers: int | None = None) -> Any:
    """transformers' config of the shape, or of one with fewer layers."""
    kind = {"qwen2": Qwen2Config, "llama": LlamaConfig}[shape.architecture]
    return kind(
        architectures=["Qwen2ForCausalLM" if shape.architecture == "qwen2" else "LlamaForCausalLM"],
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=layers or shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocabulary,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_base},
        rms_norm_eps=1e-6,
        tie_word_embeddings=shape.tied,
        bos_token_id=0,
        eos_token_id=1,
        dtype="bfloat16",
    )


def model(shape: Shape, layers: int | None = None, dtype: torch.dtype = torch.bfloat16) -> Any:
    """Weights of standard deviation 1 / sqrt(inputs), norms of 1, biases of 0.1."""
    torch.manual_seed(0)
    with torch.device("meta"):
        made = AutoModelForCausalLM.from_config(config(shape, layers), dtype=dtype)
    made = made.to_empty(device="cpu")
    made.tie_weights()
    for name, values in made.named_parameters():
        if "norm" in name:
            torch.nn.init.ones_(values)
        elif values.ndim == 1:
            torch.nn.init.constant_(values, 0.1)
        else:
            torch.nn.init.uniform_(values, -((3 / values.shape[1]) ** 0.5), (3 / values.shape[1]) ** 0.5)
    for part in made.modules():  # what is computed and not stored did not survive "meta"
        if "RotaryEmbedding" in type(part).__name__:
            part.__init__(made.config)
    return made.eval()


def folder(shape: Shape, to: Path, layers: int | None = None) -> Path:
    """A folder with config and tokenizer (the 256 bytes), without weights."""
    to.mkdir(parents=True, exist_ok=True)
    config(shape, layers).save_pretrained(to)
    words = {"<s>": 0, "</s>": 1} | {chr(256 + n): n + 2 for n in range(256)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(BPE(words, [])), bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.save_pretrained(to)
    return to
