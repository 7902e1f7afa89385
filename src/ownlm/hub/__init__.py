"""Model files: find them, pull them from the Hugging Face Hub, list, verify and remove them. No weights are read."""

from __future__ import annotations

from ownlm.hub.inventory import Model, list_models, remove
from ownlm.hub.local import DEFAULT, models_home, resolve, shipped, shipped_folder, starter
from ownlm.hub.pull import Progress, pull
from ownlm.hub.sums import SUMS, verify

__all__ = [
    "DEFAULT",
    "SUMS",
    "Model",
    "Progress",
    "list_models",
    "models_home",
    "pull",
    "remove",
    "resolve",
    "shipped",
    "shipped_folder",
    "starter",
    "verify",
]
