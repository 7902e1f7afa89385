"""What a model may write, and what not: by bytes, so that no tokenizer stands between."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer as Fast
from tokenizers import decoders, models, pre_tokenizers

from ownlm.engine.grammar import Grammar, GrammarVocabulary
from ownlm.prompts.grounded import NOTHING, cited, quoted, unmarked
from ownlm.rag.generate.grammar import grammar
from ownlm.tokenizer import Tokenizer

TEXTS = ["The yearly fee is £84. The year runs.", "Open at nine."]


@pytest.fixture(scope="module")
def vocabulary() -> GrammarVocabulary:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    fast = Fast(models.BPE({letter: index for index, letter in enumerate(letters)}, []))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens(["<eos>"])
    tokenizer = Tokenizer(fast.to_str().encode())
    return GrammarVocabulary(tokenizer, tokenizer.vocab_size, [fast.token_to_id("<eos>")])


def admitted(text: str, vocabulary: GrammarVocabulary) -> bool:
    """Whether a model may write this and end there."""
    matcher = Grammar.lark(grammar(TEXTS)).compile(vocabulary).matcher()
    for token in vocabulary.tokenizer.encode(text):
        if not matcher.allowed()[token]:
            return False
        matcher.accept(token)
    return matcher.finished or bool(matcher.allowed()[list(vocabulary.ends)].any())


@pytest.mark.parametrize(
    "text",
    [
        NOTHING,
        "A. [2]",
        "The fee rose in May. [1]",
        "The documents do not say much. [1][2]",
        "It is “£84” [1] a year. [1][2] Yes! [1]",
        "“Open at nine.” [2]. [2]",
        "From “fee is £84. The year” [1] on “nine” [2]? [1][2]",
        "It’s 9.5 kg — the maker's (soon). [1]",
        "日本語 ok. [1]",
        "• €5 – “The year” [1] → now. [2]",
    ],
)
def test_admitted(vocabulary: GrammarVocabulary, text: str) -> None:
    assert admitted(text, vocabulary)


@pytest.mark.parametrize(
    "text",
    [
        "A.",
        "A. [3]",
        "A [1]. [1]",
        "A. B. [1]",
        "“£84” [2]. [1]",
        "“£85” [1]. [1]",
        "“£84”. [1]",
        "“ee is” [1]. [1]",
        "“” [1]. [1]",
        'Say "lie" now. [1]',
        "Say «lie» now. [1]",
        "Say ❝lie❞ now. [1]",
        "Say 'lie' now. [1]",
        "A.\n[1]",
        "A. [1]\n\nB. [1]",
    ],
)
def test_refused(vocabulary: GrammarVocabulary, text: str) -> None:
    assert not admitted(text, vocabulary)


@pytest.mark.parametrize(("answer", "says"), [
    (cited("at nine", 2), "at nine."),
    (cited(" The fee\nrose. ", 1, 2), "The fee rose."),
    (quoted("fee is £84. The year", 1), "fee is £84. The year"),
    (quoted("Open at nine.", 2), "Open at nine."),
])  # fmt: skip
def test_answers_that_models_are_trained_on_are_admitted(vocabulary: GrammarVocabulary, answer: str, says: str) -> None:
    assert admitted(answer, vocabulary) and unmarked(answer) == says
