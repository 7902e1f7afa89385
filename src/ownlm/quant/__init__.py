"""Fewer bits a weight, and what that cost."""

from __future__ import annotations

from ownlm.quant.quantize import TARGETS, quantize
from ownlm.quant.receipt import Receipt, measure

__all__ = ["TARGETS", "Receipt", "measure", "quantize"]
