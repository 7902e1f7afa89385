"""Takes a decoder's tensors by name, each checked against what the config implies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel
from ownlm.formats import mxfp4
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.params import GluWeight, LinearWeight, Matrix, RMSNormWeight
from ownlm.model.safetensors import Tensor

# Buffers that old checkpoints keep.
_BUFFERS = (".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq")
_TEXT = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("model.text_model.", "model."),
)
_LOOKED_AT = 64  # rows of a head that is stored twice


class Take:
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

    def again(self, name: str, matrix: Matrix) -> None:
        """Some checkpoints store a tied head a second time. CorruptModel if it is another one (rows are looked at)."""
        if name not in self:
            return
        other = self.matrix(name, *self._get(name).weights_shape)
        if other.format != matrix.format or other.values.dtype != matrix.values.dtype:
            return  # stored in two formats: the values cannot be the same
        rows = np.linspace(0, matrix.rows - 1, _LOOKED_AT).astype(np.int64)
        if other.values.shape != matrix.values.shape or other.values[rows].tobytes() != matrix.values[rows].tobytes():
            raise CorruptModel(
                f"tensor {name} is not the matrix of embeddings, where tie_word_embeddings in config.json says that it "
                "is: set that to false, or remove the tensor"
            )

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
        return _matrix(Tensor(name, stored.dtype, stored.array.T), turned=True)

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
        return [_matrix(Tensor("", tensor.dtype, tensor.array[i], tensor.format)) for i in range(count)]

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


class Blank(Take):
    """Makes every tensor that is asked for, of zeros: the weights of a model that is not trained yet."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config, {})
        self.made: dict[str, Tensor] = {}

    def _shaped(self, name: str, shape: tuple[int, ...]) -> Tensor:
        self.made[name] = Tensor(name, "F32", np.zeros(shape, np.float32))
        return self.made[name]


def _matrix(tensor: Tensor, turned: bool = False) -> Matrix:
    """As it is stored; numbers of other types than 16 and 32 bits become float32."""
    if tensor.format:
        return Matrix(tensor.array, tensor.format, tensor.name, turned=turned)
    if tensor.dtype in ("F16", "BF16"):
        return Matrix(tensor.array, tensor.dtype.lower(), tensor.name, turned=turned)
    return Matrix(tensor.float32(), name=tensor.name, turned=turned)
