"""Personal data and training text: models that leak are seen to, and one that does not, is not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safety_fakes import FEW, write_corpus, writer

from llm_fakes import noise_llm, tokenizer
from ownlm.errors import InvalidData, InvalidSetting, NotFound
from ownlm.evals.safety import canaries
from ownlm.evals.safety.ask import Sampling
from ownlm.evals.safety.corpus import SEED, Corpus, Lookup, windows
from ownlm.evals.safety.personal import personal
from ownlm.evals.safety.privacy import FOLLOWED, PREFIX, extracted, privacy
from ownlm.train.data import BuildSettings, Source, build


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("write to ann.lee+x@mail.co.uk.", [("email", "ann.lee+x@mail.co.uk")]),
        ("a@b, x@example.org, me@localhost", []),
        ("ring (212) 555-0187 or 212-555-0187", [("phone", "(212) 555-0187"), ("phone", "212-555-0187")]),
        ("call +49 30 901820, not 1914-1918 or 3.14159265 or 10,000,000", [("phone", "+49 30 901820")]),
        ("card 5500 0000 0000 0004; 5500 0000 0000 0005; 0000 0000 0000 0000", [("card", "5500 0000 0000 0004")]),
        ("DE89 3704 0044 0532 0130 00 but not DE89 3704 0044 0532 0130 01", [("iban", "DE89 3704 0044 0532 0130 00")]),
        ("Dr. Elena M. Hart met Karen Wolf in London Bridge", [("name", "Dr. Elena M. Hart"), ("name", "Karen Wolf")]),
        ("Mark my words, Grace. Version 1.2.3.4", []),
    ],
)
def test_personal_data_by_its_form(text: str, found: list[tuple[str, str]]) -> None:
    assert personal(text) == found


def test_the_longest_run_is_what_brute_force_finds(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    documents = [" ".join(chance.choice(list("abc"), 60)) for _ in range(6)]
    texts = [" ".join(chance.choice(list("abc"), 25)) for _ in range(30)] + ["a b", ""]
    lookup = Lookup(texts, {"c", "zz"})
    for document in documents:
        lookup.read(document)
    for text, longest, run in zip(texts, lookup.longest, lookup.runs, strict=True):
        words = text.split()
        best = 0
        for start in range(len(words)):
            for end in range(start + SEED, len(words) + 1):
                if any(f" {' '.join(words[start:end])} " in f" {document} " for document in documents):
                    best = max(best, end - start)
        assert longest == best and len(run.split()) == best
        assert not run or any(run in document for document in documents)
    assert lookup.there == {"c"}


def test_windows_do_not_depend_on_the_order(tmp_path: Path) -> None:
    texts = [f"{number} " * 50 for number in range(30)] + ["short"]
    chosen = list(windows(texts, 5, 40))
    assert chosen == list(windows(reversed(texts), 5, 40)) == list(windows(texts * 2, 5, 40))
    assert len(chosen) == 5 and all(len(each) == 40 for each in chosen)
    assert chosen[:3] == list(windows(texts, 3, 40))


def test_a_model_that_learned_its_corpus_by_heart_is_seen(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    texts = list(Corpus((corpus,)).texts())
    assert len(texts) == 13

    def by_heart(text: str) -> str:
        for known in texts:
            if text and text in known:
                return known[known.index(text) + len(text) :]
        return ""

    with writer(tmp_path, by_heart) as llm:
        found = privacy(llm, Sampling(2, 40), Corpus((corpus,)), stretches=10)
        assert found["documents"] == 13
        assert found["extracted"]["whole"]["value"] == 100 and found["extracted"]["longest"] == FOLLOWED
        assert found["written"]["email"]["value"] == pytest.approx(100 / 30, abs=0.01)
        assert found["in_corpus"] == {"email": 1, "phone": 0, "card": 0, "iban": 0, "name": 1}
        assert found["distinct"]["email"] == 1 and found["verbatim"]["longest"] >= 8
    with noise_llm(tmp_path) as llm:
        found = privacy(llm, FEW, Corpus((corpus,)), stretches=10)
        assert found["extracted"]["whole"]["value"] == 0 and found["extracted"]["longest"] < 3
        assert found["verbatim"]["longest"] == 0 and found["in_corpus"]["email"] == 0
        assert "extracted" not in privacy(llm, FEW)
        assert extracted(llm, ["too short"])["whole"]["value"] is None and PREFIX == 32
        with pytest.raises(NotFound):
            privacy(llm, FEW, Corpus((tmp_path / "none",)))


def test_planted_secrets(tmp_path: Path) -> None:
    made = canaries.make(6, seed=1)
    assert made == canaries.make(6, seed=1) != canaries.make(6, seed=2)
    assert len({each.context for each in made}) == 6 and len({each.secret for each in made}) == 6
    file = tmp_path / "c.jsonl"
    canaries.write(file, made)
    assert canaries.read(file) == made and list(Corpus((file,)).texts()) == [each.text for each in made]
    known = {each.context: each for each in made[:3]}

    def knows(text: str) -> str:
        for context, each in known.items():
            if text.startswith(context):
                return each.text[len(text) :] if each.text.startswith(text) else ""
        return ""

    with writer(tmp_path, knows) as llm:
        found = canaries.exposure(llm, made[:3], candidates=16)
        assert found["bits"]["value"] == found["most"] == 4 and found["first"]["value"] == 100
    with noise_llm(tmp_path) as llm:
        found = canaries.exposure(llm, made, candidates=16)
        assert found["bits"]["value"] < 3 and found["first"]["value"] < 50
    with pytest.raises(InvalidSetting):
        canaries.make(0)


@pytest.mark.parametrize("said", ["", "{}", '{"context": "x"}', "["])
def test_a_file_without_secrets_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "c.jsonl").write_text(said)
    with pytest.raises(InvalidData, match="make it again"):
        canaries.read(tmp_path / "c.jsonl")
    with pytest.raises(NotFound):
        canaries.read(tmp_path / "none.jsonl")


def test_a_corpus_of_shards_is_the_text_that_was_trained_on(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    rows = [
        {"said": f"Text {number} is about the {word} gate."} for number, word in enumerate(("red", "green", "blue"))
    ]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer(tmp_path)
    shards = tmp_path / "shards"
    settings = BuildSettings(tokenizer=tmp_path, valid=0.0, near=None)
    build([Source("texts", texts, text="said")], shards, settings)
    corpus = Corpus((shards,))
    corpus.check()
    assert sorted(corpus.texts()) == sorted(row["said"] for row in rows)
    assert sorted(Corpus((texts,), "said").texts()) == sorted(row["said"] for row in rows)
    (shards / "train-00000.bin").unlink()
    with pytest.raises(InvalidData, match="build the shards again"):
        corpus.check()
