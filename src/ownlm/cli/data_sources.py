"""From the words of ``ownlm data`` to sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from ownlm.train.data.source import Format, Source


def named_sources(
    paths: Sequence[str], corpus: Path | None, weights: list[str] | None, licences: list[str] | None,
    held: list[str] | None, field: str, form: str | None, separator: str | None, pattern: str,
) -> list[Source]:  # fmt: skip
    """The sources that a command's words name, those of the corpus file first. Raises InvalidSetting."""
    from dataclasses import replace

    from ownlm.errors import InvalidSetting
    from ownlm.train.data.corpus_file import read_corpus
    from ownlm.train.data.source import Source

    found = {source.name: source for source in read_corpus(corpus)} if corpus else {}
    for word in paths:
        name, mark, path = word.partition("=")
        if not mark or Path(word).exists():
            name, path = Path(word).name.split(".")[0] if word != "-" else "stdin", word
        if name in found:
            raise InvalidSetting("PATH", word, f"there is a source {name!r} already: give it as NAME=PATH")
        place: Path | Literal["-"] = "-" if path == "-" else Path(path)
        found[name] = Source(name, place, text=field, format=cast("Format | None", form), separator=separator,
                             pattern=pattern)  # fmt: skip

    def named(option: str, words: list[str] | None, change: Callable[[Source, str], Source]) -> None:
        for word in words or []:
            name, _, value = word.partition("=")
            if name not in found:
                raise InvalidSetting(
                    option, word, f"there is no source {name!r}: there are {', '.join(found) or 'none'}"
                )
            found[name] = change(found[name], value)

    def number(source: Source, value: str) -> Source:
        try:
            return replace(source, weight=float(value))
        except ValueError:
            raise InvalidSetting("--weight", f"{source.name}={value}", "give a number after NAME=") from None

    named("--weight", weights, number)
    named("--licence", licences, lambda source, value: replace(source, licence=value))
    named("--validate-on", held, lambda source, _: replace(source, split="valid"))
    return list(found.values())
