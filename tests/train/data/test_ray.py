"""The same work on a Ray cluster of this machine: the same bytes, and errors as they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from corpus_support import altered, files, jsonl, prose, spread

from ownlm.errors import InvalidData, MissingExtra
from ownlm.train.data import BuildSettings, Source, build
from ownlm.train.data.executors import RayData

TEXTS = [prose(seed, 150) for seed in range(60)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayData]:
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield RayData()
    ray.shutdown()


def sources(folder: Path) -> list[Source]:
    near = [altered(text, seed, 0.01) for seed, text in enumerate(TEXTS[:20])]
    return [
        Source("rows", jsonl(folder / "rows.jsonl", [*near, TEXTS[50]]), weight=1.5),
        Source("folder", spread(TEXTS, folder / "in", 5), licence="CC0-1.0"),
    ]


@pytest.mark.filterwarnings("ignore")
def test_the_same_shards(cluster: RayData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ownlm.train.data.pieces.PIECE_FILES", 2)  # several tasks of every kind
    given = sources(tmp_path)
    settings = BuildSettings(vocab_size=310, valid=0.1, shard_tokens=4000)
    made = build(given, tmp_path / "here", settings)
    build(given, tmp_path / "ray", replace(settings, bucket_bytes=9000), executor=cluster)
    assert files(tmp_path / "ray") == files(tmp_path / "here")
    assert made.sources[1].duplicates_near > 10 and made.sources[1].duplicates_exact > 0


@pytest.mark.filterwarnings("ignore")
def test_errors_come_back(cluster: RayData, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "good"}\n{"txt": "bad"}\n')
    with pytest.raises(InvalidData, match=r'bad.jsonl, line 2 has no "text"') as caught:
        build([Source("bad", tmp_path / "bad.jsonl")], tmp_path / "out", executor=cluster)
    assert caught.value.line == 2
    assert not (tmp_path / "out").exists()


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"ray is not installed: pip install 'ownlm\[cluster\]'"):
        RayData()
