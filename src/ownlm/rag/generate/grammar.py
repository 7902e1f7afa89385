"""The grammar of a grounded answer: only numbers of passages that were given, and between quotation marks only text
that stands in the passage named after it.

    The fee rose in May. [1] It is “£84 a year” [2] for members. [1][2]
    └────── claim ─────────┘ └────────────── claim ───────────────────┘
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ownlm.prompts.grounded import NOTHING

MAX_CLAIMS = 12
MAX_CITATIONS = 4
OPEN, CLOSE = "“", "”"
# What a quotation cannot run across: its own marks, brackets of citations, ends of lines.
BREAKS = re.compile(r"[\n\r\t“”\[\]]+")
# No word holds a mark that could pass for a quotation's, a bracket, white space or a control character; none ends as
# a sentence does.
_MARKS = '"“”„‟«»‹›‘‚‛`´″‶〝〞〟「」『』＂＇❛❜❝❞❟❠❮❯⹂🙶🙷🙸\\[\\]\\p{C}'
_WORD = rf"[^\s{_MARKS}'’.!?]+(['’.!?][^\s{_MARKS}'’.!?]+)*"
# The parser takes the longest lexeme and never goes back, not even by a byte, so a lexeme of words holds the sign, too,
# which tells words before a quotation from those that end a claim.
_OPEN = rf"({_WORD}( {_WORD})* )?{OPEN}"
_LAST = rf"{_WORD}( {_WORD})*[.!?] "
_SAYS_SOMETHING = r"/\S.*\S/ & /.*[\p{L}\p{N}].*/"


def grammar(passages: Sequence[str]) -> str:
    """Lark, as llguidance reads it, for passages numbered from 1; without any, only ``NOTHING`` is admitted."""
    if not passages:
        return f"start: {json.dumps(NOTHING)}"
    numbers = range(1, len(passages) + 1)
    quotes, rules = [], []
    for number, text in zip(numbers, passages, strict=True):
        lines = quotable(text)
        if not lines:
            continue
        names = [f"S{number}X{index}" for index in range(len(lines))]
        quotes.append(f"Q{number}")
        said = f"({' | '.join(names)}) & {_SAYS_SOMETHING}"
        rules.append(f'Q{number}: ({said}) "{CLOSE} [{number}]"')
        rules += [
            f'{name}: %regex {{"substring_words": {json.dumps(line, ensure_ascii=False)}}}'
            for name, line in zip(names, lines, strict=True)
        ]
    cited = " | ".join(f'"[{number}]"' for number in numbers)
    quoting = [f'OPEN ({" | ".join(quotes)}) (STOP cites | " " claim)'] if quotes else []
    return "\n".join(
        [
            f'start: {json.dumps(NOTHING)} | claim (" " claim){{0,{MAX_CLAIMS - 1}}}',
            f"claim: {' | '.join(['LAST cites', *quoting])}",
            f"cites: CITED{{1,{MAX_CITATIONS}}}",
            f"OPEN: /{_OPEN}/",
            f"LAST: /{_LAST}/",
            "STOP: /[.!?] /",
            f"CITED: {cited}",
            *rules,
        ]
    )


def quotable(passage: str) -> list[str]:
    """The stretches of a passage within which a quotation may lie, in order, each once.

    >>> quotable('Rule 1\\nSay “please” [or not].')
    ['Rule 1', 'Say', 'please', 'or not']
    """
    parts = [part.strip() for part in BREAKS.split(passage)]
    return list(dict.fromkeys(part for part in parts if len(part) > 1 and any(map(str.isalnum, part))))
