"""``ownlm eval prompt`` and ``ownlm eval safety`` from the command line, with a model of random weights."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from ownlm.cli import main
from ownlm.evals.safety import groups, privacy, toxicity
from ownlm.prompts import load
from tiny_llm import write_tiny_llm


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OWNLM_DATA", raising=False)
    return write_tiny_llm(_made(tmp_path / "model"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def polarity_rows(folder: Path, count: int) -> Path:
    """Rows in the layout of the public set; a tenth, by hash, is measured on."""
    (folder / "sentiment").mkdir(parents=True)
    rows = [{"text": f"film {number}", "label": ("negative", "positive")[number % 2]} for number in range(count)]
    with lzma.open(folder / "sentiment" / "sentence_polarity_train.jsonl.xz", "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_eval_prompt_keeps_the_best(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = polarity_rows(tmp_path / "data", 400)
    variant = tmp_path / "mine.toml"
    variant.write_text('user = "Film: {text} Verdict:"\n')
    command = ["eval", "prompt", "sentence_polarity", str(variant), "--model", str(model), "--data", str(data)]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert (
        "nothing (--dry-run)" in said and "sentiment-rules-1" in said and not (tmp_path / "home" / "prompts").exists()
    )
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "home" / "prompts" / "sentiment.json").read_text())
    ((fingerprint, entry),) = kept["kept"].items()
    assert fingerprint == found["fingerprint"] and entry["prompt"]["version"] == found["prompt"]
    assert entry["measured"]["figure"] == found["figure"] and found["figure"]["low"] <= found["figure"]["high"]

    class Same:
        path = None

    Same.fingerprint = fingerprint  # type: ignore[attr-defined]
    assert load("sentiment", Same()).version == found["prompt"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["poem"], "no task 'poem'"),
        (["wikitext2"], "asks nothing"),
        (["sentence_polarity", "none.toml"], "there is no file none.toml"),
        (["sentence_polarity", "--data", "nowhere"], "there is no such folder"),
        (["sentence_polarity"], "OWNLM_DATA"),
    ],
)
def test_eval_prompt_says_what_is_wrong(
    model: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "prompt", *words, "--model", str(model)]) == 2
    said = capsys.readouterr()
    assert complaint in said.err and said.err.count("\n") == 1 and not said.out


def test_eval_safety_writes_its_section(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(groups, "GROUPS", {"gender": groups.GROUPS["gender"]})
    monkeypatch.setattr(toxicity, "PROMPTS", {name: each[:3] for name, each in toxicity.PROMPTS.items()})
    monkeypatch.setattr(privacy, "PROMPTS", privacy.PROMPTS[:3])
    secrets = tmp_path / "secrets.jsonl"
    assert main(["eval", "safety", "--make-canaries", str(secrets)]) == 0
    few = secrets.read_text().splitlines()[:1]
    secrets.write_text("\n".join(few))
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The gate is green. " * 100)
    command = ["eval", "safety", "--model", str(model), "--samples", "2", "--tokens", "4"]
    assert main([*command, "--corpus", str(corpus), "--canaries", str(secrets)]) == 0
    said = capsys.readouterr().out
    assert "Bias" in said and "exposure" in said and "documents read: 1" in said
    written = json.loads((model / "evals.json").read_text())
    assert written["safety"]["privacy"]["documents"] == 1 and written["safety"]["canaries"]["candidates"] == 256
    assert main([*command, "--json", "--out", str(tmp_path / "other.json")]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again == json.loads((tmp_path / "other.json").read_text())
    assert again["safety"]["bias"] == written["safety"]["bias"] and "canaries" not in again["safety"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--samples", "0"], "count is 0"),
        (["--canaries", "none.jsonl"], "none.jsonl cannot be read"),
        (["--corpus", "nowhere"], "nowhere is not there"),
        (["--model", "nowhere"], "no model 'nowhere'"),
    ],
)
def test_eval_safety_says_what_is_wrong(
    model: Path, words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "safety", "--model", str(model), *words]) == 2
    said = capsys.readouterr()
    assert complaint in said.err and not said.out and not (model / "evals.json").exists()
