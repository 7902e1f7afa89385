"""``python -m ownlm``."""

from ownlm.cli import entry

entry()
