"""Commands that were given no model take the one that ships, and say what it is."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ownlm import hub
from ownlm.cli import main
from ownlm.cli.starter import or_starter, remark
from ownlm.errors import NotFound
from ownlm.hub import local
from tiny_llm import write_tiny_llm

Run = Callable[..., tuple[int, str, str]]
NAME = "starter-0m-q4_0"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))

    def call(*words: str | Path, said: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said.encode()), encoding="utf-8"))
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


@pytest.fixture
def without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation that has encoders and no language model."""
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in hub.shipped():
        if not name.startswith("starter"):
            (weights / name).symlink_to(hub.shipped_folder(name))
    monkeypatch.setattr(local, "_WEIGHTS", weights)
    return weights


@pytest.fixture
def shipped(without: Path) -> Path:
    (without / NAME).mkdir()
    return write_tiny_llm(without / NAME, context=2048, max_position_embeddings=2048)


def test_chat_talks_with_the_model_that_ships_and_calls_it_a_demonstration(run: Run, shipped: Path) -> None:
    code, out, err = run("chat", "--max-tokens", "4", "--temperature", "0", said="hello\n")
    assert code == 0
    assert out.strip()
    assert f"note: {NAME} is a demonstration" in err


def test_another_model_is_not_called_so(run: Run, shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = write_tiny_llm(tmp_path / "other")
    code, _, err = run("chat", "--model", other, "--max-tokens", "2", said="hello\n")
    assert code == 0
    assert "demonstration" not in err
    assert remark(str(other)) is None
    assert or_starter(str(other)) == str(other)


def test_serve_offers_the_model_that_ships(run: Run, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[str] = []
    module = importlib.import_module("ownlm.cli.serve")
    monkeypatch.setattr(module, "_serve", lambda llm, name, settings, listener: (offered.append(name), llm.close()))
    code, _, err = run("serve", "--port", "0")
    assert code == 0, err
    assert offered == [NAME]
    assert f"{NAME} is a demonstration" in err


def test_ask_writes_when_it_is_told_to_and_quotes_otherwise(run: Run, shipped: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "keys.md").write_text("# Keys\n\nA lost key costs 45 pounds.\n")
    asked = ("ask", "What does a lost key cost?", "--docs", tmp_path / "docs", "--json")
    code, out, err = run(*asked, "--mode", "generate", "--max-tokens", "12")
    assert code == 0, err
    assert json.loads(out)["mode"] == "generate"
    assert "is a demonstration" in err
    for more in ((), ("--mode", "extract")):
        code, out, err = run(*asked, *more)
        assert code == 0
        assert json.loads(out)["mode"] == "extract"
        assert "demonstration" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--mode", "write"), "--mode is 'write': give extract or generate"),
        (("--mode", "extract", "--model", "m"), "--mode is 'extract': nothing is written then"),
        (("--mode", "extract", "--backend", "openai"), "--mode is 'extract': nothing is written then"),
    ],
)
def test_modes_that_contradict_are_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    code, _, err = run("ask", "Why?", *words)
    assert code == 2
    assert said in err


@pytest.mark.parametrize("command", [("chat",), ("serve", "--port", "0"), ("ask", "Why?", "--mode", "generate")])
def test_without_a_model_that_ships_one_is_asked_for(run: Run, without: Path, command: tuple[str, ...]) -> None:
    code, _, err = run(*command)
    assert code == 2
    assert "no language model ships with this installation: give one with --model" in err
    with pytest.raises(NotFound):
        hub.starter()
