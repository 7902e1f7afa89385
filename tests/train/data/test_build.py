"""No document is lost or doubled, whatever the files, weights and duplicates; the same text makes the same bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_support import both, files, jsonl, prose, spread, texts
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.train.data import BuildSettings, Manifest, Source, build
from ownlm.train.data.executors import Processes
from ownlm.train.data.shards import verify

TEXT = st.sampled_from(
    ["", " \n", "a", "<|endoftext|>", "<tool_call>x", "naïve 漢字", "\x01", prose(1, 7), prose(2, 9)]
)
TEXTS = st.lists(TEXT | st.text(max_size=12), min_size=0, max_size=25)
PROSE = [prose(seed) for seed in range(120)]


def checked(folder: Path, made: Manifest) -> None:
    """What the manifest says of itself agrees."""
    verify(folder, made)
    for source in made.sources:
        dropped = source.duplicates_exact + source.duplicates_near + source.left_out
        assert source.read == source.empty + dropped + source.kept
    for name, total in (("documents", made.documents), ("bytes", made.bytes), ("tokens", made.tokens)):
        assert sum(getattr(source, name) for source in made.sources) == total("train") + total("valid")


def real(found: str) -> bool:
    return bool(found.strip())


@given(TEXTS, TEXTS, st.integers(0, 1 << 40), st.sampled_from([0.0, 0.01, 0.3]), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_document_once(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer_folder: Path,
    one: list[str],
    two: list[str],
    seed: int,
    valid: float,
    exact: bool,
) -> None:
    folder = tmp_path_factory.mktemp("build")
    one, two = [*one, "one"], [*two, "two"]
    sources = [Source("one", jsonl(folder / "1.jsonl", one)), Source("two", jsonl(folder / "2.jsonl", two))]
    chosen = BuildSettings(tokenizer=tokenizer_folder, seed=seed, valid=valid, exact=exact, near=None, shard_tokens=40)
    made = build(sources, folder / "out", chosen)
    checked(folder / "out", made)
    wanted = Counter(filter(real, one + two))
    if exact:
        wanted = Counter(set(wanted))
    assert Counter(both(folder / "out")) == wanted
    assert made.documents("valid") > 0 or not valid
    assert not set(texts(folder / "out", "train")) & set(texts(folder / "out", "valid"))
    assert made.sources[0].read == len(one)
    assert made.sources[1].empty == sum(not real(text) for text in two)


@given(st.floats(0.05, 3.5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_weights_repeat_and_leave_out(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, weight: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    sources = [
        Source("weighted", jsonl(folder / "1.jsonl", PROSE[:60]), weight=weight),
        Source("plain", jsonl(folder / "2.jsonl", PROSE[60:])),
    ]
    made = build(sources, folder / "out", BuildSettings(tokenizer=tokenizer_folder, seed=seed, valid=0.1))
    checked(folder / "out", made)
    train, valid = Counter(texts(folder / "out", "train")), Counter(texts(folder / "out", "valid"))
    assert set(valid.values()) <= {1}
    assert not train.keys() & valid.keys()
    assert {train[text] + valid[text] for text in PROSE[60:]} == {1}
    for text in PROSE[:60]:
        assert train[text] in (int(weight), int(weight) + 1) or valid[text]
    expected = 60 * weight
    total = sum(train[text] for text in PROSE[:60]) + sum(valid[text] for text in PROSE[:60]) * weight
    assert abs(total - expected) < 30  # five deviations of the fraction's draw, and what was set aside


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """One build in one process, its tokenizer trained."""
    folder = tmp_path_factory.mktemp("reference")
    source = Source("prose", jsonl(folder / "all.jsonl", [*PROSE, PROSE[3]]), weight=1.5, licence="CC0-1.0")
    build([source], folder / "out", SETTINGS)
    return folder, files(folder / "out")


SETTINGS = BuildSettings(vocab_size=320, valid=0.05, seed=7, shard_tokens=3000)


def test_workers_change_nothing(reference: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    folder, wanted = reference
    source = Source("prose", folder / "all.jsonl", weight=1.5, licence="CC0-1.0")
    build([source], tmp_path / "out", replace(SETTINGS, bucket_bytes=4000), executor=(pool := Processes(2)))
    pool.close()
    assert files(tmp_path / "out") == wanted
    assert len([name for name in wanted if name.startswith("train")]) > 2


@pytest.mark.parametrize("parts", [1, 3, 50])
def test_files_and_buckets_change_only_their_count(
    reference: tuple[Path, dict[str, bytes]], tmp_path: Path, parts: int
) -> None:
    _, wanted = reference
    source = Source("prose", spread([*PROSE, PROSE[3]], tmp_path / "in", parts), weight=1.5, licence="CC0-1.0")
    made = build([source], tmp_path / "out", replace(SETTINGS, bucket_bytes=1000 << parts % 7))
    found = files(tmp_path / "out")
    found.pop("manifest.json")
    assert found == {name: data for name, data in wanted.items() if name != "manifest.json"}
    assert made.sources[0].files == parts


def test_order_of_the_rows_changes_nothing(reference: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    _, wanted = reference
    source = Source("prose", jsonl(tmp_path / "x.jsonl", [PROSE[3], *PROSE[::-1]]), weight=1.5)
    build([source], tmp_path / "out", SETTINGS)
    assert texts(tmp_path / "out", "train")
    assert files(tmp_path / "out")["train-00000.bin"] == wanted["train-00000.bin"]


def test_the_seed_orders(reference: tuple[Path, dict[str, bytes]], tmp_path: Path) -> None:
    folder, _ = reference
    build([Source("prose", folder / "all.jsonl", weight=1.5)], tmp_path / "out", replace(SETTINGS, seed=8))
    one, other = both(folder / "out"), both(tmp_path / "out")
    assert one != other
    assert set(one) == set(other) == set(PROSE)
    assert one != sorted(one, key=PROSE.index)


def test_validation_source_cleans_training(tmp_path: Path, tokenizer_folder: Path) -> None:
    sources = [
        Source("train", jsonl(tmp_path / "t.jsonl", PROSE[:40])),
        Source("held", jsonl(tmp_path / "v.jsonl", PROSE[30:50]), split="valid", weight=3),
    ]
    made = build(sources, tmp_path / "out", BuildSettings(tokenizer=tokenizer_folder, valid=0.2))
    assert sorted(texts(tmp_path / "out", "valid")) == sorted(PROSE[30:50])
    assert sorted(texts(tmp_path / "out", "train")) == sorted(PROSE[:30])
    assert [source.duplicates_exact for source in made.sources] == [10, 0]


def test_nothing_else_is_left(reference: tuple[Path, dict[str, bytes]]) -> None:
    folder, wanted = reference
    assert sorted(path.name for path in folder.iterdir()) == ["all.jsonl", "out"]
    assert {Path(name).suffix for name in wanted} == {".json", ".jinja", ".bin"}
    assert len({path.stat().st_mode for path in (folder / "out").iterdir()}) == 1
