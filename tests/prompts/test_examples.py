"""Few-shot selection: by likeness, the same each time, and never the question itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownlm.engine.embedder import Embedder
from ownlm.errors import InvalidSetting
from ownlm.prompts import Shot, load, sentiment
from ownlm.prompts.examples import Examples, NearestPrompt, with_fixed, with_nearest
from ownlm.prompts.kept import Kept, keep
from ownlm.prompts.sentiment import Sentiment

ROWS = [
    ("The soup was cold.", "negative"),
    ("The soup was delicious and hot.", "positive"),
    ("The engine failed on the motorway.", "negative"),
    ("A quiet car that is a joy to drive.", "positive"),
    ("The plot makes no sense at all.", "negative"),
    ("A film that moved me to tears.", "positive"),
]
SHOTS = [Shot(Sentiment(text), label) for text, label in ROWS]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load()


def test_the_likest_stands_last_and_the_question_itself_never(embedder: Embedder) -> None:
    examples = Examples(SHOTS, embedder)
    found = examples.nearest(Sentiment("A movie with a dull story."), 2)
    assert {shot.inputs.text for shot in found} == {ROWS[4][0], ROWS[5][0]}
    for shot in SHOTS:
        near = examples.nearest(shot.inputs, 5)
        assert shot not in near and len(near) == 5
    assert "soup" in examples.nearest(SHOTS[0].inputs, 3)[-1].inputs.text
    assert examples.nearest(Sentiment("x"), 3) == Examples(SHOTS, embedder).nearest(Sentiment("x"), 3)


def test_fixed_examples_show_every_label_and_differ(embedder: Embedder) -> None:
    examples = Examples(SHOTS, embedder)
    for count in (2, 3, 4, 6):
        found = examples.fixed(count)
        assert found == Examples(SHOTS, embedder).fixed(count) and len(set(found)) == count
        answers = [shot.answer for shot in found]
        assert abs(answers.count("positive") - answers.count("negative")) <= 1
    free = Examples([Shot(shot.inputs, f"{at}") for at, shot in enumerate([*SHOTS, *SHOTS[:1]])], embedder)
    texts = [shot.inputs.text for shot in free.fixed(5)]
    assert len(set(texts)) == 5  # the one that stands there twice is not taken twice while others are left


@pytest.mark.parametrize("count", [0, 7])
def test_as_many_as_there_are(embedder: Embedder, count: int) -> None:
    with pytest.raises(InvalidSetting, match="give from 1 to 6"):
        Examples(SHOTS, embedder).fixed(count)
    with pytest.raises(InvalidSetting, match="give from 1 to"):
        Examples(SHOTS, embedder).nearest(Sentiment("x"), count)
    with pytest.raises(InvalidSetting, match="at least one"):
        Examples([], embedder)


def test_prompts_with_shots_survive_the_disk(tmp_path: Path, embedder: Embedder) -> None:
    class Model:
        path, fingerprint = None, "f"

    examples = Examples(SHOTS, embedder)
    file = tmp_path / "prompts" / "sentiment.json"
    asked = Sentiment("The stew was tepid.")
    for prompt in (
        with_fixed(sentiment.PROMPT, examples.fixed(2)),
        with_nearest(sentiment.PROMPT, examples, 2),
    ):
        keep(file, "f", Kept(prompt, "m", {}))
        found = load("sentiment", Model(), home=tmp_path)
        said = found.messages(asked)
        assert type(found) is type(prompt) and found.version == prompt.version and said == prompt.messages(asked)
        assert [message["role"] for message in said] == ["user", "assistant"] * 2 + ["user"]
    assert isinstance(found, NearestPrompt) and "soup" in said[2]["content"]
