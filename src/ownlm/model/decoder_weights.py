"""Which tensors of a decoder's checkpoint go where; the names are the Hugging Face layout's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel
from ownlm.formats import mxfp4
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.params import (
    DecoderLayer,
    DecoderParams,
    EmbeddingWeight,
    ExpertsParams,
    GluWeight,
    LinearWeight,
    Matrix,
    NormWeight,
    RMSNormWeight,
)
from ownlm.model.safetensors import Tensor

# Buffers that old checkpoints keep.
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
_TEXT = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("model.text_model.", "model."),
)


def decoder_params(config: DecoderConfig, tensors: Mapping[str, Tensor]) -> DecoderParams:
    """The stored weights as a tree.

    Raises CorruptModel for a tensor that is missing, of another shape than the config implies, or unknown.
    """
    take = _Take(config, tensors)
    make = _gpt2 if config.model_type == "gpt2" else _llama
    params = make(config, take)
    take.finish()
    return params


def _llama(config: DecoderConfig, take: _Take) -> DecoderParams:
    embed = take.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size)
    return DecoderParams(
        embed_tokens=EmbeddingWeight(embed),
        positions=None,
        layers=tuple(_layer(config, take, index) for index in range(config.num_hidden_layers)),
        norm=take.rms("model.norm.weight", config.hidden_size),
        head=_head(config, take, embed),
    )


def _head(config: DecoderConfig, take: _Take, embed: Matrix) -> LinearWeight:
    if config.tie_word_embeddings:
        take.drop("lm_head.weight")
        return LinearWeight((embed,))
    return LinearWeight((take.matrix("lm_head.weight", config.vocab_size, config.hidden_size),))


def _layer(config: DecoderConfig, take: _Take, index: int) -> DecoderLayer:
    at, hidden = f"model.layers.{index}", config.hidden_size
    before, after, fed = "input_layernorm", "post_attention_layernorm", "post_feedforward_layernorm"
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim

    def rms(name: str, size: int = hidden) -> RMSNormWeight:
        return take.rms(f"{at}.{name}.weight", size)

    if config.model_type == "phi3":
        qkv = LinearWeight((take.matrix(f"{at}.self_attn.qkv_proj.weight", q + 2 * kv, hidden),))
    else:
        names = [(f"{at}.self_attn.{part}_proj", rows) for part, rows in (("q", q), ("k", kv), ("v", kv))]
        qkv = take.linear(names, hidden, bias=bool(config.attention_bias))
    placed = {
        "pre": {"attention_norm": before, "mlp_norm": after},
        "post": {"attention_post_norm": after, "mlp_post_norm": fed},
        "both": {
            "attention_norm": before, "attention_post_norm": after,
            "mlp_norm": "pre_feedforward_layernorm", "mlp_post_norm": fed,
        },
    }[config.norm_placement]  # fmt: skip
    norms: dict[str, Any] = {field: rms(name) for field, name in placed.items()}
    qk = {"head": (config.head_dim, config.head_dim), "row": (q, kv)}.get(config.qk_norm)
    sparse = config.layers[index].sparse
    return DecoderLayer(
        qkv=qkv,
        attention_output=take.linear([(f"{at}.self_attn.o_proj", hidden)], q, bias=config.attention_bias == "all"),
        q_norm=rms("self_attn.q_norm", qk[0]) if qk else None,
        k_norm=rms("self_attn.k_norm", qk[1]) if qk else None,
        sinks=take.vector(f"{at}.self_attn.sinks", config.num_attention_heads) if config.attention_sinks else None,
        **norms,
        **({"experts": _experts(config, take, at)} if sparse else _dense(config, take, at)),
    )


def _dense(config: DecoderConfig, take: _Take, at: str) -> dict[str, Any]:
    inner, hidden = config.intermediate_size, config.hidden_size
    if config.model_type == "phi3":
        gate, up = take.matrix(f"{at}.mlp.gate_up_proj.weight", 2 * inner, hidden).split(inner)
        glu = GluWeight(gate, up)
    else:
        glu = take.glu(f"{at}.mlp.gate_proj", f"{at}.mlp.up_proj", inner, hidden, bias=config.mlp_bias)
    return {"mlp_in": glu, "mlp_out": take.linear([(f"{at}.mlp.down_proj", hidden)], inner, bias=config.mlp_bias)}


def _experts(config: DecoderConfig, take: _Take, at: str) -> ExpertsParams:
    experts = config.experts
    assert experts is not None
    inner, hidden = experts.intermediate_size, config.hidden_size
    if config.model_type == "gpt_oss":
        return _gpt_oss(take, f"{at}.mlp", experts.count, inner, hidden)
    mixtral = config.model_type == "mixtral"
    mlp = f"{at}.block_sparse_moe" if mixtral and f"{at}.block_sparse_moe.gate.weight" in take else f"{at}.mlp"
    gate, down, up = ("w1", "w2", "w3") if mixtral else ("gate_proj", "down_proj", "up_proj")
    each = [f"{mlp}.experts.{index}" for index in range(experts.count)]
    return ExpertsParams(
        router=take.linear([(f"{mlp}.gate", experts.count)], hidden),
        gate_up=tuple(take.glu(f"{name}.{gate}", f"{name}.{up}", inner, hidden) for name in each),
        down=tuple(take.linear([(f"{name}.{down}", hidden)], inner) for name in each),
    )


def _gpt_oss(take: _Take, mlp: str, count: int, inner: int, hidden: int) -> ExpertsParams:
    """Experts in one tensor: gate and up rows in turn; plain weights as [experts, in, out], blocks as rows."""
    both = take.stacked(f"{mlp}.experts.gate_up_proj", count, 2 * inner, hidden)
    last = take.stacked(f"{mlp}.experts.down_proj", count, hidden, inner)
    both_bias = take.vectors(f"{mlp}.experts.gate_up_proj_bias", count, 2 * inner)
    last_bias = take.vectors(f"{mlp}.experts.down_proj_bias", count, hidden)
    return ExpertsParams(
        router=take.linear([(f"{mlp}.router", count)], hidden, bias=True),
        gate_up=tuple(
            GluWeight(
                Matrix(rows.values[0::2], rows.format), Matrix(rows.values[1::2], rows.format), (bias[0::2], bias[1::2])
            )
            for rows, bias in zip(both, both_bias, strict=True)
        ),
        down=tuple(LinearWeight((rows,), (bias,)) for rows, bias in zip(last, last_bias, strict=True)),
    )


def _gpt2(config: DecoderConfig, take: _Take) -> DecoderParams:
    hidden, inner = config.hidden_size, config.intermediate_size

    def norm(name: str) -> NormWeight:
        return NormWeight(take.vector(f"{name}.weight", hidden), take.vector(f"{name}.bias", hidden), config.norm_eps)

    def linear(name: str, rows: int, columns: int) -> LinearWeight:
        return LinearWeight((take.turned(f"{name}.weight", rows, columns),), (take.vector(f"{name}.bias", rows),))

    embed = take.matrix("transformer.wte.weight", config.vocab_size, hidden)
    layers = []
    for index in range(config.num_hidden_layers):
        at = f"transformer.h.{index}"
        layers.append(
            DecoderLayer(
                attention_norm=norm(f"{at}.ln_1"),
                qkv=linear(f"{at}.attn.c_attn", 3 * hidden, hidden),
                attention_output=linear(f"{at}.attn.c_proj", hidden, hidden),
                mlp_norm=norm(f"{at}.ln_2"),
                mlp_in=linear(f"{at}.mlp.c_fc", inner, hidden),
                mlp_out=linear(f"{at}.mlp.c_proj", hidden, inner),
            )
        )
    return DecoderParams(
        embed_tokens=EmbeddingWeight(embed),
        positions=EmbeddingWeight(take.matrix("transformer.wpe.weight", config.max_position_embeddings, hidden)),
        layers=tuple(layers),
        norm=norm("transformer.ln_f"),
        head=_head(config, take, embed),
    )


class _Take:
    """Takes tensors by name, checks them, and knows at the end which were left over."""

    def __init__(self, config: DecoderConfig, tensors: Mapping[str, Tensor]) -> None:
        self._config = config
        self._tensors = dict(self._named(config, tensors))
        self._left = {name for name in self._tensors if not name.endswith(_BUFFERS)}

    @staticmethod
    def _named(config: DecoderConfig, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        if config.nested and any(name.startswith(old) for name in tensors for old, _ in _TEXT):
            text = {}
            for name, tensor in tensors.items():
                for old, new in (*_TEXT, ("lm_head.", "lm_head.")):
                    if name.startswith(old):
                        text[new + name.removeprefix(old)] = tensor
                        break
            return text
        if config.model_type == "gpt2":
            plain = ("transformer.", "lm_head.")
            return {n if n.startswith(plain) else f"transformer.{n}": tensor for n, tensor in tensors.items()}
        return tensors

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def _get(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise CorruptModel(f"tensor {name} is missing: the weights do not belong to this config.json")
        self._left.discard(name)
        return self._tensors[name]

    def drop(self, name: str) -> None:
        """Some checkpoints store a tied head a second time."""
        self._left.discard(name)

    def vector(self, name: str, size: int) -> NDArray[np.float32]:
        return self._shaped(name, (size,)).float32()

    def vectors(self, name: str, count: int, size: int) -> NDArray[np.float32]:
        return self._shaped(name, (count, size)).float32()

    def rms(self, name: str, size: int) -> RMSNormWeight:
        return RMSNormWeight(self.vector(name, size), self._config.norm_eps, self._config.norm_offset)

    def matrix(self, name: str, rows: int, columns: int) -> Matrix:
        return _matrix(self._shaped(name, (rows, columns)))

    def turned(self, name: str, rows: int, columns: int) -> Matrix:
        """Of a tensor that is stored as [columns, rows]; of blocks, as rows."""
        if self._get(name).format:
            return self.matrix(name, rows, columns)
        stored = self._shaped(name, (columns, rows))
        return _matrix(Tensor(name, stored.dtype, stored.array.T))

    def linear(self, names: list[tuple[str, int]], columns: int, bias: bool = False) -> LinearWeight:
        """Matrices by name and rows, stacked."""
        return LinearWeight(
            tuple(self.matrix(f"{name}.weight", rows, columns) for name, rows in names),
            tuple(self.vector(f"{name}.bias", rows) for name, rows in names) if bias else (),
        )

    def glu(self, gate: str, up: str, rows: int, columns: int, bias: bool = False) -> GluWeight:
        both = self.linear([(gate, rows), (up, rows)], columns, bias)
        return GluWeight(both.matrices[0], both.matrices[1], both.biases)

    def stacked(self, name: str, count: int, rows: int, columns: int) -> list[Matrix]:
        """gpt-oss's experts: blocks as rows, MXFP4 in two tensors, or plain weights [experts, columns, rows]."""
        if f"{name}_blocks" in self:
            pairs, exponents = self._get(f"{name}_blocks"), self._get(f"{name}_scales")
            try:
                blocks = mxfp4.from_pairs(pairs.array, exponents.array)
            except ValueError as error:
                raise CorruptModel(f"tensor {name}_blocks: {error}") from None
            tensor = Tensor(name, "U8", blocks, "mxfp4")
            self._check(tensor, (count, rows, columns))
        elif self._get(name).format:
            tensor = self._shaped(name, (count, rows, columns))
        else:
            plain = self._shaped(name, (count, columns, rows))
            tensor = Tensor(name, plain.dtype, plain.array.swapaxes(1, 2))
        return [_matrix(Tensor(name, tensor.dtype, tensor.array[i], tensor.format)) for i in range(count)]

    def _shaped(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._get(name)
        self._check(tensor, shape)
        return tensor

    @staticmethod
    def _check(tensor: Tensor, shape: tuple[int, ...]) -> None:
        if tensor.weights_shape != shape:
            raise CorruptModel(f"tensor {tensor.name} has shape {tensor.weights_shape}; config.json implies {shape}")

    def finish(self) -> None:
        if self._left:
            raise CorruptModel(
                f"the checkpoint has {len(self._left)} tensors that config.json does not imply, such as "
                f"{sorted(self._left)[0]}"
            )


def _matrix(tensor: Tensor) -> Matrix:
    """As it is stored; numbers of other types than 16 and 32 bits become float32."""
    if tensor.format:
        return Matrix(tensor.array, tensor.format)
    if tensor.dtype in ("F16", "BF16"):
        return Matrix(tensor.array, tensor.dtype.lower())
    return Matrix(tensor.float32())
