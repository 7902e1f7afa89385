"""Quantization-aware training: weights rounded at every use to the very values that quantizing will store.

The gradient passes straight through (Bengio et al. 2013, arXiv:1308.3432), so the float weights learn to round well
(Jacob et al. 2018, arXiv:1712.05877). What ``ownlm quantize`` makes of the trained weights is then, bit for bit, what
the last steps computed with: the rounding here equals ``formats/q4_0.py`` and ``formats/q8_0.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ownlm.errors import InvalidSetting
from ownlm.model.block_policy import format_of
from ownlm.model.params import Matrix
from ownlm.train.decoder import Decoder
from ownlm.train.lora import Adapted
from ownlm.train.modules import Projection

BLOCK = 32


def quantize_aware(model: Decoder, to: str) -> int:
    """Round the weights of ``model`` from now on as ``ownlm quantize --to`` would; return how many matrices that is.

    Weights that are blocks already, and frozen, stay what they are. Raises InvalidSetting for another format.
    """
    if to not in ROUNDINGS:
        raise InvalidSetting("qat", to, f"give one of {', '.join(ROUNDINGS)}")
    found = 0
    for part, matrix, columns in _weights(model):
        form = format_of(matrix.name, columns, to)
        part.rounding = ROUNDINGS[form] if form else None
        found += bool(form)
    return found


def _weights(model: Decoder) -> Iterator[tuple[Projection | Adapted, Matrix, int]]:
    """All that is not blocks already: of adapted weights the sum, which is what a merged model stores."""
    inside = {id(part.base) for part in model.modules() if isinstance(part, Adapted)}
    for part in model.modules():
        if isinstance(part, Adapted):
            yield part, part.base.matrix, part.base.shape[1]
        elif isinstance(part, Projection) and part.weight is not None and id(part) not in inside:
            yield part, part.matrix, part.shape[1]


def exact(model: Decoder) -> None:
    """Use the weights as they are again."""
    for part in model.modules():
        if isinstance(part, Projection | Adapted):
            part.rounding = None


# Opaque to torch.compile, which may join a multiplication and an addition into one operation that rounds once.
@torch.library.custom_op("ownlm::round_q4_0", mutates_args=())
def _q4_0(w: Tensor) -> Tensor:
    values = w.detach().float().reshape(-1, BLOCK)
    top = values.gather(1, values.abs().argmax(1, keepdim=True))  # the first of equals, as NumPy's
    scale = top / -8
    levels = (values * _reciprocal(scale)).add_(8.5).to(torch.uint8).clamp_(max=15)
    return (scale.half().float() * (levels.float() - 8)).view(w.shape).to(w.dtype)


@torch.library.custom_op("ownlm::round_q8_0", mutates_args=())
def _q8_0(w: Tensor) -> Tensor:
    values = w.detach().float().reshape(-1, BLOCK)
    scale = values.abs().amax(1, keepdim=True) / 127
    scaled = values * _reciprocal(scale)
    whole = scaled.trunc()
    whole += ((scaled - whole) * 2).trunc()  # half away from zero
    whole += 0.0  # no zero has a sign
    return (scale.half().float() * whole).view(w.shape).to(w.dtype)


def _reciprocal(scale: Tensor) -> Tensor:
    inverse = 1 / scale
    return inverse.masked_fill_(~inverse.isfinite(), 0)


def _straight_through(_: Any, gradient: Tensor) -> Tensor:
    return gradient


for _op in (_q4_0, _q8_0):
    _op.register_fake(torch.empty_like)
    _op.register_autograd(_straight_through)

Rounded = Callable[[Tensor], Tensor]
ROUNDINGS: dict[str, Rounded] = {"q4_0": _q4_0, "q8_0": _q8_0}
"""Rounding of weights [..., K], K a multiple of 32, by format."""


@dataclass(frozen=True, slots=True)
class QuantizationAware:
    """In the last ``share`` of a run weights are rounded as ``ownlm quantize --to`` will: a ``recipe.Quantization``."""

    to: str = "q4_0"
    share: float = 0.15

    def __post_init__(self) -> None:
        if self.to not in ROUNDINGS:
            raise InvalidSetting("quantization.to", self.to, f"give one of {', '.join(ROUNDINGS)}")
        if not 0 < self.share <= 1:
            raise InvalidSetting("quantization.share", self.share, "give a share of the run, above 0 and up to 1")

    def apply(self, model: Decoder) -> None:
        """See ``recipe.Quantization``."""
        quantize_aware(model, self.to)
