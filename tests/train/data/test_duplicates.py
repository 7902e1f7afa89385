"""Near duplicates: what is dropped is like something kept, no two kept that were compared are alike."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from corpus_support import WORDS, altered, both, jsonl, prose
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.train.data import BuildSettings, Source, build, duplicates, minhash
from ownlm.train.data.duplicates import EXACT, KEPT, NEAR
from ownlm.train.data.segment import Table, write_segment

TEXTS = st.lists(
    st.sampled_from(["a", "A.", "漢字", "“ — ”", "", "..."]) | st.lists(st.sampled_from(WORDS[:9])).map(" ".join),
    max_size=30,
)


def runs(text: str) -> set[tuple[str, ...]]:
    words = text.lower().split()
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def jaccard(one: str, other: str) -> float:
    return len(runs(one) & runs(other)) / len(runs(one) | runs(other))


def test_signatures_estimate_the_similarity() -> None:
    errors = []
    for seed, share in enumerate([0.002, 0.01, 0.02, 0.05, 0.2] * 12):
        text = prose(seed, 30 + 40 * (seed % 9))
        other = altered(text, seed, share)
        one, two = minhash.signatures([text.encode(), other.encode()])
        errors.append(np.mean(one == two) - jaccard(text, other))
    assert abs(np.mean(errors)) < 0.02
    assert np.sqrt(np.mean(np.square(errors))) < 0.06  # 128 places have a deviation of at most 0.044


def test_case_and_punctuation_do_not_count() -> None:
    one, two, three = minhash.signatures(
        [b"It is so: one, two, three!", "it is SO — “one two” three".encode(), b"it is so one two four"]
    )
    assert (one == two).all()
    assert not (one == three).all()


def test_texts_without_words_are_alike_only_if_equal() -> None:
    one, two, three = minhash.signatures([b"...", b"?!", b"..."])
    assert (one == three).all()
    assert np.mean(one == two) < 0.1


@given(TEXTS, st.integers(1, 2000))
@settings(max_examples=40, deadline=None)
def test_signatures_depend_on_the_text_alone(texts: list[str], block: int) -> None:
    data = [text.encode() for text in texts]
    together = minhash.signatures(data)
    assert together.shape == (len(data), minhash.PLACES)
    for text, found in zip(data, together, strict=True):
        assert (minhash.signatures([text])[0] == found).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minhash, "BLOCK", max(block, *map(len, data), 1))
        patch.setattr(minhash, "_TABLES", [])
        assert (minhash.signatures(data) == together).all()


def test_long_texts_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    text = prose(1, 4000).encode()
    (whole,) = minhash.signatures([text])
    monkeypatch.setattr(minhash, "BLOCK", 4096)
    monkeypatch.setattr(minhash, "_TABLES", [])
    (parts,) = minhash.signatures([text])
    assert np.mean(whole == parts) > 0.9


def families(seed: int) -> list[str]:
    """Texts of which some are copies, some nearly, some alike only by their template."""
    chance = random.Random(seed)
    found: list[str] = []
    for family in range(8):
        text = prose(1000 * seed + family, chance.choice([3, 12, 60, 200]))
        found.append(text)
        for copy in range(chance.randrange(6)):
            found.append(altered(text, copy, chance.choice([0, 0.005, 0.02, 0.05, 0.2])))
    chance.shuffle(found)
    return found


@given(st.integers(0, 10_000), st.sampled_from([0.6, 0.8, 0.95]), st.integers(1, 4), st.integers(9, 60))
@settings(max_examples=25, deadline=None)
def test_marks_agree_with_comparing_all(
    tmp_path_factory: pytest.TempPathFactory, seed: int, threshold: float, parts: int, at_once: int
) -> None:
    texts = families(seed)
    folder = tmp_path_factory.mktemp("segments")
    segments, first = [], 0
    for part in range(parts):
        share = texts[len(texts) * part // parts : len(texts) * (part + 1) // parts]
        if share:
            made = write_segment(folder / str(part), 0, [text.encode() for text in share], 0, near=True)
            segments.append(type(made)(made.stem, 0, made.documents, made.bytes, first))
            first += made.documents
    table = Table(segments)
    states = np.zeros(len(texts), np.uint8)
    duplicates.mark_exact(table, states, at_once=at_once)
    assert [state == EXACT for state in states] == [text in texts[:rank] for rank, text in enumerate(texts)]
    np.save(folder / "states.npy", states)
    task = duplicates.Pairs(segments, folder / "states.npy", threshold)
    pairs = np.concatenate([task(band)[0] for band in duplicates.bands(len(texts), at_once=at_once)])
    alive = np.flatnonzero(states == KEPT)
    groups = duplicates.grouped(pairs)
    states[groups[:, 1]] = NEAR
    half = len(pairs) // 2
    again = duplicates.grouped(np.concatenate([duplicates.grouped(pairs[half:]), pairs[:half]]))
    assert (again == groups).all()

    signs = minhash.signatures([text.encode() for text in texts])
    hashes = minhash.bands(signs)
    same = (signs[:, None] == signs[None]).mean(axis=2) >= threshold - 1e-9
    met = (hashes[:, :, None] == hashes[:, None]).any(axis=0)
    for one, other in pairs:
        assert one < other and same[one, other] and met[one, other]
    group = {int(number): int(number) for number in alive}

    def root(number: int) -> int:
        return number if group[number] == number else root(group[number])

    for one, other in pairs.tolist():
        first_root, other_root = root(one), root(other)
        group[max(first_root, other_root)] = min(first_root, other_root)
    for number in alive.tolist():
        assert states[number] == (KEPT if root(number) == number else NEAR)
    kept = np.flatnonzero(states == KEPT)
    for one in kept:
        for other in kept:
            assert one >= other or not (same[one, other] and met[one, other])


def test_a_crowded_group_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [altered(prose(1, 60), seed, 0.04).encode() for seed in range(120)]
    segment = write_segment(tmp_path / "s", 0, texts, 0, near=True)
    np.save(tmp_path / "states.npy", np.zeros(len(texts), np.uint8))
    task = duplicates.Pairs([segment], tmp_path / "states.npy", 1.0)
    assert sum(task(band)[1] for band in duplicates.bands(len(texts))) == 0
    monkeypatch.setattr(duplicates, "LEADERS", 3)
    assert sum(task(band)[1] for band in duplicates.bands(len(texts))) > 0


def test_near_duplicates_of_a_corpus(tmp_path: Path, tokenizer_folder: Path) -> None:
    originals = [prose(seed, 300) for seed in range(30)]
    near = [altered(text, seed, 0.01) for seed, text in enumerate(originals[:10])]
    unlike = [altered(text, seed, 0.3) for seed, text in enumerate(originals[10:20])]
    sources = [
        Source("first", jsonl(tmp_path / "1.jsonl", originals)),
        Source("second", jsonl(tmp_path / "2.jsonl", [*near, *unlike, originals[3]])),
    ]
    made = build(sources, tmp_path / "out", BuildSettings(tokenizer=tokenizer_folder))
    assert sorted(both(tmp_path / "out")) == sorted(originals + unlike)
    assert [source.duplicates_near for source in made.sources] == [0, 10]
    assert [source.duplicates_exact for source in made.sources] == [0, 1]
    made = build(sources, tmp_path / "all", BuildSettings(tokenizer=tokenizer_folder, near=None))
    assert made.documents("train") + made.documents("valid") == 50
