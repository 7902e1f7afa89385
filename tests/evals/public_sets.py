"""Rows of every set that is measured on, a few of each, in the shapes of the public files."""

from __future__ import annotations

from typing import Any

from ownlm.evals.held_out import held_out

GATE = "The north gate opens at nine. It was built in 1973 by the town."
STORY = "Once there was a fox. The fox ate a goose because he was hungry."


def held(stem: str, count: int) -> list[str]:
    """Texts that measure."""
    found = (f"{stem} {number}" for number in range(1000))
    return [text for text in found if held_out(text)][:count]


def polarity() -> list[dict[str, Any]]:
    good = [{"text": text, "label": "positive"} for text in held("a fine film", 4)]
    bad = [{"text": text, "label": "negative"} for text in held("a dull film", 2)]
    kept = [
        {"text": f"a film {number}", "label": "positive"} for number in range(40) if not held_out(f"a film {number}")
    ]
    return [*good, *kept, *bad]


def pages() -> list[dict[str, Any]]:
    (page,) = held("library/page", 1)
    pairs = [("Open the file for reading.", "Abre el archivo."), ("Close the file after use.", "Cierra el archivo.")]
    measured = [{"path": page, "en": english, "tgt": other} for english, other in pairs]
    trained = [{"path": "c-api/abstract.po", "en": "Not to be measured here.", "tgt": "No."}]
    assert not held_out("c-api/abstract.po")
    return [*measured, *measured[:1], *trained, {"path": page, "en": "short", "tgt": "corto"}]


ROWS: dict[str, list[dict[str, Any]]] = {
    "grounded_qa/squad2_dev": [
        {"id": "1", "context": GATE, "question": "When was it built?", "answers": ["1973", "in 1973"],
         "answerable": True},
        {"id": "2", "context": GATE, "question": "Who painted it?", "answers": [], "answerable": False},
        {"id": "3", "context": STORY, "question": "When did it open?", "answers": [], "answerable": False},
        {"id": "4", "context": STORY, "question": "What did he eat?", "answers": ["a goose"], "answerable": True},
    ],
    "grounded_qa/fairytaleqa_dev": [
        {"question": "Why did the fox eat?", "context": STORY, "answers": ["he was hungry", "hungry"]},
        {"question": "Who was there?", "context": STORY, "answers": ["a fox", "a fox"]},
    ],
    "summarization/scitldr_dev": [
        {"source": ["We train small models.", "They learn to copy."], "target": ["Small models copy.",
         "We train models."]},
    ],
    "sentiment/sentence_polarity_train": polarity(),
    "sentiment/movie_reviews_train": polarity(),
    "translation/python_docs_en_es": pages(),
    "translation/python_docs_en_fr": pages(),
    "code/mbpp": [
        {"task_id": 7, "text": "Add.", "code": "def add(a, b):\r\n\tresult = a + b\r\n\treturn result"},
        {"task_id": 601, "text": "Trained on.", "code": "def add(a, b):\r\n\tresult = a + b\r\n\treturn result"},
    ],
    "pretrain/wikitext2_valid": [
        {"text": " "}, {"text": " = First = "}, {"text": " "}, {"text": " It is <unk> . "}, {"text": " = = Part = = "},
        {"text": " More . "}, {"text": " "}, {"text": " = Second = "}, {"text": " "}, {"text": " The end . "},
    ],
}  # fmt: skip
