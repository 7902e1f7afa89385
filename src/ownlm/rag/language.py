"""Whether the encoder that ships knows the language of a text: it was trained on English.

A guess from the script and from the commonest function words; a text that gives no sign counts as known, so that
"Protocol 7?" or a product name is searched in every way there is.
"""

from __future__ import annotations

import re

from ownlm.rag.stem import word_set

_LATIN = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")

ENGLISH = word_set(
    "the a an of and or to in on at for with from by is are was were be been do does did has have had can could should "
    "would will may must what when where who whom whose which why how that this these those it its we our you your "
    "they their he his she her i my not no if any there about into after before"
)
FOREIGN = word_set(
    # German, French, Spanish, Italian, Portuguese, Dutch, Polish, Swedish, Turkish: function words that English lacks.
    "der das und ist nicht ein eine einer eines dem den mit für auf wie wer wann wieviel welche welcher welches "
    "werden wird kann zum zur von bei sind hat haben gibt "
    "le la les des une est et dans pour que qui quel quelle quels quelles où quand comment pourquoi combien sont "
    "avec sur pas du au aux ce cette "
    "el los las una es y en por para qué cuál cuándo cuánto cuánta cuántos dónde quién cómo con se del su "
    "il lo gli della delle dei degli di che è sono quando quanto dove perché come chi nel nella un uno "
    "os as uma são não quem qual quais onde como quanto em com do da dos das "
    "het een zijn wordt wat waar wanneer hoeveel welke niet voor "
    "jest nie się jak kiedy gdzie kto ile czy co w z "
    "och att det som är hur när var vem vad på "
    "bir ve bu ne nasıl nerede kim kaç için"
)  # fmt: skip
AMBIGUOUS = word_set("as come do in no on an at for me was die hat den per via war so list sea main pour")
"""Words of both; they tell nothing."""


def is_known(text: str) -> bool:
    """Whether the encoder knows the language of ``text``.

    >>> is_known("Who signs the lease?"), is_known("Wer ist der Vorsitzende?"), is_known("会長は誰ですか")
    (True, False, False)
    """
    letters = _LATIN.findall(text)
    if not letters:
        return True
    latin = sum(1 for letter in letters if letter < "\u0250" or "\u1e00" <= letter < "\u1f00")
    if latin < 0.6 * len(letters):
        return False
    words = [word for word in _WORD.findall(text.lower()) if word not in AMBIGUOUS]
    foreign = sum(word in FOREIGN and word not in ENGLISH for word in words)
    english = sum(word in ENGLISH for word in words)
    marked = not text.isascii()
    return not (foreign > english and (foreign >= 2 or (marked and english == 0)))
