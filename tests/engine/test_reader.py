"""The reader that ships: the same scores as transformers' trunk with its two heads, whatever else is asked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ownlm import hub
from ownlm.engine.reader import MODEL, TABLE, Reader, Shown
from ownlm.errors import CorruptModel
from ownlm.model import checkpoint
from ownlm.rag.sentences import sentences

PASSAGES = [
    ("Rules > Fees", "The yearly fee is £84. The year runs from the day you join. You may pay by card."),
    ("", "Dogs are welcome."),
    ("Hours", "Monday | nine to five. Tuesday | closed. The gate is locked at night; ring the bell twice."),
]
QUESTION = "How much is membership for a year?"


def shown(title: str, text: str) -> Shown:
    return Shown(title, text, tuple(sentences(text)))


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader.load()


def test_what_answers_is_found(reader: Reader) -> None:
    fees, dogs, hours = reader.read(QUESTION, [shown(*passage) for passage in PASSAGES])
    assert fees.argmax() == 0 and fees[0] > 0
    assert max(dogs.max(), hours.max()) < 0


def test_others_change_no_score(reader: Reader) -> None:
    together = reader.read(QUESTION, [shown(*passage) for passage in PASSAGES])
    for passage, scores in zip(PASSAGES, together, strict=True):
        np.testing.assert_array_equal(reader.read(QUESTION, [shown(*passage)])[0], scores)


def test_scores_are_those_of_transformers() -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = hub.shipped_folder(MODEL)
    tensors = dict(checkpoint.load(folder).tensors)
    tensors[TABLE] = checkpoint.load(hub.shipped_folder(hub.DEFAULT)).tensors[TABLE]
    config = transformers.BertConfig.from_dict(json.loads((folder / "config.json").read_text()))
    trunk = transformers.BertModel(config, add_pooling_layer=False).eval()
    heads = {name: tensors.pop(name).float32() for name in list(tensors) if name.startswith(("sentence.", "nothing."))}
    trunk.load_state_dict({name: torch.from_numpy(t.float32().copy()) for name, t in tensors.items()}, strict=False)
    reader = Reader.load(ops="torch")
    for title, text in PASSAGES:
        passage = shown(title, text)
        ids, spans = reader._row([*reader._before, *reader._tokenizer.encode(QUESTION, add_special=False),
                                  *reader._between], passage)  # fmt: skip
        types = [0] * (ids.index(102) + 1)
        types += [1] * (len(ids) - len(types))
        with torch.no_grad():
            states = (
                trunk(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([types])).last_hidden_state[0].numpy()
            )
        none = states[0] @ heads["nothing.weight"][0] + heads["nothing.bias"][0]
        want = [states[a:b].mean(0) @ heads["sentence.weight"][0] + heads["sentence.bias"][0] - none for a, b in spans]
        np.testing.assert_allclose(reader.read(QUESTION, [passage])[0], want, atol=2e-3)


def test_the_native_side_is_near(reader: Reader) -> None:
    passages = [shown(*passage) for passage in PASSAGES]
    for ours, oracle in zip(
        reader.read(QUESTION, passages), Reader.load(ops="torch").read(QUESTION, passages), strict=True
    ):
        np.testing.assert_allclose(ours, oracle, atol=0.25)


def test_nothing_to_read_and_more_than_fits(reader: Reader) -> None:
    long = "The gate is green. " * 300
    empty, whole = reader.read("word " * 500, [Shown("", "", ()), shown("Gates", long)])
    assert len(empty) == 0 and len(whole) == 300 and np.isfinite(whole).all()
    assert (whole[-1], whole[0] != 0) == (0.0, True)  # beyond the positions: as "none of them"


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"word_embeddings_of": "../x"}, "word_embeddings_of"),
        ({"word_embeddings_of": None}, "word_embeddings.weight is missing"),
    ],
)
def test_a_damaged_folder_is_named(tmp_path: Path, change: dict[str, object], names: str) -> None:
    folder = tmp_path / "m"
    shutil.copytree(hub.shipped_folder(MODEL), folder)
    (folder / hub.SUMS).unlink()
    config = json.loads((folder / "config.json").read_text()) | change
    (folder / "config.json").write_text(json.dumps(config))
    if change["word_embeddings_of"] is None:
        shutil.copy(hub.shipped_folder(hub.DEFAULT) / "tokenizer.json", folder)
    with pytest.raises(CorruptModel, match=names):
        Reader.load(folder)


def test_the_receipt_says_what_the_format_cost() -> None:
    receipt = json.loads((hub.shipped_folder(MODEL) / "receipt.json").read_text())
    assert receipt["same_best"] >= 0.99 * receipt["rows"]
    assert receipt["right_after"] >= receipt["right_before"] - 5
