"""The dial's shapes, counted by transformers and by torch; and what it derives."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest

from ownlm.errors import InvalidSetting
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import blank_params
from ownlm.train.dial import DEEPEST, batch_tokens, dial, shape_of
from ownlm.train.shape import Kind, Shape, flops_per_token

KINDS: tuple[Kind, ...] = ("qwen3", "ownlm")


def reference(shape: Shape) -> Any:
    """transformers' own model of the shape, without memory for weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape.config()))


@pytest.mark.parametrize("depth", [1, 3, 8, 16])
@pytest.mark.parametrize("tied", [True, False])
def test_transformers_counts_the_same_parameters(depth: int, tied: bool) -> None:
    shape = shape_of(depth, 5000, tied=tied)
    model = reference(shape)
    counted = shape.parameters()
    assert counted.total == model.num_parameters()
    assert counted.total - counted.embedding == model.num_parameters(exclude_embeddings=True)
    assert model.config.rope_parameters["rope_theta"] == shape.rope_theta


def test_torch_counts_the_same_flops() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode

    shape = shape_of(3, 640, context=128)
    model = reference(shape)
    model.config._attn_implementation = "eager"  # plain products, which are counted whole
    ids = torch.zeros(2, shape.context, dtype=torch.long, device="meta")
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    measured = counter.get_total_flops()
    # Rotation's angles (an outer product) are the little that torch sees beyond the formula.
    assert measured == pytest.approx(shape.flops_per_token() * ids.numel(), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_any_decoder_is_counted_as_its_shape_is(kind: Kind, tied: bool) -> None:
    shape = shape_of(5, 700, kind=kind, context=96, tied=tied)
    config = decoder_config(shape.config(), "config.json")
    for length in (1, 96, 5000):
        assert flops_per_token(config, length) == shape.flops_per_token(length)
    params, tensors = blank_params(config)
    assert sum(tensor.array.size for tensor in tensors.values()) == shape.parameters().total
    assert [layer.value_embedding is not None for layer in params.layers] == [
        index in shape.value_layers for index in range(5)
    ]


def test_of_windows_and_experts_what_is_used_counts() -> None:
    raw = {
        "model_type": "mixtral", "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 8, "num_experts_per_tok": 2,
    }  # fmt: skip
    config = decoder_config(raw, "m")
    layer = 64 * (64 + 32 + 32 + 64) + 64 * 8 + 2 * 3 * 64 * 96
    assert flops_per_token(config, 10) == 6 * (2 * layer + 100 * 64) + 12 * 2 * 64 * 10
    windowed = decoder_config({**raw, "sliding_window": 16}, "m")
    assert flops_per_token(windowed, 100) == 6 * (2 * layer + 100 * 64) + 12 * 2 * 64 * 16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 7, 12, 20, 33, DEEPEST])
def test_every_row_fits_every_block(kind: Kind, depth: int) -> None:
    shape = shape_of(depth, 1000, kind=kind)
    for row in (shape.width, shape.heads * shape.head_dim, shape.ffn):
        assert row % 256 == 0
    assert shape.heads % shape.kv_heads == 0
    assert shape.vocab_size % 64 == 0
    assert 1000 <= shape.vocab_size < 1064


@pytest.mark.parametrize("depth", [2, 12])
def test_qwen3_config_is_read_back(depth: int) -> None:
    shape = shape_of(depth, 300)
    config = decoder_config(json.loads(json.dumps(shape.config())), "config.json")
    assert (config.hidden_size, config.head_dim, config.num_hidden_layers) == (shape.width, shape.head_dim, depth)
    assert config.qk_norm == "head"
    assert config.activation == "silu"
    assert config.tie_word_embeddings


def test_a_deeper_model_costs_more_and_sees_more() -> None:
    for kind in KINDS:
        derived = [dial(depth, 8192, kind=kind) for depth in range(1, 25)]
        for small, large in itertools.pairwise(derived):
            assert large.shape.parameters().total > small.shape.parameters().total
            assert large.tokens > small.tokens
            assert large.flops > small.flops
            assert large.batch_tokens >= small.batch_tokens


def test_both_kinds_multiply_about_as_much() -> None:
    for depth in (4, 10, 12, 16, 24):
        shipped, research = (shape_of(depth, 16384, kind=kind) for kind in KINDS)
        assert research.multiplied == pytest.approx(shipped.multiplied, rel=0.06)


def test_horizon() -> None:
    free = dial(4, 8192)
    assert free.tokens == pytest.approx(20 * free.shape.multiplied, rel=0.01)
    assert not free.data_bound
    assert free.epochs is None
    bound = dial(4, 8192, corpus_tokens=1_000_000)
    assert bound.data_bound
    assert bound.tokens == pytest.approx(4_000_000, rel=0.02)
    assert bound.epochs == bound.tokens / 1_000_000
    assert bound.batch_tokens < free.batch_tokens
    told = dial(4, 8192, corpus_tokens=1_000_000, tokens=10_000_000)
    assert told.tokens == pytest.approx(10_000_000, rel=0.01)
    assert told.epochs == pytest.approx(10, rel=0.01)
    assert not told.data_bound


@pytest.mark.parametrize("tokens", [1, 500, 20_000, 3_000_000, 5_000_000_000])
@pytest.mark.parametrize("context", [96, 512, 2048])
def test_batches_are_whole_texts(tokens: int, context: int) -> None:
    derived = dial(3, 4096, context=context, tokens=tokens)
    assert derived.batch_tokens % context == 0
    assert math.log2(derived.batch_tokens // context) % 1 == 0
    assert derived.steps >= 1
    assert 1 <= derived.warmup_steps <= 1 + derived.steps // 10
    assert batch_tokens(4 * tokens, context) >= derived.batch_tokens


def test_rates() -> None:
    small, large = dial(4, 8192).rates, dial(24, 8192).rates
    assert 0 < small.matrices < large.matrices <= 0.02
    assert 0 < small.embeddings < 0.01
    assert small.embeddings == small.head


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"depth": 0}, "depth is 0"),
        ({"depth": 65}, "depth is 65"),
        ({"vocab_size": 1}, "vocab_size is 1"),
        ({"context": 8}, "context is 8"),
        ({"corpus_tokens": 0}, "corpus_tokens is 0"),
        ({"tokens": -5}, "tokens is -5"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": float("nan")}, "epochs is nan"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSetting, match=named):
        dial(**{"depth": 4, "vocab_size": 4096, **settings})
