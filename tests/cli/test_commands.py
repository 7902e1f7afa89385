"""The commands as people and programs meet them: stdout is the result, stderr the notes, the exit code the verdict."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ownlm.cli import main
from ownlm.cli.output import counted

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OWNLM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "keys.md").write_text("# Keys\n\nA lost key costs £45. Tell the office the same day.\n", encoding="utf-8")
    (folder / "bikes.txt").write_text("Bicycles stand in the cycle store. It has 24 racks.\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(home: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Run]:
    def call(*words: str | Path) -> tuple[int, str, str]:
        code = main([str(word) for word in words])
        out, err = capfdbinary.readouterr()
        return code, out.decode("utf-8"), err.decode("utf-8")

    yield call


def test_a_question_is_answered_in_the_documents_own_words(run: Run, docs: Path) -> None:
    code, out, err = run("ask", "What does a lost key cost?", "--docs", docs, "--json")
    answer = json.loads(out)
    assert code == 0 and not answer["abstained"] and answer["mode"] == "extract"
    assert "indexed: 2 added" in err
    citations = [citation for claim in answer["claims"] for citation in claim["citations"]]
    assert "£45" in citations[0]["quote"]
    for claim in answer["claims"]:
        assert claim["text"] == answer["answer"][claim["start"] : claim["end"]]
    for citation in citations:
        _, text, _ = run("index", "show", citation["document"])
        assert text[citation["start"] : citation["end"]] == citation["quote"]


def test_what_the_documents_do_not_say_is_refused_with_exit_code_0(run: Run, docs: Path) -> None:
    code, out, _ = run("ask", "Who won the chess olympiad in Baku?", "--docs", docs)
    assert code == 0 and out.startswith("Nothing in the documents answers this question.")


def test_docs_alone_are_asked(run: Run, docs: Path) -> None:
    run("index", "add", docs / "keys.md")
    _, out, _ = run("ask", "What does a lost key cost?", "--docs", docs / "bikes.txt", "--json")
    assert {passage["document"] for passage in json.loads(out)["passages"]} <= {str(docs / "bikes.txt")}


def test_people_read_the_place_of_every_quotation(run: Run, docs: Path) -> None:
    _, out, _ = run("ask", "What does a lost key cost?", "--docs", docs)
    assert re.search(r"“A lost key costs £45\..*”\n    \S*keys\.md › Keys \[\d+:\d+\]", out)


def test_the_index_is_listed_searched_and_emptied(run: Run, docs: Path) -> None:
    assert run("index", "list") == (0, "", "nothing is indexed yet: ownlm index add PATH\n")
    code, out, _ = run("index", "add", docs, "--json")
    assert code == 0 and json.loads(out)["added"] == 2
    _, out, _ = run("index", "list")
    assert out.splitlines()[0].split() == ["id", "chunks", "characters", "name"] and len(out.splitlines()) == 3
    _, out, _ = run("index", "list", "--json")
    assert [Path(document["name"]).name for document in json.loads(out)] == ["bikes.txt", "keys.md"]
    _, out, _ = run("index", "search", "bicycle racks", "--limit", "1")
    assert "24 racks" in out
    assert run("index", "remove", "keys.md")[:2] == (0, f"removed {docs / 'keys.md'}\n")
    assert run("index", "show", "keys.md")[0] == 2


def test_show_prints_the_text_to_the_character(run: Run, docs: Path) -> None:
    run("index", "add", docs)
    _, out, _ = run("index", "show", "keys.md", "--json")
    shown: dict[str, Any] = json.loads(out)
    assert run("index", "show", "keys.md")[1] == shown["text"]
    heading = shown["marks"][0]
    assert shown["text"][heading["start"] : heading["end"]].endswith("Keys")


def test_every_answer_is_in_the_ledger(run: Run, docs: Path) -> None:
    assert "no question was asked yet" in run("ledger", "list")[2]
    answer = json.loads(run("ask", "What does a lost key cost?", "--docs", docs, "--json")[1])
    _, out, _ = run("ledger", "list")
    assert answer["ledger_id"] in out and "answered" in out
    entry = json.loads(run("ledger", "show", answer["ledger_id"])[1])
    assert entry["question"] == answer["question"] and entry["answer"]["claims"] == answer["claims"]
    assert entry["fingerprint"] and entry["settings"]["passages"] and entry["answer"]["timings"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ask", " "], "the question is '': ask something, in words"),
        (["ask"], "Missing argument 'QUESTION'"),
        (["ask", "caf\udce9 costs?"], "not UTF-8"),
        (["ask", "Why?", "--docs", "/nowhere/at/all"], "/nowhere/at/all"),
        (["ask", "Why?", "--docs", ""], "a path is ''"),
        (["index", "add", ""], "a path is ''"),
        (["index", "show", "caf\udce9"], "no document"),
        (["ledger", "show", "caf\udce9"], "no entry"),
        (["index", "watch", ".", "--every", "nan"], "--every is nan"),
        (["index", "watch", ".", "--every", "inf"], "--every is inf"),
        (["index", "add", "/nowhere/at/all"], "/nowhere/at/all"),
        (["index", "show", "none.md"], "no document 'none.md' in the index"),
        (["index", "search", "x", "--limit", "0"], "--limit"),
        (["index", "watch", ".", "--every", "0"], "--every is 0.0"),
        (["ledger", "show", "none"], "the ledger has no entry 'none'"),
        (["up", "--port", "99999"], "99999"),
        (["up", "--host", "0.0.0.0"], "--api-key"),
        (["up", "/nowhere/at/all"], "/nowhere/at/all"),
        (["nonsense"], "No such command 'nonsense'"),
        (["ask", "Why?", "--nonsense"], "--nonsense"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_and_exit_code_2(run: Run, words: list[str], said: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("ownlm: ") and said in err and err.count("\n") == 1, err


def test_a_home_that_is_a_file_is_named(run: Run, home: Path) -> None:
    home.write_text("", encoding="utf-8")
    code, _, err = run("index", "list")
    assert code == 2 and str(home) in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE vectors SET scales = x'7878'",
        "UPDATE sentences SET spans = x'787878'",
        "UPDATE chunks SET text = CAST(x'6b657920ff' AS TEXT)",
    ],
)
def test_a_damaged_index_is_named_without_its_text(run: Run, docs: Path, home: Path, damage: str) -> None:
    run("index", "add", docs)
    with contextlib.closing(sqlite3.connect(home / "index.sqlite")) as connection:
        connection.execute(damage)
        connection.commit()
    code, out, err = run("ask", "What does a lost key cost?")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "is damaged: move the file away and index your documents again" in err and "key " not in err


def test_a_file_that_cannot_be_read_is_reported_and_the_rest_goes_on(run: Run, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    code, _, err = run("index", "add", docs)
    assert code == 0 and "2 added" in err and "broken.pdf" in err


def test_a_reader_that_leaves_is_no_error(home: Path, docs: Path) -> None:
    main(["index", "add", str(docs)])
    line = f"{sys.executable} -m ownlm index list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_indexed_of_what_was_named_is_exit_code_1(run: Run, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    code, _, err = run("index", "add", docs / "broken.pdf")
    assert code == 1 and "broken.pdf" in err
    code, out, err = run("ask", "Why is it?", "--docs", docs / "broken.pdf")
    assert code == 0 and out.startswith("There are no documents to answer from.") and "broken.pdf" in err


def test_a_full_disk_under_the_output_is_named(home: Path) -> None:
    line = f"{sys.executable} -m ownlm --version > /dev/full"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "ownlm: the output cannot be written: no space left on device\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_file_name_cannot_drive_the_terminal(run: Run, docs: Path) -> None:
    (docs / "red\x1b[31m.txt").write_text("Doors are locked at nine.\n", encoding="utf-8")
    (docs / "bad\x1b[31m.pdf").write_bytes(b"%PDF-1.7 and no more")
    _, _, err = run("index", "add", docs)
    _, out, _ = run("index", "list")
    run("ask", "What\x1b]0;owned\x07 door?")
    _, listed, _ = run("ledger", "list")
    assert "\x1b" not in out + err + listed and r"red\x1b[31m.txt" in out


def test_a_group_alone_shows_its_help(run: Run) -> None:
    code, out, err = run("index")
    assert (code, err) == (0, "") and "search" in out


def test_ctrl_c_says_what_is_kept(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ownlm.rag.library.Library.open", interrupted)
    code, out, err = run("index", "list")
    assert (code, out, err.strip()) == (130, "", "ownlm: interrupted; what was finished is kept")


def test_the_version_names_the_kernels(run: Run) -> None:
    code, out, _ = run("--version")
    assert code == 0 and re.match(r"ownlm \d+\.\d+\.\d+\n  kernels in use ", out) and "portable" in out


def test_no_command_shows_the_help(run: Run) -> None:
    code, out, _ = run()
    assert code == 0
    for command in ("up", "ask", "index", "ledger"):
        assert command in out


def test_numbers_agree_with_their_nouns() -> None:
    assert counted(1, "document") == "1 document" and counted(1200, "chunk") == "1,200 chunks"


def test_a_short_h_shows_the_help(run: Run) -> None:
    assert run("ask", "-h") == run("ask", "--help")


def test_a_taken_port_is_said_before_anything_is_indexed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text("The gate is green.\n")
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, err = run("up", tmp_path, "--port", str(other.getsockname()[1]))
    assert code == 2 and "another program uses it" in err
    assert run("index", "list")[1].strip() == ""


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--backend", "vllm"], "--backend is 'vllm'"),
        (["--backend", "openai", "--model", "m"], "--base-url"),
        (["--backend", "openai", "--base-url", "http://127.0.0.1:9/v1"], "--model"),
        (["--base-url", "http://127.0.0.1:9/v1"], "belongs to --backend openai"),
        (["--model", "no-such-model"], "no model 'no-such-model'"),
        (["--model", "m", "--max-tokens", "0"], "max_tokens|no model"),
    ],
)
def test_who_writes_is_checked(run: Run, docs: Path, words: list[str], names: str) -> None:
    code, out, err = run("ask", "When?", "--docs", docs, *words)
    assert (code, out) == (2, "") and re.search(names, err)


def test_a_server_that_is_not_there(run: Run, docs: Path) -> None:
    code, out, err = run(
        "ask", "When?", "--docs", docs, "--backend", "openai", "--model", "m", "--base-url", "http://127.0.0.1:9/v1"
    )
    assert (code, out) == (1, "") and "gave no answer: it cannot be reached" in err
