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
        if changed := self._changed(manifest.load(self.folder)):
            raise OtherRecipe(self.folder, changed)
        return Tokens(self.folder).open(tokenizer, length, cache)

    def _changed(self, there: manifest.Manifest) -> dict[str, tuple[object, object]]:
        """What the shards that are there were made of otherwise: (there, here)."""
        settings = self.settings
        here = {
            "sources": [(source.name, source.weight) for source in self.sources],
            **{name: getattr(settings, name) for name in ("seed", "valid", "exact", "near")},
        }
        found = {"sources": [(source.name, source.weight) for source in there.sources], **there.settings}
        if settings.tokenizer is None:
            here["vocab_size"], found["vocab_size"] = settings.vocab_size, there.vocab_size
        return {name: (found.get(name), value) for name, value in here.items() if found.get(name) != value}
