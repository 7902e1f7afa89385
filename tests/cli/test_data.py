"""``ownlm data``: what it prints, and that bad input is one line and exit code 2."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from ownlm.cli import main

WORDS = ["harbour", "lantern", "the", "a", "quiet", "opened", "under", "bridge", "seven", "letters", "and", "winter"]


def prose(seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=60))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "notes").mkdir(parents=True)
    rows = [prose(seed) for seed in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps({"body": text}) + "\n" for text in [*rows, rows[0]]))
    for rank in range(6):
        (folder / "notes" / f"{rank}.txt").write_text(f"note {rank}: {prose(100 + rank)}")
    return folder


def run(*words: object) -> int:
    return main(["data", *map(str, words)])


def test_build_and_stats(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = [
        "build", f"rows={corpus / 'rows.jsonl'}", "--text-field", "body", "--licence", "rows=CC0-1.0", "--weight",
        "rows=2", "--out", out, "--vocab-size", 290, "--valid", 0.1, "--workers", 1, "--near", 0,
    ]  # fmt: skip
    assert run(*words) == 0
    said = capsys.readouterr().out
    for part in (str(out), "train", "valid", "tokenizer of 290 tokens", "rows", "CC0-1.0"):
        assert part in said
    assert run("stats", out, "--verify") == 0
    again = capsys.readouterr().out
    assert again.startswith(said) and "every byte is as the manifest says" in again
    assert run("stats", out, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    (source,) = made["sources"]
    assert (source["read"], source["duplicates_exact"], source["kept"]) == (41, 1, 40)
    assert source["documents"] == sum(file["documents"] for files in made["splits"].values() for file in files)
    with (out / "train-00000.bin").open("r+b") as file:
        file.write(b"\xff\xff")
    assert run("stats", out, "--verify") == 2
    assert "train-00000.bin has other bytes" in capsys.readouterr().err


def test_a_corpus_file(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = corpus / "corpus.toml"
    file.write_text(
        '[[source]]\nname = "rows"\npath = "rows.jsonl"\ntext = "body"\nweight = 0.5\n'
        '[[source]]\nname = "notes"\npath = "notes"\nsplit = "valid"\nlicence = "MIT"\n'
    )
    assert run("build", "--corpus", file, "--out", tmp_path / "out", "--vocab-size", 280, "--json", "--workers", 1) == 0
    made = json.loads(capsys.readouterr().out)
    assert [source["name"] for source in made["sources"]] == ["rows", "notes"]
    assert sum(shard["documents"] for shard in made["splits"]["valid"]) == 6
    assert 0 < made["sources"][0]["left_out"] < 40
    for text, message in {
        "[[source]\n": "corpus.toml is not valid TOML",
        "": "corpus.toml has no table [[source]]",
        "other = 1\n": "corpus.toml has 'other'",
        '[[source]]\nname = "x"\n': "corpus.toml, source 1 has no path",
        '[[source]]\nname = "x"\npath = "y"\nwieght = 2\n': "source 1 has 'wieght': known are name, path",
        '[[source]]\nname = "x"\npath = "y"\nweight = "2"\n': "source 1 has weight = '2': give a number",
    }.items():
        file.write_text(text)
        assert run("build", "--corpus", file, "--out", tmp_path / "no") == 2
        assert message in capsys.readouterr().err


def test_stats_of_text(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["stats", corpus / "rows.jsonl", "--text-field", "body", "--workers", 1, "--near", 0]
    assert run(*words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].split()[:2] == ["rows", "41"]
    assert run(*words, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    lengths = sorted(len(prose(seed)) for seed in range(40))
    assert (found["lengths"][0], found["lengths"][-1]) == (lengths[0], lengths[-1])
    assert found["kept_bytes"] == sum(lengths)


def test_standard_input(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ownlm", "data", "build", "rows=-", "--text-field", "body", "--vocab-size", "280",
               "--out", str(tmp_path / "out")]  # fmt: skip
    data = (corpus / "rows.jsonl").read_bytes()
    found = subprocess.run([*command, "--workers", "1"], input=data, capture_output=True)
    assert found.returncode == 0, found.stderr
    assert run("stats", tmp_path / "out", "--verify") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{rows}"], 'rows.jsonl, line 1 has no "text": name the field that holds the text (there are: body)'),
        (["{rows}", "--text-field", "body"], "vocab_size is 16384: the text supports no more than"),
        (["{rows}", "{rows}"], "there is a source 'rows' already"),
        (["no-such-file"], "no-such-file is not there"),
        ([], "give at least one file or folder"),
        (["{rows}", "--weight", "other=2"], "there is no source 'other': there are rows"),
        (["{rows}", "--weight", "rows=two"], "give a number after NAME="),
        (["{rows}", "--tokenizer", "x", "--vocab-size", "300"], "drop one of the two"),
        (["{rows}", "--ray", "--workers", "2"], "with --ray the cluster decides"),
        (["{rows}", "--ray-address", "auto"], "it goes with --ray"),
        (["{rows}", "--workers", "0"], "--workers is 0"),
        (["{rows}", "--near", "0.2"], "near is 0.2"),
        (["{rows}", "--format", "csv"], "give one of jsonl, text, parquet"),
    ],
)
def test_bad_input(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    given = [word.format(rows=corpus / "rows.jsonl") for word in words]
    given += [] if "--workers" in given else ["--workers", "1"] if "--ray" not in given else []
    assert run("build", *given, "--out", tmp_path / "out") == 2
    found = capsys.readouterr()
    assert message in found.err
    assert len(found.err.splitlines()) == 1 and not found.out
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_full_disk(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full is Linux's")

    def patched(path: Path, array: object) -> None:
        with full.open("wb", buffering=0) as file:
            file.write(b"rows")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ownlm.train.data.segment._save", patched)
        words = ["build", corpus / "rows.jsonl", "--text-field", "body", "--out", tmp_path / "out"]
        assert run(*words, "--workers", 1) == 2
    assert "out: no room is left on the disk: free some" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_real_disk_that_fills(corpus: Path, tmp_path: Path) -> None:
    """A file may grow to 4 KiB: the system's own error, from the writing of the segments in a worker process."""
    if not hasattr(os, "fork"):
        pytest.skip("limits are POSIX")
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from ownlm.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = ["data", "build", str(corpus / "rows.jsonl"), "--text-field", "body", "--out", str(tmp_path / "out")]
    found = subprocess.run([sys.executable, "-c", code, *words, "--workers", "2"], capture_output=True, text=True)
    assert found.returncode == 2, found.stderr
    assert "no room is left on the disk" in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
