"""Fewer bits a weight, and what that cost."""

from __future__ import annotations

from ownlm.quant.quantize import quantize
from ownlm.quant.receipt import Receipt, measure

__all__ = ["Receipt", "measure", "quantize"]
