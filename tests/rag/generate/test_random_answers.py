"""By construction: whatever a model's weights are, an answer cites what was given and quotes what stands there."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from ownlm.engine.grammar import Grammar, GrammarVocabulary
from ownlm.prompts.grounded import NOTHING
from ownlm.rag.generate.grammar import grammar
from ownlm.rag.generate.parse import parse
from ownlm.rag.types import Passage
from ownlm.tokenizer import Tokenizer

TEXTS = [
    "The yearly fee is £84. The year runs from the day you join.\nConcessions: £42.",
    "Room: “Attic” | Seats: 12 | Fee: £9.50\nRoom: Hall | Seats: 80 | Fee: £31.00 [see notes]",
    "Ferme le dimanche; ouvert à 9 h — sauf « fêtes ».",
    "日本語の文書です。開館は九時。",
]
ANSWERS = 500


def passages(texts: list[str]) -> list[Passage]:
    return [
        Passage(index, f"/d{index}.md", "", 100 * index, 100 * index + len(text), text, 1.0)
        for index, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def vocabulary() -> GrammarVocabulary:
    """Every byte, and some longer tokens that mix signs, so that a token can cross what the grammar separates."""
    from tokenizers import Tokenizer as Fast
    from tokenizers import decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    extra = ["Ġ[", "].", "]Ġ", "Ġthe", "fee", "Ġis", "Ġ[1", "]Ġ[", "£8", "84", '."', ".Ġ", "Ġâ", "âĢ", "âĢľ", "âĢĿ"]
    known = {token: index for index, token in enumerate([*letters, *extra])}
    fast = Fast(models.BPE(known, []))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(["<eos>"])
    tokenizer = Tokenizer(fast.to_str().encode())
    return GrammarVocabulary(tokenizer, tokenizer.vocab_size, [fast.token_to_id("<eos>")])


def random_answer(vocabulary: GrammarVocabulary, source: str, seed: int, most: int = 70) -> tuple[str, bool]:
    """A text by a model of random weights: a fresh random distribution at each token, under the grammar."""
    rng = np.random.default_rng(seed)
    matcher = Grammar.lark(source).compile(vocabulary).matcher()
    ids: list[int] = []
    weights = rng.normal(0, 2, (8, vocabulary.size)).astype(np.float32)
    # Signs that open, close and end are as likely as all letters together, or it would never come to them.
    signs = [vocabulary.tokenizer.id_of(token) for token in (".", "Ġ", "âĢľ", "âĢĿ", "Ġ[", "]Ġ[", "].")]
    weights[:, signs] += 7
    for step in range(most):
        logits = weights[step % 8] + rng.normal(0, 1, vocabulary.size).astype(np.float32)
        logits[~matcher.allowed()] = -np.inf
        token = int(logits.argmax())
        if token in vocabulary.ends:
            return vocabulary.tokenizer.decode(ids), True
        matcher.accept(token)
        ids.append(token)
        if matcher.finished:
            return vocabulary.tokenizer.decode(ids), True
    return vocabulary.tokenizer.decode(ids), False


def check(text: str, finished: bool, texts: list[str]) -> tuple[int, int]:
    """What holds of every answer; (citations, quotations) found in it."""
    given = passages(texts)
    whole = text
    text = text if finished else text[: text.rfind("]") + 1]  # what was cut is left out of the answer
    if text.startswith(NOTHING[: max(1, len(text))]):
        return 0, 0
    assert all(1 <= int(number) <= len(texts) for number in re.findall(r"\[(\d+)\]", text))
    quotes = re.findall("“([^”]*)” \\[(\\d+)\\]", text)
    assert text.count("”") == len(quotes)
    for quote, number in quotes:
        assert len(quote) >= 2 and quote in texts[int(number) - 1]
    parsed = parse(whole, given, finished=finished, enforced=True)
    assert (parsed.dropped, parsed.misnumbered, parsed.uncited) == (0, 0, 0)
    for claim in parsed.claims:
        assert claim.citations and parsed.text[claim.start : claim.end] == claim.text
        for citation in claim.citations:
            passage = next(p for p in given if p.document == citation.document)
            assert citation.quote == passage.text[citation.start - passage.start : citation.end - passage.start] != ""
    return len(re.findall(r"\[\d+\]", text)), len(quotes)


def test_500_answers_of_random_weights(vocabulary: GrammarVocabulary) -> None:
    cited = quoted = claims = 0
    for seed in range(ANSWERS):
        rng = random.Random(seed)
        texts = rng.sample(TEXTS, rng.randint(1, len(TEXTS)))
        text, finished = random_answer(vocabulary, grammar(texts), seed)
        found = check(text, finished, texts)
        cited, quoted = cited + found[0], quoted + found[1]
        claims += len(parse(text, passages(texts), finished=finished, enforced=True).claims)
    assert cited > 200 and quoted > 100 and claims > 100, (cited, quoted, claims)


@pytest.mark.parametrize(
    "fault",
    [
        lambda source: source.replace('"[1]"', '"[1]" | "[7]"'),
        lambda source: source.replace("substring_words", "substring_chars").replace("The yearly fee", "A monthly fee"),
    ],
)
def test_a_grammar_with_a_hole_is_caught(vocabulary: GrammarVocabulary, fault: object) -> None:
    source = fault(grammar(TEXTS[:1]))  # type: ignore[operator]
    with pytest.raises(AssertionError):
        for seed in range(ANSWERS):
            check(*random_answer(vocabulary, source, seed), TEXTS[:1])


def test_without_passages_only_that_nothing_answers(vocabulary: GrammarVocabulary) -> None:
    assert random_answer(vocabulary, grammar([]), 1) == (NOTHING, True)
