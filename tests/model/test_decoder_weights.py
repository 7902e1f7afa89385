"""Tensors that do not belong to their config: every one of every family, missing, of another shape, type or name."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import CorruptModel
from ownlm.model import checkpoint
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.footprint import footprint
from ownlm.model.safetensors import Tensor

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import EVERY, folder


@pytest.mark.parametrize("family", EVERY)
def test_every_tensor_counts(family: str) -> None:
    found = checkpoint.load(folder(family))
    config, tensors = decoder_config(found.config(), "m"), dict(found.tensors)
    decoder_params(config, tensors)
    for name, tensor in tensors.items():
        kind = tensor.array.dtype
        wrong = {
            "one more row": Tensor(name, tensor.dtype, np.zeros((tensor.shape[0] + 1, *tensor.shape[1:]), kind)),
            "one more dimension": Tensor(name, tensor.dtype, tensor.array[None]),
            "a number": Tensor(name, tensor.dtype, np.zeros((), kind)),
            "whole numbers": Tensor(name, "I32", np.zeros(tensor.shape, np.int32)),
            "nothing": None,
        }
        for what, other in wrong.items():
            changed = {key: value for key, value in tensors.items() if key != name}
            if other is not None:
                changed[name] = other
            for read in (decoder_params, lambda c, t: footprint(c, t, "native")):
                with pytest.raises(CorruptModel) as error:
                    read(config, changed)
                assert "\n" not in str(error.value), what
    with pytest.raises(CorruptModel, match=r"1 tensors .*such as .*model\.unknown"):
        decoder_params(config, tensors | {"model.unknown": tensors[next(iter(tensors))]})


def test_buffers_of_old_files_are_left_out() -> None:
    for family, name in (
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("gpt2", "transformer.h.0.attn.bias"),
        ("gpt2", "transformer.h.1.attn.masked_bias"),
    ):
        found = checkpoint.load(folder(family))
        buffer = {name: Tensor(name, "F32", np.zeros(3, np.float32))}
        decoder_params(decoder_config(found.config(), "m"), {**found.tensors, **buffer})


def test_names_of_gpt2_without_their_prefix() -> None:
    found = checkpoint.load(folder("gpt2"))
    plain = {name.removeprefix("transformer."): tensor for name, tensor in found.tensors.items()}
    assert len(decoder_params(decoder_config(found.config(), "m"), plain).layers) == 2
