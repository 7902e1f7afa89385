"""Text as a recipe's data: token shards that are built the first time they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ownlm.errors import OtherRecipe
from ownlm.train.data import BuildSettings, Source, build, manifest
from ownlm.train.recipe import Opened, Tokens


@dataclass(frozen=True, slots=True)
class Corpus:
    """``sources`` as shards in ``folder``, with a tokenizer of their own; see ``ownlm data build``."""

    folder: Path
    sources: tuple[Source, ...]
    settings: BuildSettings = field(default_factory=BuildSettings)

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened:
        """See ``recipe.Data``. Raises OtherRecipe if the folder has shards of other sources."""
        if not (self.folder / manifest.NAME).is_file():
            build(self.sources, self.folder, self.settings)
        there = [source.name for source in manifest.load(self.folder).sources]
        here = [source.name for source in self.sources]
        if there != here:
            raise OtherRecipe(self.folder, {"sources": (there, here)})
        return Tokens(self.folder).open(tokenizer, length, cache)
