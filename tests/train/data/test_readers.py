"""Every form of input gives the same documents, and bad input is one line with file and line."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from corpus_support import both, jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import InvalidData, InvalidSetting, MissingExtra, NotFound
from ownlm.train.data import BuildSettings, Source, build
from ownlm.train.data.cutting import cut, split_documents
from ownlm.train.data.pieces import pieces
from ownlm.train.data.readers import NotText, clean, documents

TEXTS = ["one\ntwo", "naïve 漢字 \u2028 line", "", "last one"]


def read(path: Path, **more: Any) -> list[str]:
    return [text for text, _ in documents(path, Source("s", path, **more))]


def packed(data: bytes, kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(data[:9]) + gzip.compress(data[9:])
    if kind == "xz":
        return lzma.compress(data[:9]) + lzma.compress(data[9:])
    zstandard = pytest.importorskip("zstandard")
    return bytes(zstandard.compress(data[:9]) + zstandard.compress(data[9:]))


@pytest.mark.parametrize("kind", ["gz", "xz", "zst"])
def test_compressed_rows(tmp_path: Path, kind: str) -> None:
    data = jsonl(tmp_path / "a.jsonl", TEXTS).read_bytes()
    path = tmp_path / f"a.jsonl.{kind}"
    path.write_bytes(packed(data, kind))
    assert read(tmp_path / "a.jsonl") == read(path) == TEXTS
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(InvalidData, match=rf"a.jsonl.{kind} is damaged or ends too early"):
        read(path)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "any name"
    parquet.write_table(pyarrow.table({"body": TEXTS, "n": [1, 2, 3, 4]}), path)
    assert read(path, text="body") == TEXTS
    with pytest.raises(InvalidData, match=r"has no column 'text': name the field .* \(there are: body, n\)"):
        read(path)
    with pytest.raises(InvalidData, match=r"any name, row 1 has int in column 'n'"):
        read(path, text="n")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InvalidData, match="is no readable Parquet"):
        read(path)


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p").write_bytes(b"PAR1....")
    (tmp_path / "z").write_bytes(b"\x28\xb5\x2f\xfd....")
    for name in ("pyarrow", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    for file, package in (("p", "pyarrow"), ("z", "zstandard")):
        with pytest.raises(MissingExtra, match=rf"{package} is not installed: pip install 'ownlm\[data\]'"):
            read(tmp_path / file)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"rows.jsonl, line 3 is not valid JSON \("),
        ('{"text": "\xff"}', r"rows.jsonl, line 3 is not valid JSON"),
        ("[" * 100_000, r"rows.jsonl, line 3 is not valid JSON"),
        ("[1]", "rows.jsonl, line 3 is not a JSON object"),
        ('{"body": "x"}', r'rows.jsonl, line 3 has no "text": name the field .* \(there are: body\)'),
        ("{}", r"there are: none"),
        ('{"text": null}', r'rows.jsonl, line 3 has NoneType in "text"'),
        ('{"text": ["x"]}', r'rows.jsonl, line 3 has list in "text"'),
    ],
)
def test_a_row_of_wrong_shape(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "good"}\n\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(InvalidData, match=message) as caught:
        build([Source("s", path)], tmp_path / "out", BuildSettings())
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]


def test_half_a_surrogate_pair_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}')
    assert [clean(text).decode() for text in read(tmp_path / "a.jsonl")] == ["a\ufffdb"]


def test_text_files_of_a_folder(tmp_path: Path, tokenizer_folder: Path) -> None:
    folder = tmp_path / "in"
    for name, data in {
        "b.txt": b"second", "a.md": b"first", "sub/c.py": b"third", ".git/x": b"hidden", "sub/.x": b"hidden",
        "image.png": b"\x89PNG\x00", "latin.txt": "naïve".encode("latin-1"),
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    notes: list[str] = []
    settings = BuildSettings(tokenizer=tokenizer_folder, valid=0)
    made = build([Source("s", folder)], tmp_path / "out", settings, note=notes.append)
    assert sorted(both(tmp_path / "out")) == ["first", "second", "third"]
    assert (made.sources[0].files, made.sources[0].files_left_out) == (3, 2)
    assert "2 files are no text and left out" in notes[0]
    assert [file.name for file in Source("s", folder, pattern="*.py").files()] == ["c.py"]
    with pytest.raises(NotText, match=r"latin.txt, line 1 is not UTF-8"):
        build([Source("s", folder / "latin.txt")], tmp_path / "other", settings)
    with pytest.raises(NotFound, match="no file that matches"):
        Source("s", folder, pattern="*.c").files()


def test_a_mark_of_the_byte_order_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfwords")
    assert read(tmp_path / "a.txt") == ["words"]


def test_a_pipe(tmp_path: Path, tokenizer_folder: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b'{"text": "from a pipe"}'))
    writer.start()
    settings = BuildSettings(tokenizer=tokenizer_folder, valid=0)
    build([Source("pipe", tmp_path / "pipe")], tmp_path / "out", settings)
    writer.join()
    assert both(tmp_path / "out") == ["from a pipe"]


def test_an_empty_folder_that_exists_is_filled(
    tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = BuildSettings(tokenizer=tokenizer_folder, valid=0)
    (tmp_path / "out").mkdir()
    before = (tmp_path / "out").stat().st_ino
    jsonl(tmp_path / "a.jsonl", TEXTS)
    monkeypatch.chdir(tmp_path / "out")
    build([Source("s", Path("../a.jsonl"))], Path(), settings)
    assert sorted(both(tmp_path / "out")) == sorted(filter(None, TEXTS))
    assert (tmp_path / "out").stat().st_ino == before
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    with pytest.raises(InvalidSetting, match=r"no folder can be made there"):
        build([Source("s", Path("../a.jsonl"))], tmp_path / "a.jsonl" / "out", settings)


def test_standard_input(tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BuildSettings(tokenizer=tokenizer_folder, valid=0)
    for rank, (data, wanted) in enumerate([
        (gzip.compress(b'{"text": "a row"}\n{"text": "another"}'), ["a row", "another"]),
        (b"plain words", ["plain words"]),
    ]):  # fmt: skip
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        build([Source("stream", "-")], tmp_path / f"out{rank}", settings)
        assert sorted(both(tmp_path / f"out{rank}")) == wanted


@pytest.mark.parametrize("data", [b"", b"\n \n", b'{"text": " "}\n'])
def test_an_empty_corpus(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "e.jsonl").write_bytes(data)
    sources = [Source("full", jsonl(tmp_path / "f.jsonl", TEXTS)), Source("empty", tmp_path / "e.jsonl")]
    with pytest.raises(InvalidData, match=r"source empty \(.*e.jsonl\) has no text in it") as caught:
        build(sources, tmp_path / "out", BuildSettings())
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 0.0}, "source 's': weight is 0.0"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"split": "test"}, "give train or valid"),
        ({"format": "csv"}, "give one of jsonl, text, parquet"),
        ({"separator": ""}, "separator is ''"),
    ],
)
def test_settings_of_a_source(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        Source("s", Path("x"), **settings)


def test_settings_of_a_build(tmp_path: Path) -> None:
    source = Source("s", jsonl(tmp_path / "a.jsonl", TEXTS))
    for wrong in ({"valid": 1.0}, {"near": 0.1}, {"seed": -1}, {"shard_tokens": 0}):
        with pytest.raises(InvalidSetting):
            BuildSettings(**wrong)
    with pytest.raises(InvalidSetting, match="two sources have it"):
        build([source, source], tmp_path / "out")
    with pytest.raises(InvalidSetting, match="at least one file"):
        build([], tmp_path / "out")
    with pytest.raises(InvalidSetting, match="is there and not empty"):
        build([source], tmp_path)
    with pytest.raises(InvalidSetting, match=r"vocab_size is 4096: the text supports no more than"):
        build([source], tmp_path / "out", BuildSettings(vocab_size=4096))
    with pytest.raises(InvalidSetting, match=r"give a folder with a tokenizer.json"):
        build([source], tmp_path / "out", BuildSettings(tokenizer=tmp_path))
    with pytest.raises(NotFound, match="is not there"):
        build([Source("s", tmp_path / "none")], tmp_path / "out")
    assert [file.name for file in tmp_path.iterdir()] == ["a.jsonl"]


@given(st.text("ab \n", max_size=60), st.integers(4, 20))
def test_cut_texts_are_the_text(text: str, longest: int) -> None:
    parts = list(cut(text, longest))
    assert "".join(parts) == text
    assert all(len(part) <= longest for part in parts)
    assert all(parts) or not text


@given(st.lists(st.text("ab <>|", max_size=30)), st.sampled_from([None, "<|>", "a"]), st.integers(8, 40))
def test_streams_are_split_as_the_whole_is(stream: list[str], separator: str | None, longest: int) -> None:
    found = list(split_documents(iter(stream), separator, longest))
    whole = "".join(stream)
    wanted = [whole] if separator is None else whole.split(separator)
    joined: list[str] = []
    for text, further in found:
        if further:
            joined[-1] += text
        else:
            joined.append(text)
    assert joined == wanted[: len(joined)]
    assert not any(wanted[len(joined) :]) and len(wanted) - len(joined) <= 1  # an empty rest is no document
    assert all(len(text) <= longest for text, _ in found)


def test_a_long_text_is_cut_and_counted(
    tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ownlm.train.data.cutting.LONGEST", 50)
    long = "\n\n".join(f"paragraph {rank} is here" for rank in range(20))
    jsonl(tmp_path / "a.jsonl", ["short", long])
    (tmp_path / "b.txt").write_text(long + " and more")
    notes: list[str] = []
    sources = [Source("rows", tmp_path / "a.jsonl"), Source("text", tmp_path / "b.txt")]
    settings = BuildSettings(tokenizer=tokenizer_folder, valid=0, near=None, exact=False)
    made = build(sources, tmp_path / "out", settings, note=notes.append)
    assert sum(map(len, both(tmp_path / "out"))) == len("short") + 2 * len(long) + len(" and more")
    assert [source.cut for source in made.sources] == [source.read - extra for source, extra in
                                                       zip(made.sources, (2, 1), strict=True)]  # fmt: skip
    assert len(notes) == 2 and "cut at paragraphs" in notes[0]


def test_small_files_are_read_together(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for rank in range(7):
        (folder / f"{rank}.txt").write_text("x" * 100)

    def sizes(limit: int) -> Iterator[int]:
        from unittest.mock import patch

        with patch("ownlm.train.data.pieces.PIECE_BYTES", limit):
            yield from (len(piece.files) for piece in pieces([Source("s", folder)]))

    assert list(sizes(1)) == [1] * 7
    assert list(sizes(300)) == [3, 3, 1]
    assert list(sizes(10_000)) == [7]


@given(
    st.lists(st.text("ab\u6f22", max_size=9), max_size=12), st.integers(1, 60), st.sampled_from(["\n", "\n\n", "\r\n"])
)
@settings(deadline=None)
def test_parts_of_a_file_are_the_file(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int, ending: str
) -> None:
    path = tmp_path_factory.mktemp("parts") / "rows.jsonl"
    path.write_bytes(ending.join(json.dumps({"text": text}, ensure_ascii=False) for text in texts).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ownlm.train.data.pieces.PART_BYTES", size)
        found = pieces([Source("s", path)])
    assert len(found) == max(1, -(-path.stat().st_size // size))
    rows = [text for piece in found for text, _ in documents(path, Source("s", path), piece.part)]
    assert rows == texts


def test_parts_know_their_lines(tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownlm.train.data.pieces.PART_BYTES", 40)
    rows = [f"row {rank}" for rank in range(30)]
    path = jsonl(tmp_path / "a.jsonl", rows)
    made = build([Source("s", path)], tmp_path / "out", BuildSettings(tokenizer=tokenizer_folder, near=None))
    assert sorted(both(tmp_path / "out")) == sorted(rows)
    assert (made.sources[0].files, made.sources[0].read) == (1, 30)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:17], '{"txt": 1}', *lines[17:]]))
    with pytest.raises(InvalidData, match=r"a.jsonl, line 18 has no"):
        build([Source("s", path)], tmp_path / "other", BuildSettings())


def test_rows_keep_their_other_fields_to_themselves(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", TEXTS, field="body")
    assert json.loads(path.read_text().splitlines()[0]).keys() == {"id", "body"}
    assert read(path, text="body") == TEXTS
