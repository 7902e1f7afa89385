"""From files of text to token shards: read, deduplicate, shuffle, tokenize; and the shards, mapped."""

from __future__ import annotations

from ownlm.train.data.build import build
from ownlm.train.data.manifest import Manifest
from ownlm.train.data.source import BuildSettings, Source

__all__ = ["BuildSettings", "Manifest", "Source", "build"]
