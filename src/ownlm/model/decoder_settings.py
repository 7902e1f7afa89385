"""A decoder's config.json: values by name, checked as they are taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ownlm.errors import CorruptModel, UnsupportedModel
from ownlm.model.decoder_config import GatedActivation

# By the checkpoint's name.
_ACTIVATIONS: dict[str, GatedActivation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
# Lists of this many are made before a tensor is looked at.
_MOST = {
    "num_hidden_layers": 1 << 14,
    "n_layer": 1 << 14,
    "head_dim": 1 << 16,
    "hidden_size": 1 << 20,
    "n_embd": 1 << 20,
}


class Settings:
    """``where`` begins every message. A null counts as absent."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = values, where

    def get(self, name: str, default: Any = None) -> Any:
        """The value as it is."""
        found = self.values.get(name)
        return default if found is None else found

    def count(self, name: str, default: int | None = None) -> int:
        """A whole number from 1 to what its name can be."""
        value, most = self.get(name, default), _MOST.get(name, 2**31 - 1)
        if type(value) is not int or not 0 < value <= most:
            raise CorruptModel(f"{self.where}: {name} is {value!r}, not a whole number from 1 to {most}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A number above 0."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise CorruptModel(f"{self.where}: {name} is {value!r}, not a number that it can be")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        """A number above 0, or None where it is null or absent."""
        return None if self.get(name) is None else self.number(name)

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise CorruptModel(f"{self.where}: {name} is {value!r}, not true or false")
        return value

    def each_layer(self, name: str, layers: int) -> list[Any] | None:
        """A list of one value a layer, or None."""
        value = self.get(name)
        if value is not None and (not isinstance(value, list) or len(value) != layers):
            raise CorruptModel(f"{self.where}: {name} does not speak of {layers} layers")
        return value

    def activation(self, *names: str) -> GatedActivation:
        """Of the first of ``names`` that is there."""
        name = next((self.values[key] for key in names if self.values.get(key) is not None), "silu")
        if not isinstance(name, str) or name not in _ACTIVATIONS:
            raise UnsupportedModel(
                f"{self.where}: {names[0]} is {name!r}; supported: {', '.join(sorted(_ACTIVATIONS))}"
            )
        return _ACTIVATIONS[name]

    def refuse(self, **plain: Any) -> None:
        """UnsupportedModel for a setting that is there with another value than the one that is supported."""
        for name, value in plain.items():
            if self.get(name, value) != value:
                raise UnsupportedModel(f"{self.where}: {name} is {self.values[name]!r}; supported: {value!r}")
