"""Fill-in-the-middle: the tokens that ask a code model for what stands between a prefix and a suffix.

Bavarian et al. 2022, https://arxiv.org/abs/2207.14255. A vocabulary is asked for each family's tokens by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ownlm.tokenizer.tokenizer import Tokenizer

# prefix, suffix, middle, whether the suffix comes first; the first whose three tokens are all there counts.
_FAMILIES = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", False),  # Qwen2.5-coder, CodeGemma
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>", False),  # StarCoder, StarCoder2, SmolLM, Granite code
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>", False),  # SantaCoder
    ("\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>", False),  # CodeLlama
    ("<PRE>", "<SUF>", "<MID>", False),
    ("<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>", False),  # DeepSeek
    ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>", False),  # GLM-4.5
    ("<|prefix|>", "<|suffix|>", "<|middle|>", False),  # Falcon-H1
    ("[PREFIX]", "[SUFFIX]", "", True),  # Codestral: the prefix, last, is simply continued
)
_OTHERS = {
    "pad": ("<|fim_pad|>", "<fim_pad>", "<fim-pad>"),
    "repository": ("<|repo_name|>", "<repo_name>", "<reponame>"),
    "file": ("<|file_sep|>", "<file_sep>", "<filename>", "<|file_separator|>"),
    "end": ("\u2581<EOT>", "<EOT>"),
}


@dataclass(frozen=True, slots=True)
class Fim:
    """Ids; ``middle`` is None where the prefix comes last. ``ends``: ids at which a completion is over."""

    prefix: int
    suffix: int
    middle: int | None
    suffix_first: bool = False
    pad: int | None = None
    repository: int | None = None
    file: int | None = None
    end: int | None = None

    @property
    def ends(self) -> frozenset[int]:
        found = (self.prefix, self.suffix, self.middle, self.pad, self.repository, self.file, self.end)
        return frozenset(id_ for id_ in found if id_ is not None)

    def prompt(self, tokenizer: Tokenizer, prefix: str, suffix: str) -> list[int]:
        """The ids that ask for what stands between the two texts. What they spell is text, never a token."""
        plain = tokenizer.literal(tokenizer.special_ids | self.ends)
        before, after = (plain.encode(text, continued=True) if text else [] for text in (prefix, suffix))
        if self.suffix_first:
            ids = [self.suffix, *after, self.prefix, *before]
        else:
            ids = [self.prefix, *before, self.suffix, *after]
        if self.middle is not None:
            ids.append(self.middle)
        first = tokenizer.encode("")[:1]
        bos = first if first and first[0] == tokenizer.bos_id else []
        return bos + ids


def find_fim(id_of: Callable[[str], int | None], named: Mapping[str, int]) -> Fim | None:
    """The tokens of the first family that the vocabulary has; what a GGUF names outright goes first."""
    pad, repository, file, end = (named.get(role, _first(id_of, names)) for role, names in _OTHERS.items())
    others = (pad, repository, file, end)
    if {"prefix", "suffix", "middle"} <= named.keys():
        return Fim(named["prefix"], named["suffix"], named["middle"], False, *others)
    for prefix, suffix, middle, suffix_first in _FAMILIES:
        before, after, between = id_of(prefix), id_of(suffix), id_of(middle) if middle else None
        if before is not None and after is not None and (between is not None or not middle):
            return Fim(before, after, between, suffix_first, *others)
    return None


def _first(id_of: Callable[[str], int | None], names: tuple[str, ...]) -> int | None:
    return next((id_ for name in names if (id_ := id_of(name)) is not None), None)
