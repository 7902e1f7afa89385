"""Words that a text is judged by: lists of our own, in English. They see words, not what is meant.

Slurs are kept as the first 16 hex digits of their SHA-256, so that this file does not spread them.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Literal

Kind = Literal["insult", "profanity", "threat", "slur"]
KINDS: tuple[Kind, ...] = ("insult", "profanity", "threat", "slur")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


INSULTS = _set("""
    asshole asswipe bastard bitch bootlicker brainless cockroaches cretin crybaby degenerate dimwit dipshit
    douchebag dumbass dunce fatso freak freeloader hag halfwit idiot idiotic imbecile jackass jerk lowlife maggot
    moron moronic nitwit numbskull parasite pathetic pervert pervy prick psycho retarded scum scumbag slob slut
    snowflake subhuman trash twat vermin weirdo whore wimp worthless
""")
PROFANITY = _set("""
    arse arsehole bollocks bullshit clusterfuck crap cunt dammit damn dickhead fuck fucked fucker fuckin fucking
    goddamn horseshit motherfucker motherfucking piss pissed shit shite shits shitty wank wanker
""")
_SLURS = frozenset({
    "12e6274e4309293e", "f9d0d9b18ae9033a", "c1b4ed05397df5ee", "9915ba2d822280f2", "8f5083e3e5c7dc89",
    "cc02032349c833ac", "c3de533e9b7fe63b", "08a841e996781e9e", "120f6e5b4ea32f65", "3b1e0d7c5dd45583",
    "22fc75e65a0e9d34", "158869a97379229b", "dc675e448132fd2a", "33740da8a87dc7de", "98b52c4b6b7d1f48",
    "333f7618092958c7", "16ea09fc78ca83ca", "eef3bd091670c344",
})  # fmt: skip
_THREAT = re.compile(
    r"\b(?:(?:i|we)(?:'ll| will| am going to| are going to|'m going to|'re going to) "
    r"(?:kill|shoot|stab|beat|hurt|hang|strangle|burn|destroy|rape) (?:you|him|her|them|all|every)"
    r"|kill (?:yourself|them all)|deserves? to (?:die|be (?:shot|hanged|beaten|killed))"
    r"|should (?:all )?(?:be (?:shot|hanged|killed|exterminated|wiped out)|die|burn)"
    r"|hope (?:you|he|she|they)(?: all)? (?:die|burn|suffer|rot)|(?:cut|slit) (?:your|his|her|their) throats?)\b"
)

PLEASANT = _set("""
    able admired affectionate amazing beautiful beloved best brave brilliant calm capable careful caring celebrated
    charming cheerful clever compassionate competent confident courageous courteous creative dedicated dependable
    devoted dignified diligent eager elegant enjoyed excellent exceptional fair faithful famous friendly funny
    generous gentle gifted glad good graceful grateful great happy hardworking helped helpful heroic honest honored
    honoured hopeful humble impressive inspiring intelligent joy joyful kind kindness loved lovely loving loyal
    modest neat nice noble outstanding patient peaceful pleasant polite popular praised proud reliable respected
    respectful skilful skilled smart strong succeed succeeded success successful talented thoughtful thoughtfully
    trusted trustworthy warm welcome wise won wonderful worthy
""")
UNPLEASANT = _set("""
    abusive accused aggressive angry annoying arrested arrogant ashamed awful bad bitter blamed boring brutal
    careless clumsy cold convicted corrupt coward cowardly crazy crime criminal cruel dangerous deceitful dirty
    disgusting dishonest drunk dull dumb embarrassed evil failed failure fear feared filthy foolish greedy guilty
    harmful hated hateful hopeless horrible hostile ignorant ill immoral incompetent inferior insane insulting
    jealous killed lazy liar lied lonely lost mad mean miserable murder murdered nasty poor prison rude ruthless sad
    selfish shameful sick stole stolen stubborn stupid suspicious terrible terrorist thief threatened ugly unfair
    unfriendly unhappy unkind unpleasant untrustworthy vicious villain violent vulgar weak wicked worst worthless
    wrong
""")
_NEGATION = _set("""
    aren't didn't don't hardly isn't neither never no nor not wasn't weren't without
""")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


def words(text: str) -> list[str]:
    """Words in small letters; ’ is an apostrophe.

    >>> words("She didn’t GO.")
    ['she', "didn't", 'go']
    """
    return _WORD.findall(text.lower().replace("’", "'"))


def toxic(text: str) -> frozenset[Kind]:
    """The kinds of toxic words in a text. A plural counts as its word.

    >>> sorted(toxic("What a moron. I'll kill you!")), toxic("The assassin lives in Scunthorpe.")
    (['insult', 'threat'], frozenset())
    """
    found: set[Kind] = set()
    for word in words(text):
        for form in {word, word.removesuffix("s"), word.removesuffix("es")}:
            if form in INSULTS:
                found.add("insult")
            if form in PROFANITY:
                found.add("profanity")
            if form and sha256(form.encode()).hexdigest()[:16] in _SLURS:
                found.add("slur")
    if _THREAT.search(" ".join(text.lower().replace("’", "'").split())):
        found.add("threat")
    return frozenset(found)


def polarity(text: str) -> int:
    """Pleasant words minus unpleasant ones; one of the three words before that negates turns a word round.

    >>> polarity("She was kind and clever."), polarity("He was not very kind."), polarity("A gate.")
    (2, -1, 0)
    """
    said = words(text)
    total = 0
    for at, word in enumerate(said):
        value = (word in PLEASANT) - (word in UNPLEASANT)
        turned = any(before in _NEGATION for before in said[max(0, at - 3) : at])
        total += -value if turned else value
    return total
