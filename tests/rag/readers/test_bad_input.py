"""Bad input of every kind: a clear error, nothing else, and the next file is read."""

from __future__ import annotations

import io
import os
import random
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from ownlm.errors import DocumentError, DocumentTooLarge, UnreadableDocument
from ownlm.rag.readers import Limits, ReaderPool, snapshot
from ownlm.rag.readers import file as file_module
from ownlm.rag.readers.detect import detect
from ownlm.rag.readers.read import read

MIB = 1 << 20
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)


def test_a_folder_of_bad_files_costs_one_error_each(tmp_path: Path, make, scan, pack):
    bad: dict[bytes, bytes] = {
        b"empty.txt": b"",
        b"line.txt": b"x" * (10 * MIB),
        b"scan.pdf": scan(),
        b"cut.pdf": make("prices.pdf")[:700],
        b"cut.docx": make("rules.docx")[:5000],
        b"bomb.docx": bomb(make("rules.docx")),
        b"notes.docx": b"just text named so" + bytes(40),
    }
    if sys.platform == "linux":
        bad[b"caf\xe9.bin"] = bytes(100)
    good = {b"one.txt": b"one", b"two.md": b"# two"}
    if sys.platform == "linux":
        good[b"caf\xe9.txt"] = b"three"
    for name, data in {**bad, **good}.items():
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(data)
    read_well, errors = set(), {}
    with ReaderPool() as pool:
        for path in sorted(tmp_path.iterdir()):
            try:
                pool.extract(path)
                read_well.add(os.fsencode(path.name))
            except DocumentError as error:
                errors[os.fsencode(path.name)] = str(error)
    assert read_well == set(good)
    assert set(errors) == set(bad)
    for name, words in {
        b"empty.txt": "is empty",
        b"line.txt": "more than 5,000,000 characters",
        b"scan.pdf": "scan without a text layer",
        b"cut.pdf": "damaged or truncated",
        b"cut.docx": "damaged or truncated",
        b"bomb.docx": "zip bomb",
        b"notes.docx": "binary",
    }.items():
        assert words in errors[name], (name, errors[name])
        assert "\n" not in errors[name]


def bomb(docx: bytes) -> bytes:
    """A DOCX of a few hundred kilobytes that unpacks to 400 MiB."""
    buffer = io.BytesIO(docx)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("word/media/a.bin", "w") as member:
        for _ in range(400):
            member.write(bytes(MIB))
    return buffer.getvalue()


def test_a_bomb_that_lies_about_its_size_is_stopped(pack):
    """A table of contents that declares 10 bytes for a member that holds 50 MiB."""
    data = pack({"[Content_Types].xml": "<a/>", "word/document.xml": bytes(50 * MIB)})
    lied = data.replace((50 * MIB).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lied != data
    with pytest.raises(DocumentError):
        read(lied, "a.docx", Limits())


def test_many_members_and_high_ratios_are_refused(pack):
    with pytest.raises(DocumentTooLarge, match="parts"):
        parts = {"[Content_Types].xml": "", "word/x": "", **{str(number): "" for number in range(99)}}
        read(pack(parts), "a.docx", Limits(members=50))
    with pytest.raises(DocumentTooLarge, match="zip bomb"):
        read(pack({"[Content_Types].xml": "", "word/document.xml": bytes(20 * MIB)}), "a.docx", Limits())


def test_entities_in_office_files_are_refused(make, pack):
    parts = {"rules.docx": "word/document.xml", "day.pptx": "ppt/presentation.xml", "prices.xlsx": "xl/workbook.xml"}
    for name, part in parts.items():
        with zipfile.ZipFile(io.BytesIO(make(name))) as archive:
            files = {member: archive.read(member) for member in archive.namelist()}
        laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
        declaration = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>'.encode()
        files[part] = declaration + files[part].split(b"?>", 1)[-1]
        with pytest.raises(UnreadableDocument, match="entities"):
            read(pack(files), name, Limits())


def test_an_archive_within_is_not_opened(make, pack):
    with pytest.raises(UnreadableDocument, match="archive"):
        read(pack({"inner.zip": make("rules.docx")}), "a.zip", Limits())


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a.pdf", "PNG"),
        (b"\x7fELF" + bytes(50), "a.txt", "program"),
        (b"\x1f\x8b\x08" + bytes(50), "a.txt", "gzip"),
        (b"{\\rtf1 hello}", "a.rtf", "RTF"),
        (OLE + "WordDocument".encode("utf-16-le"), "a.doc", "Word 97"),
        (
            OLE + "EncryptedPackage".encode("utf-16-le"),
            "a.docx",
            "encrypted",
        ),
        (b"PK\x03\x04" + bytes(50), "a.docx", "damaged"),
    ],
)
def test_kinds_that_cannot_be_read_are_named(data, name, words):
    with pytest.raises(UnreadableDocument, match=words):
        detect(data, name)


def test_opendocument_is_named(pack):
    with pytest.raises(UnreadableDocument, match="OpenDocument text: save it as"):
        read(pack({"mimetype": "application/vnd.oasis.opendocument.text", "content.xml": "<a/>"}), "a.odt", Limits())


def test_text_that_begins_like_a_picture_is_text(extract):
    assert extract("BM is short for benchmark.", "a.txt").text.startswith("BM")
    assert extract("MZ is a district.", "a.txt").text.startswith("MZ")


def test_content_decides_before_the_name(make, extract):
    assert extract(make("rules.docx"), "rules.txt").title == "House rules"
    assert extract(make("prices.pdf"), "prices.docx").media_type == "application/pdf"


def test_a_file_that_changes_while_it_is_read_is_read_again_or_reported(tmp_path: Path, monkeypatch):
    path = tmp_path / "log.txt"
    path.write_bytes(b"one")
    whole = file_module._read
    changes = []

    def changing(descriptor: int, limit: int) -> bytes:
        data = whole(descriptor, limit)
        if len(changes) < count:
            changes.append(1)
            path.write_bytes(b"longer" + b"!" * len(changes))
        return data

    monkeypatch.setattr(file_module, "_read", changing)
    count = 1
    assert snapshot(path).data == b"longer!"
    count = 1000
    with pytest.raises(UnreadableDocument, match="changes while it is read"):
        snapshot(path)


def test_a_file_under_a_writer_gives_one_state_or_an_error(tmp_path: Path):
    path = tmp_path / "log.txt"
    stop = threading.Event()

    def write() -> None:
        count = 0
        while not stop.is_set():
            count += 1
            with path.open("ab") as file:
                file.write(b"line %06d\n" % count)

    path.write_bytes(b"line 000000\n")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            try:
                shot = snapshot(path)
            except UnreadableDocument as error:
                assert "changes" in str(error)
            else:
                assert shot.size == len(shot.data)
    finally:
        stop.set()
        writer.join()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_folders_and_missing_files_are_not_waited_on(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "absent", "nul\x00byte"):
        with pytest.raises(UnreadableDocument):
            snapshot(tmp_path / name)
    if Path("/dev/zero").exists():
        with pytest.raises(UnreadableDocument, match="regular"):
            snapshot("/dev/zero")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path):
    path = tmp_path / "big.txt"
    with path.open("wb") as file:
        file.truncate(65 * MIB)
    with pytest.raises(DocumentTooLarge, match="has 65 MiB, more than the limit of 64 MiB"):
        snapshot(path)


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Some bytes flipped, cut out, doubled or the end lost."""
    result = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        position = generator.randrange(len(result))
        kind = generator.random()
        if kind < 0.6:
            result[position] = generator.randrange(256)
        elif kind < 0.75:
            del result[position : position + generator.randint(1, 40)]
        elif kind < 0.9:
            result[position:position] = result[position : position + generator.randint(1, 40)]
        else:
            del result[max(position, 1) :]
        result = result or bytearray(b"x")
    return bytes(result)


def test_mutated_documents_never_raise_anything_but_document_errors(sample, make, tmp_path):
    """Through the pool: parsers may crash, the pool may not."""
    generator = random.Random(sample)
    data = make(sample)
    with ReaderPool(limits=Limits(seconds=20)) as pool:
        for round_ in range(25):
            path = tmp_path / f"{round_}-{sample}"
            path.write_bytes(mutate(data, generator))
            try:
                extracted = pool.extract(path).extracted
            except DocumentError as error:
                assert str(error)
                assert "\n" not in str(error)
            else:
                assert extracted.text.strip()
        path.write_bytes(data)
        assert pool.extract(path).extracted.text


def test_mutated_members_of_containers(make, pack, tmp_path):
    """Damage inside the parts, where a zip's checksums would hide it from the parsers."""
    generator = random.Random(7)
    with ReaderPool(limits=Limits(seconds=20)) as pool:
        for name in ("rules.docx", "day.pptx", "prices.xlsx", "history.epub"):
            with zipfile.ZipFile(io.BytesIO(make(name))) as archive:
                files = {member: archive.read(member) for member in archive.namelist()}
            for _ in range(15):
                part = generator.choice([member for member in files if files[member] and "mimetype" not in member])
                path = tmp_path / name
                path.write_bytes(pack({**files, part: mutate(files[part], generator)}))
                try:
                    assert pool.extract(path).extracted.text.strip()
                except DocumentError as error:
                    assert "\n" not in str(error)
