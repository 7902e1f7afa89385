"""Shards hold the documents they were given, in order, and a damaged folder is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.errors import InvalidData, NotFound
from ownlm.tokenizer.bpe import train_bpe
from ownlm.train.data import manifest, shards
from ownlm.train.data.manifest import Manifest

SEPARATOR = 0
Documents = list[list[int]]


def written(folder: Path, documents: Documents, limit: int, dtype: str = "uint16") -> Manifest:
    with shards.ShardWriter(folder, "train", dtype, SEPARATOR, limit=limit) as writer:
        for ids in documents:
            writer.document(ids, 2 * len(ids))
        files = writer.finish()
    made = Manifest(dtype, 300, SEPARATOR, "", {"train": files, "valid": []}, [])
    made.write(folder)
    return made


@given(st.lists(st.lists(st.integers(1, 299), max_size=9), max_size=20), st.integers(1, 30), st.data())
@settings(max_examples=60, deadline=None)
def test_documents_come_back(
    tmp_path_factory: pytest.TempPathFactory, documents: Documents, limit: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    dtype = data.draw(st.sampled_from(["uint16", "uint32"]))
    written(folder, documents, limit, dtype)
    made = manifest.load(folder)
    opened = shards.open_shards(folder, made, "train")
    flat = [int(id_) for shard in opened for id_ in shard]
    assert flat == [id_ for ids in documents for id_ in [*ids, SEPARATOR]]
    assert made.tokens("train") == len(flat)
    assert made.documents("train") == len(documents)
    assert made.bytes("train") == 2 * sum(map(len, documents))
    for shard in opened:  # cut at the first document that fills it
        assert shard[-1] == SEPARATOR
        ends = np.flatnonzero(shard == SEPARATOR)
        assert len(ends) < 2 or ends[-2] + 1 < limit


def test_many_documents_at_once(tmp_path: Path) -> None:
    documents = [[1, 2], [], [3, 4, 5], [6]]
    (tmp_path / "one").mkdir()
    (tmp_path / "all").mkdir()
    one = written(tmp_path / "one", documents, 4)
    with shards.ShardWriter(tmp_path / "all", "train", "uint16", SEPARATOR, limit=4) as writer:
        flat = np.array([id_ for ids in documents for id_ in [*ids, SEPARATOR]])
        writer.documents(flat, [len(ids) + 1 for ids in documents], [2 * len(ids) for ids in documents])
        assert writer.finish() == one.splits["train"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sha256 = train_bpe(["a rose is a rose is a rose"] * 9, 270, tmp_path)
    with shards.ShardWriter(tmp_path, "train", "uint16", SEPARATOR, limit=1 << 20) as writer:
        writer.document([40, 41, 42], 3)
        Manifest("uint16", 270, SEPARATOR, sha256, {"train": writer.finish()}, []).write(tmp_path)
    return tmp_path


def test_a_whole_folder_is_verified(folder: Path) -> None:
    shards.verify(folder, manifest.load(folder))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x00" * 6, r"has 6 bytes, the manifest says 8 bytes"),
        (bytes([40, 0, 41, 0, 43, 0, 0, 0]), "has other bytes than the manifest says"),
    ],
)
def test_a_damaged_shard_is_named(folder: Path, data: bytes, message: str) -> None:
    (folder / "train-00000.bin").write_bytes(data)
    with pytest.raises(InvalidData, match=f"train-00000.bin {message}"):
        shards.verify(folder, manifest.load(folder))


def test_another_tokenizer_is_found(folder: Path) -> None:
    with (folder / "tokenizer.json").open("ab") as file:
        file.write(b" ")
    with pytest.raises(InvalidData, match=r"tokenizer.json is not the tokenizer"):
        shards.verify(folder, manifest.load(folder))


@pytest.mark.parametrize(
    "text", ["", "[1", "[]", '{"format": "other"}', '{"format": "ownlm-tokens-1", "splits": 3}', "SOURCE", "TOKENS"]
)
def test_a_manifest_that_is_none(folder: Path, text: str) -> None:
    value = json.loads((folder / "manifest.json").read_text())
    if text == "SOURCE":
        value["sources"] = [{"name": "s", "weight": "two"}]
        text = json.dumps(value)
    elif text == "TOKENS":
        value["splits"]["train"][0]["tokens"] = 0
        text = json.dumps(value)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InvalidData, match=r"manifest.json "):
        manifest.load(folder)


def test_a_manifest_stays_in_its_folder(folder: Path) -> None:
    value = json.loads((folder / "manifest.json").read_text())
    value["splits"]["train"][0]["file"] = "../train-00000.bin"
    (folder / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(InvalidData, match="outside its folder"):
        manifest.load(folder)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="ownlm data build"):
        manifest.load(tmp_path)
