"""Which checkpoint tensors go where: a family is a table of names and the shapes its config implies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel
from ownlm.formats import q8_0
from ownlm.model.config import BertConfig
from ownlm.model.params import EmbeddingWeight, EncoderLayer, EncoderParams, LinearWeight, Matrix, NormWeight
from ownlm.model.safetensors import Tensor

# Heads of other tasks, and a buffer that old checkpoints keep: not part of the encoder's forward.
_UNUSED = ("pooler.", "cls.", "classifier.", "embeddings.position_ids")


def encoder_params(config: BertConfig, tensors: Mapping[str, Tensor]) -> EncoderParams:
    """The stored weights of a BERT checkpoint as a tree.

    Raises CorruptModel for a tensor that is missing, of another shape than the config implies, or unknown.
    """
    take = _Take(tensors)
    hidden, inner = config.hidden_size, config.intermediate_size
    outliers = config.quantization_config.outlier_channels if config.quantization_config else ()

    def norm(name: str) -> NormWeight:
        return NormWeight(
            take.vector(f"{name}.weight", hidden), take.vector(f"{name}.bias", hidden), config.layer_norm_eps
        )

    def linear(rows: int, columns: int, *names: str, outliers: tuple[int, ...] = ()) -> LinearWeight:
        matrices = tuple(take.matrix(f"{name}.weight", rows, columns) for name in names)
        if len({matrix.format for matrix in matrices}) > 1:
            raise CorruptModel(f"tensors {', '.join(names)} are stored in different formats: quantize all or none")
        return LinearWeight(
            matrices,
            tuple(take.vector(f"{name}.bias", rows) for name in names),
            outliers if matrices[0].format == "q8_0" else (),
        )

    def table(name: str, rows: int) -> EmbeddingWeight:
        return EmbeddingWeight(take.matrix(f"embeddings.{name}.weight", rows, hidden))

    def layer(at: str) -> EncoderLayer:
        qkv = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        return EncoderLayer(
            qkv=linear(hidden, hidden, *qkv, outliers=outliers),
            attention_output=linear(hidden, hidden, f"{at}.attention.output.dense"),
            attention_norm=norm(f"{at}.attention.output.LayerNorm"),
            intermediate=linear(inner, hidden, f"{at}.intermediate.dense", outliers=outliers),
            output=linear(hidden, inner, f"{at}.output.dense"),
            output_norm=norm(f"{at}.output.LayerNorm"),
        )

    params = EncoderParams(
        word_embeddings=table("word_embeddings", config.vocab_size),
        position_embeddings=table("position_embeddings", config.max_position_embeddings),
        token_type_embeddings=table("token_type_embeddings", config.type_vocab_size),
        embeddings_norm=norm("embeddings.LayerNorm"),
        layers=tuple(layer(f"encoder.layer.{index}") for index in range(config.num_hidden_layers)),
    )
    take.finish()
    return params


class _Take:
    """Takes tensors by name, checks them, and knows at the end which were left over."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        # A checkpoint of a task model has its encoder under "bert.".
        self._tensors = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
        self._left = set(self._tensors)
        if len(self._tensors) != len(tensors):
            raise CorruptModel("the checkpoint holds tensors both with and without the prefix 'bert.'")

    def _get(self, name: str) -> Tensor:
        if name not in self._tensors:
            raise CorruptModel(f"tensor {name} is missing: the weights do not belong to this config.json")
        self._left.discard(name)
        return self._tensors[name]

    def vector(self, name: str, size: int) -> NDArray[np.float32]:
        tensor = self._get(name)
        if tensor.shape != (size,):
            raise CorruptModel(f"tensor {name} has shape {tensor.shape}; config.json implies {(size,)}")
        return tensor.float32()

    def matrix(self, name: str, rows: int, columns: int) -> Matrix:
        tensor = self._get(name)
        quantized = tensor.dtype == "U8"
        shape = (rows, columns // q8_0.BLOCK * q8_0.BYTES) if quantized else (rows, columns)
        if tensor.shape != shape or (quantized and columns % q8_0.BLOCK):
            raise CorruptModel(f"tensor {name} ({tensor.dtype}) has shape {tensor.shape}; config.json implies {shape}")
        return Matrix(tensor.array, "q8_0") if quantized else Matrix(tensor.float32())

    def finish(self) -> None:
        unknown = sorted(name for name in self._left if not name.startswith(_UNUSED))
        if unknown:
            raise CorruptModel(
                f"the checkpoint has {len(unknown)} tensors that this family does not know, such as {unknown[0]}"
            )
