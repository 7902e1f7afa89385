"""What a checkpoint says about itself: ``config.json``, under the checkpoint's own names.

A value that would change the forward is either honoured or refused by name; nothing is read and ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from ownlm.errors import CorruptModel, NotFound, UnsupportedModel

Activation = Literal["", "gelu", "gelu_tanh", "relu2"]
"""What ``Ops.linear`` applies to its outputs: nothing, GELU by the error function, or its tanh approximation."""

# By the checkpoint's name.
ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
FORMATS = ("q8_0",)


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """How quantized weights are stored. ``format`` q8_0: GGML block rows, U8 of shape [N, K / 32 * 34].

    ``outlier_channels`` of the hidden states are so large that a side which quantizes activations keeps them apart
    from the block they are in, whose other 31 would lose their precision (Dettmers et al. 2022, arXiv:2208.07339).
    """

    quant_method: str
    format: str
    block_size: int
    outlier_channels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What every transformer's ``config.json`` states; each family adds its own fields."""

    model_type: str
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str
    max_position_embeddings: int
    quantization_config: QuantizationConfig | None = None

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def activation(self) -> Activation:
        """``hidden_act`` by the name that ops use."""
        return ACTIVATIONS[self.hidden_act]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``config.json`` of a model folder.

        Called on a family's class, it takes that family alone. Raises NotFound, CorruptModel (a value missing or
        impossible), or UnsupportedModel (a model of a kind that is not run here, with what is).
        """
        path = folder / "config.json"
        raw = read_json(path)
        model_type = raw.get("model_type")
        families = {name: read for name, (kind, read) in _FAMILIES.items() if issubclass(kind, cls)}
        if not isinstance(model_type, str) or model_type not in families:
            raise UnsupportedModel(f"{path}: model_type is {model_type!r}; supported: {', '.join(sorted(families))}")
        config = families[model_type](path, raw)
        assert isinstance(config, cls)
        return config


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig(ModelConfig):
    """A BERT-type encoder."""

    type_vocab_size: int
    layer_norm_eps: float


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder; NotFound or CorruptModel otherwise."""
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there: give a model folder in the Hugging Face layout") from None
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptModel(f"{path} cannot be read ({error}): get the file again") from None
    if not isinstance(found, dict):
        raise CorruptModel(f"{path} is not a JSON object: get the file again")
    return found


def _bert(path: Path, raw: Mapping[str, Any]) -> BertConfig:
    for name, plain in (
        ("position_embedding_type", "absolute"),
        ("is_decoder", False),
        ("add_cross_attention", False),
        ("embedding_size", raw.get("hidden_size")),
    ):
        if raw.get(name, plain) not in (plain, None):
            raise UnsupportedModel(f"{path}: {name} is {raw[name]!r}; supported: {plain!r}")
    act = raw.get("hidden_act", "gelu")
    if not isinstance(act, str) or act not in ACTIVATIONS:
        raise UnsupportedModel(f"{path}: hidden_act is {act!r}; supported: {', '.join(sorted(ACTIVATIONS))}")
    heads = _count(path, raw, "num_attention_heads")
    hidden = _count(path, raw, "hidden_size")
    if hidden % heads:
        raise CorruptModel(f"{path}: hidden_size is {hidden}, which {heads} num_attention_heads do not divide")
    eps = raw.get("layer_norm_eps", 1e-12)
    if isinstance(eps, bool) or not isinstance(eps, int | float) or not 0 < eps < 1:
        raise CorruptModel(f"{path}: layer_norm_eps is {eps!r}, not a number between 0 and 1")
    return BertConfig(
        model_type="bert",
        vocab_size=_count(path, raw, "vocab_size"),
        hidden_size=hidden,
        num_hidden_layers=_count(path, raw, "num_hidden_layers"),
        num_attention_heads=heads,
        intermediate_size=_count(path, raw, "intermediate_size"),
        hidden_act=act,
        max_position_embeddings=_count(path, raw, "max_position_embeddings"),
        type_vocab_size=_count(path, raw, "type_vocab_size"),
        layer_norm_eps=float(eps),
        quantization_config=_quantization(path, raw.get("quantization_config"), hidden),
    )


def _count(path: Path, raw: Mapping[str, Any], name: str) -> int:
    value = raw.get(name)
    if type(value) is not int or not 0 < value < 2**31:
        raise CorruptModel(f"{path}: {name} is {value!r}, not a whole number above 0")
    return value


def _quantization(path: Path, raw: object, hidden: int) -> QuantizationConfig | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise CorruptModel(f"{path}: quantization_config is {raw!r}, not an object")
    method, form, block = raw.get("quant_method"), raw.get("format"), raw.get("block_size")
    if method != "ownlm" or form not in FORMATS:
        raise UnsupportedModel(
            f"{path}: quantization_config is {method!r}, format {form!r}; supported: 'ownlm' with {', '.join(FORMATS)}"
        )
    if block != 32:
        raise CorruptModel(f"{path}: quantization_config.block_size is {block!r}; {form} has blocks of 32")
    outliers = raw.get("outlier_channels", [])
    if not isinstance(outliers, list) or any(type(channel) is not int for channel in outliers):
        raise CorruptModel(f"{path}: quantization_config.outlier_channels is {outliers!r}, not a list of numbers")
    if sorted(set(outliers)) != outliers or (outliers and not 0 <= outliers[0] <= outliers[-1] < hidden):
        raise CorruptModel(f"{path}: quantization_config.outlier_channels is {outliers}, not rising within {hidden}")
    return QuantizationConfig(method, form, block, tuple(outliers))


_FAMILIES: dict[str, tuple[type[ModelConfig], Callable[[Path, Mapping[str, Any]], ModelConfig]]] = {
    "bert": (BertConfig, _bert),
}
