"""Which prompt a model gets: what was kept for its weights, what its folder names, or the default."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ownlm.errors import CorruptModel, InvalidSetting, NotFound
from ownlm.prompts import Prompt, Shot, grounded, load, sentiment, variants
from ownlm.prompts.grounded import Grounded, Source
from ownlm.prompts.kept import Kept, keep, read_kept, read_variant
from ownlm.prompts.library import BUILT_IN
from ownlm.prompts.sentiment import Sentiment

MINE = Prompt("sentiment", "sentiment-mine", Sentiment, "{text}?", "S", (Shot(Sentiment("Fine."), "positive"),))


@dataclass
class Model:
    path: Path | None = None
    fingerprint: str = "f1"


def test_built_in_prompts_have_versions_of_their_own() -> None:
    every = [prompt for prompts in BUILT_IN.values() for prompt in prompts]
    assert len({prompt.version for prompt in every}) == len(every)
    assert all(prompt.version.startswith(template) for template, prompts in BUILT_IN.items() for prompt in prompts)
    for prompts in BUILT_IN.values():
        assert {prompt.inputs for prompt in prompts} == {prompts[0].inputs}
    assert load("sentiment") is sentiment.PROMPT is variants("sentiment")[0]
    with pytest.raises(NotFound, match="no prompt template 'poem'"):
        load("poem")


def test_what_was_kept_for_these_weights_goes_first(tmp_path: Path) -> None:
    path = tmp_path / "prompts" / "sentiment.json"
    keep(path, "f1", Kept(MINE, "one", {"score": 0.5}))
    keep(path, "f2", Kept(replace(MINE, version="other"), "two", {"score": 0.25}))
    assert load("sentiment", Model(), home=tmp_path) == MINE
    assert load("sentiment", Model(fingerprint="f2"), home=tmp_path).version == "other"
    assert load("sentiment", Model(fingerprint="f3"), home=tmp_path) is sentiment.PROMPT
    assert load("sentiment", home=tmp_path) is sentiment.PROMPT
    assert read_kept(path, sentiment.PROMPT)["f1"] == Kept(MINE, "one", {"score": 0.5})


def test_grounded_shots_survive_the_disk(tmp_path: Path) -> None:
    asked = Grounded("When?", (Source("", "At nine."),))
    mine = replace(grounded.SHORT, version="x", shots=(Shot(asked, "nine. [1]"),))
    path = tmp_path / "prompts" / "grounded.json"
    keep(path, "f1", Kept(mine, "one", {}))
    assert load("grounded", Model(), home=tmp_path) == mine


def test_a_model_folder_names_the_prompt_that_it_was_tuned_on(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text('{"grounded": "grounded-short-1"}')
    assert load("grounded", Model(tmp_path), home=tmp_path / "home") is grounded.SHORT
    assert load("sentiment", Model(tmp_path), home=tmp_path / "home") is sentiment.PROMPT
    file = tmp_path / "x.gguf"
    assert load("grounded", Model(file), home=tmp_path / "home") is grounded.PROMPT
    (tmp_path / "x.prompts.json").write_text('{"grounded": "grounded-short-1"}')
    assert load("grounded", Model(file), home=tmp_path / "home") is grounded.SHORT


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ('{"grounded": "grounded-9"}', "grounded-9.*grounded-short-1"),
        ('{"poem": "poem-1"}', "no prompt template 'poem'"),
        ("[]", "no JSON object"),
        ("{", "get the model's files again"),
    ],
)
def test_a_damaged_prompts_json_is_said(tmp_path: Path, said: str, complaint: str) -> None:
    (tmp_path / "prompts.json").write_text(said)
    with pytest.raises(CorruptModel, match=complaint):
        load("grounded", Model(tmp_path), home=tmp_path / "home")


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("format"),
        lambda found: found.update(template="summarize"),
        lambda found: found["kept"]["f1"].pop("prompt"),
        lambda found: found["kept"]["f1"]["prompt"].update(user=3),
        lambda found: found["kept"]["f1"]["prompt"].update(user="{poem}"),
        lambda found: found["kept"]["f1"]["prompt"].update(shots=[{"text": "x"}]),
        lambda found: found["kept"]["f1"]["prompt"].update(shots=[{"text": 4, "answer": "x"}]),
        lambda found: found.update(kept=[]),
    ],
)
def test_a_damaged_file_of_kept_prompts_is_said(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "prompts" / "sentiment.json"
    keep(path, "f1", Kept(MINE, "one", {}))
    found = json.loads(path.read_text())
    damage(found)
    path.write_text(json.dumps(found))
    with pytest.raises(InvalidSetting):
        load("sentiment", Model(), home=tmp_path)


def test_a_variant_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "v.toml"
    file.write_text('user = "{text} +/-?"\nsystem = "Be brief."\n[[shots]]\ntext = "Bad."\nanswer = "negative"\n')
    found = read_variant(file, sentiment.PROMPT)
    assert found.shots == (Shot(Sentiment("Bad."), "negative"),)
    assert [message["content"] for message in found.messages(Sentiment("Good."))] == [
        "Be brief.", "Bad. +/-?", "negative", "Good. +/-?",
    ]  # fmt: skip
    before = found.version
    assert before.startswith("sentiment-x")
    file.write_text(file.read_text().replace("Bad.", "Awful."))
    assert read_variant(file, sentiment.PROMPT).version != before


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ('system = "x"', "'user' is missing"),
        ('user = "{text}"\nuser_ = 1', "a prompt has no user_"),
        ("user = ", "write TOML such as"),
        ("user = 3", "are texts"),
        ('user = "{txt}"', "the fields of a prompt for sentiment are text"),
        ('user = "{text}"\n[[shots]]\ntext = "x"', "'answer' is missing"),
        ('user = "{text}"\n[[shots]]\nanswer = "x"\ntxt = "y"', "txt"),
    ],
)
def test_a_variant_that_cannot_be_used_is_refused(tmp_path: Path, said: str, complaint: str) -> None:
    file = tmp_path / "v.toml"
    file.write_text(said)
    with pytest.raises(InvalidSetting, match=complaint):
        read_variant(file, sentiment.PROMPT)
    with pytest.raises(NotFound):
        read_variant(tmp_path / "none.toml", sentiment.PROMPT)
