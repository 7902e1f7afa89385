"""Reading a question: terms, kinds of answers, languages, and what is refused."""

from __future__ import annotations

import pytest

from ownlm.errors import InvalidSetting
from ownlm.rag.answer_type import KINDS, asked, holds
from ownlm.rag.language import is_known
from ownlm.rag.query import MAX_CHARACTERS, read_query


def test_terms_are_what_the_question_is_about() -> None:
    query = read_query("  How much is the monthly fee for a Workshop pass? ")
    assert query.keywords == ("monthly", "fee", "workshop", "pass")
    assert query.terms == ("monthli", "fee", "workshop", "pass")
    assert query.kinds == ("money",)
    assert query.text == "How much is the monthly fee for a Workshop pass?"


def test_a_question_of_stop_words_keeps_them() -> None:
    assert read_query("Who are you?").terms == ("who", "ar", "you")


@pytest.mark.parametrize("question", ["", "   ", "\n\t", "?!", "x" * (MAX_CHARACTERS + 1), "word " * 2000])
def test_what_is_no_question_is_refused_in_one_line(question: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        read_query(question)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("question", "kind", "sentence"),
    [
        ("When does the office open?", "time", "It opens at 9:30."),
        ("How often are the filters cleaned?", "time", "They are cleaned every two weeks."),
        ("Who keeps the keys?", "person", "The keys are with Joan Petty."),
        ("How many seats are there?", "number", "There are forty seats."),
        ("What does a pass cost?", "money", "A pass is £14."),
        ("What is the telephone number of the porter?", "contact", "Ring 01632 960 512."),
        ("Why is the gate locked?", "reason", "It is locked because of thefts."),
        ("Where is the first-aid box?", "place", "It hangs behind the door."),
    ],
)
def test_kinds_asked_for_are_found_in_what_answers(question: str, kind: str, sentence: str) -> None:
    assert kind in asked(question)
    assert holds(sentence, kind)  # type: ignore[arg-type]
    assert not holds("nothing of any sort here", kind)  # type: ignore[arg-type]


def test_the_questions_own_words_are_no_answer() -> None:
    assert not holds("The 2019 rules were strict.", "time", {"2019"})
    assert holds("The 2019 rules ended in 2021.", "time", {"2019"})
    assert set(KINDS) >= {"time", "person"}


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("Who signs the lease?", True),
        ("Los Angeles population", True),
        ("1234?", True),
        ("Crème brûlée recipe", True),
        ("Wer ist der Vorsitzende des Vereins?", False),
        ("Quelle est la date de la réunion ?", False),
        ("¿Cuánto cuesta la habitación?", False),
        ("会長は誰ですか", False),
        ("Кто председатель?", False),
    ],
)
def test_languages_that_the_encoder_does_not_know(text: str, known: bool) -> None:
    assert is_known(text) is known
