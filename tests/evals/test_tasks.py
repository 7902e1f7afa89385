"""What each task asks, of which rows, and how it judges."""

from __future__ import annotations

import doctest
import os
from pathlib import Path
from typing import Any

import public_sets as sets
import pytest

from ownlm.errors import InvalidData, InvalidSetting, NotFound, OwnLMError
from ownlm.evals import catalog, data, grounded_answers, mbpp_lines, movie_reviews
from ownlm.evals.held_out import held_out
from ownlm.evals.run import estimates
from ownlm.evals.squad2 import SQUAD2
from ownlm.evals.task import Task
from ownlm.prompts import load
from ownlm.prompts.grounded import NOTHING, quoted

DATA = Path(os.environ.get("OWNLM_DATA", "/nowhere"))


@pytest.fixture
def folder(put: Any) -> Path:
    for name, rows in sets.ROWS.items():
        found = put(name, rows)
    return Path(found)


@pytest.mark.parametrize("module", [data, grounded_answers, mbpp_lines, movie_reviews])
def test_the_examples_hold(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", catalog.TASKS)
def test_every_task_can_be_asked_and_judged(name: str, folder: Path) -> None:
    task = catalog.load_task(name)
    samples, available = task.drawn(folder)
    assert task.name == name and samples and len(samples) == available == len({each.id for each in samples})
    if isinstance(task, Task):
        known = {metric.name for metric in task.metrics}
        for sample in samples:
            *_, last = load(task.template).messages(sample.inputs)
            assert last["role"] == "user" and last["content"]
            assert set(task.score(sample, "x")) <= known and task.metrics[0].name in task.score(sample, "")
    assert task.baseline is not None
    assert all(set(task.baseline.score(sample)) for sample in samples)


@pytest.mark.parametrize(
    ("name", "answer", "figures"),
    [
        ("squad2", NOTHING, {"F1": 50, "HasAns F1": 0, "NoAns F1": 100, "answered": 0}),
        ("squad2", quoted("in 1973", 1), {"EM": 25, "HasAns EM": 50, "HasAns F1": 50, "NoAns F1": 0, "answered": 100}),
        ("fairytale_qa", "He was hungry. [1]", {"ROUGE-L": 50, "answered": 100}),
        ("scitldr", "We train models", {"ROUGE-1": 100, "ROUGE-2": 100, "ROUGE-L": 100}),
        ("sentence_polarity", "positive", {"accuracy": 66.6667, "positive recall": 100, "negative recall": 0}),
        ("movie_reviews", "neither", {"accuracy": 0}),
        ("translate_en_es", "Abre el archivo.", {}),
        ("mbpp_lines", "```python\n nothing", {"exact": 0}),
    ],
)
def test_answers_are_judged(name: str, answer: str, figures: dict[str, float], folder: Path) -> None:
    task = catalog.load_task(name)
    assert isinstance(task, Task)
    samples, _ = task.drawn(folder)
    found = estimates(task, samples, [task.score(sample, answer) for sample in samples])
    for metric, value in figures.items():
        assert found[metric].value == pytest.approx(value, abs=1e-3), metric


@pytest.mark.parametrize("name", ["scitldr", "translate_en_fr", "mbpp_lines"])
def test_the_reference_itself_is_right(name: str, folder: Path) -> None:
    task = catalog.load_task(name)
    assert isinstance(task, Task)
    samples, _ = task.drawn(folder)
    found = estimates(task, samples, [task.score(sample, sample.references[0]) for sample in samples])
    assert found[task.metrics[0].name].value == 100


def test_only_what_is_held_out_measures(folder: Path) -> None:
    sentences, _ = catalog.load_task("sentence_polarity").drawn(folder)
    assert len(sentences) == 6 and all(held_out(sample.inputs.text) for sample in sentences)
    pairs, _ = catalog.load_task("translate_en_es").drawn(folder)
    assert [sample.inputs.text for sample in pairs] == ["Open the file for reading.", "Close the file after use."]
    programs, _ = catalog.load_task("mbpp_lines").drawn(folder)
    assert [sample.id for sample in programs] == ["7"]


def test_an_answer_may_only_quote_its_passage(folder: Path) -> None:
    sample = SQUAD2.drawn(folder)[0][0]
    source = grounded_answers.held(sample).source
    assert "The north gate opens at nine." in source and "goose" not in source


def test_a_long_review_is_read_by_its_end() -> None:
    review = "\n".join(f"sentence {number} of it ." for number in range(200))
    read = movie_reviews.excerpt(review)
    assert 1450 < len(read) <= movie_reviews.CHARACTERS and review.endswith(read) and read.startswith("sentence ")
    assert movie_reviews.excerpt("x" * 9000) == "x" * movie_reviews.CHARACTERS


def test_a_cursor_leaves_something_to_complete() -> None:
    text = mbpp_lines.document(sets.ROWS["code/mbpp"][0])
    for key in map(str, range(50)):
        before, rest = mbpp_lines.cursor(text, key)
        assert text.startswith(before + rest + "\n") and len(rest) >= mbpp_lines.LEAST and before.count("\n") >= 2
    assert len({mbpp_lines.cursor(text, str(key)) for key in range(50)}) > 3
    assert mbpp_lines.cursor('"""Nothing."""\n', "1") == ("", "")


def test_articles_are_the_file_byte_for_byte(folder: Path) -> None:
    samples, _ = catalog.load_task("wikitext2").drawn(folder)
    assert [sample.inputs for sample in samples] == [
        " \n = First = \n \n It is <unk> . \n = = Part = = \n More . \n \n",
        " = Second = \n \n The end . \n",
    ]


def test_a_part_is_always_the_same_and_grows(put: Any) -> None:
    row = sets.ROWS["grounded_qa/squad2_dev"][1]
    rows = [{**row, "id": str(number), "context": f"About {number // 5}."} for number in range(100)]
    folder = put("grounded_qa/squad2_dev", rows)
    drawn = {count: [sample.id for sample in SQUAD2.drawn(folder, count)[0]] for count in (3, 20, 40, 100, 500)}
    assert [len(ids) for ids in drawn.values()] == [3, 20, 40, 100, 100]
    assert set(drawn[3]) < set(drawn[20]) < set(drawn[40]) < set(drawn[100])
    assert drawn[40] == sorted(drawn[40], key=int) and drawn[100] == [str(number) for number in range(100)]
    assert len({int(id_) // 5 for id_ in drawn[40]}) == 8  # whole paragraphs
    folder = put("grounded_qa/squad2_dev", rows[::-1])
    assert {sample.id for sample in SQUAD2.drawn(folder, 20)[0]} == set(drawn[20])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "has no rows"),
        (["{"], "line 1 is no JSON"),
        (["[1]"], "line 1 is no JSON object"),
        ([sets.ROWS["grounded_qa/squad2_dev"][0], {"id": "2"}], "line 2 has no field 'context'"),
    ],
)
def test_damaged_sets_are_named_with_their_line(rows: list[Any], said: str, put: Any) -> None:
    folder = put("grounded_qa/squad2_dev", rows)
    with pytest.raises(InvalidData, match="squad2_dev") as caught:
        SQUAD2.drawn(folder)
    assert said in str(caught.value)


def test_a_file_that_is_cut_is_named(put: Any) -> None:
    folder = put("grounded_qa/squad2_dev", sets.ROWS["grounded_qa/squad2_dev"])
    path = folder / "grounded_qa/squad2_dev.jsonl.xz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidData, match="cannot be read"):
        SQUAD2.drawn(folder)


def test_a_label_that_is_none_is_refused(put: Any) -> None:
    folder = put("sentiment/movie_reviews_train", [{"text": "x", "label": "mixed"}])
    with pytest.raises(InvalidData, match="mixed"):
        catalog.load_task("movie_reviews").drawn(folder)


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit: int, folder: Path) -> None:
    with pytest.raises(InvalidSetting, match="--limit"):
        SQUAD2.drawn(folder, limit)


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFound, match="squad2_dev"):
        SQUAD2.drawn(tmp_path)
    with pytest.raises(NotFound, match="mbpp_lines"):
        catalog.load_task("nonsense")
    monkeypatch.delenv("OWNLM_DATA", raising=False)
    with pytest.raises(OwnLMError, match="OWNLM_DATA is ''"):
        data.data_folder()
    monkeypatch.setenv("OWNLM_DATA", "/nowhere/at/all")
    with pytest.raises(OwnLMError, match="/nowhere/at/all"):
        data.data_folder()


@pytest.mark.skipif(not DATA.is_dir(), reason="OWNLM_DATA is not set")
def test_the_public_sets_have_their_published_sizes() -> None:
    sizes = {name: catalog.load_task(name).drawn(DATA)[1] for name in ("squad2", "sentence_polarity", "movie_reviews",
                                                                       "mbpp_lines", "wikitext2")}  # fmt: skip
    assert sizes == {"squad2": 6307, "sentence_polarity": 843, "movie_reviews": 192, "mbpp_lines": 600, "wikitext2": 60}


@pytest.mark.skipif(not DATA.is_dir(), reason="OWNLM_DATA is not set")
def test_always_refusing_is_where_the_bar_is_measured_from() -> None:
    samples, _ = SQUAD2.drawn(DATA)
    assert SQUAD2.baseline is not None
    found = estimates(SQUAD2, samples, [SQUAD2.baseline.score(sample) for sample in samples])
    assert found["F1"].value == pytest.approx(52.13, abs=0.01)
