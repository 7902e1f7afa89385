"""From what was made to what is served: the parity gate, and the steps that end with it."""

from __future__ import annotations

from ownlm.publish.parity import compare, gate
from ownlm.publish.report import Check, Report
from ownlm.publish.side import Trained

__all__ = ["Check", "Report", "Trained", "compare", "gate"]
