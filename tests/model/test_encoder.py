"""The encoder, written once, agrees with transformers on both sides and with every instruction set."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ownlm import native
from ownlm.model import checkpoint, ops
from ownlm.model.config import BertConfig
from ownlm.model.encoder import encode, positions_in_sequence
from ownlm.model.families import encoder_params
from ownlm.model.ops.base import Ops
from tiny_bert import CONFIG, packed, write_model

LENGTHS = [5, 1, 24, 2, 17]
SHAPES = [
    {},
    {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 96, "hidden_act": "gelu_new"},
    {"hidden_size": 48, "num_attention_heads": 12, "num_hidden_layers": 1, "type_vocab_size": 1},
    {"hidden_size": 96, "num_attention_heads": 3, "intermediate_size": 200, "num_hidden_layers": 3, "vocab_size": 101},
    {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "num_hidden_layers": 1},
    {"layer_norm_eps": 1e-3, "hidden_act": "gelu_pytorch_tanh"},
]


@pytest.fixture(params=["torch", *native.isas()])
def side(request: pytest.FixtureRequest) -> Iterator[Ops]:
    """The torch side, then the native one with every instruction set that runs here."""
    if request.param == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
        yield ops.load("torch")
    else:
        before = native.isa()
        native.use_isa(request.param)
        yield ops.load("native")
        native.use_isa(before)


def check(found: np.ndarray, expected: np.ndarray, side: Ops) -> None:
    """float32 throughout, or, where attention multiplies in bfloat16 (8 bits), as near as that allows."""
    if side.name == "native" and native.isa() in ("avx512_bf16", "amx_int8"):
        assert np.sqrt(np.mean((found - expected) ** 2)) < 0.03 * np.sqrt(np.mean(expected**2))
    else:
        np.testing.assert_allclose(found, expected, atol=3e-5, rtol=1e-4)


def forward(side: Ops, folder: Path, ids: np.ndarray, cu_seqlens: np.ndarray, types: np.ndarray | None) -> np.ndarray:
    config = BertConfig.load(folder)
    params = side.prepare(encoder_params(config, checkpoint.load(folder).tensors))
    return side.numpy(encode(side, config, params, ids, cu_seqlens, types))


@pytest.mark.parametrize("changes", SHAPES, ids=str)
def test_agrees_with_transformers(tmp_path: Path, side: Ops, changes: dict) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = {**CONFIG, **changes}
    torch.manual_seed(3)
    model = transformers.BertModel(transformers.BertConfig(**config, initializer_range=0.3)).eval()
    for parameter in model.parameters():  # norms and biases start at 1 and 0, which would hide mistakes
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    ids, cu_seqlens = packed(LENGTHS, config["vocab_size"])
    types = np.random.default_rng(4).integers(0, config["type_vocab_size"], len(ids)).astype(np.int32)
    with torch.no_grad():
        expected = torch.cat(
            [
                model(torch.tensor(ids[a:b])[None], token_type_ids=torch.tensor(types[a:b])[None]).last_hidden_state[0]
                for a, b in itertools.pairwise(cu_seqlens)
            ]
        ).numpy()
    check(forward(side, tmp_path, ids, cu_seqlens, types), expected, side)


def test_a_sequence_does_not_see_its_neighbours(tmp_path: Path, side: Ops) -> None:
    folder = write_model(tmp_path)
    ids, cu_seqlens = packed(LENGTHS, CONFIG["vocab_size"])
    together = forward(side, folder, ids, cu_seqlens, None)
    for a, b in itertools.pairwise(cu_seqlens):
        alone = forward(side, folder, ids[a:b], np.array([0, b - a], np.int32), None)
        np.testing.assert_allclose(together[a:b], alone, atol=2e-5)


def test_half_precision_checkpoints_are_read(tmp_path: Path, side: Ops) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(3)
    model = transformers.BertModel(transformers.BertConfig(**CONFIG, initializer_range=0.3)).bfloat16().eval()
    model.save_pretrained(tmp_path)
    ids, cu_seqlens = packed([9], CONFIG["vocab_size"])
    with torch.no_grad():
        expected = model.float()(torch.tensor(ids)[None]).last_hidden_state[0].numpy()
    check(forward(side, tmp_path, ids, cu_seqlens, None), expected, side)


def test_mean_pool_means_each_sequence(side: Ops, tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    config = BertConfig.load(folder)
    params = side.prepare(encoder_params(config, checkpoint.load(folder).tensors))
    ids, cu_seqlens = packed(LENGTHS, CONFIG["vocab_size"])
    x = encode(side, config, params, ids, cu_seqlens)
    states = side.numpy(x)
    means = np.stack([states[a:b].mean(0) for a, b in itertools.pairwise(cu_seqlens)])
    np.testing.assert_allclose(side.mean_pool(x, cu_seqlens, normalize=False), means, atol=1e-5)
    lengths = np.linalg.norm(side.mean_pool(x, cu_seqlens, normalize=True), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_positions_start_again_with_each_sequence() -> None:
    found = positions_in_sequence(np.array([0, 3, 3, 5], np.int32))
    assert found.dtype == np.int32
    assert found.tolist() == [0, 1, 2, 0, 1]
