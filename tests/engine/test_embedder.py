"""Vectors keep the order of the texts, do not depend on batching or threads, and nothing is cut in silence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ownlm import hub, native
from ownlm.engine import Embedder
from ownlm.engine.batching import micro_batches
from ownlm.errors import CorruptModel, InvalidSetting, NotFound
from tiny_bert import write_model

TEXTS = ["the fee is 12 pounds .", "", "hallway", "a b c a b c a b c", "zzz", "the hall"]
GOLDEN = json.loads((Path(__file__).parent / "golden_minilm.json").read_text())


@pytest.fixture(scope="module")
def shipped() -> Embedder:
    return Embedder.load()


@pytest.fixture(params=native.isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    before = native.isa()
    native.use_isa(request.param)
    yield request.param
    native.use_isa(before)


@pytest.mark.parametrize("ops", ["native", "torch"])
def test_order_is_kept_and_rows_have_length_one(tmp_path: Path, ops: str) -> None:
    if ops == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    embedder = Embedder.load(write_model(tmp_path), ops=ops)
    vectors = embedder.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(embedder.encode([text])[0], vector, atol=1e-6)


def test_no_texts_give_no_vectors(shipped: Embedder) -> None:
    assert shipped.encode([]).shape == (0, 384)


def test_the_shipped_model_matches_transformers_float32(isa: str) -> None:
    vectors = Embedder.load().encode(GOLDEN["texts"])
    cosines = (vectors * np.array(GOLDEN["vectors"], np.float32)).sum(1)
    assert cosines.min() >= 0.999, isa


def test_batching_does_not_change_a_vector(shipped: Embedder) -> None:
    texts = GOLDEN["texts"] * 20
    together = shipped.encode(texts)
    alone = np.concatenate([shipped.encode([text]) for text in GOLDEN["texts"]])
    np.testing.assert_array_equal(together, np.tile(alone, (20, 1)))


def test_many_threads_get_what_one_gets(shipped: Embedder) -> None:
    expected = shipped.encode(GOLDEN["texts"])
    with ThreadPoolExecutor(16) as pool:
        for found in pool.map(lambda _: shipped.encode(GOLDEN["texts"]), range(64)):
            np.testing.assert_array_equal(found, expected)


def test_a_text_too_long_is_refused_unless_it_may_be_cut(shipped: Embedder) -> None:
    longest = "word " * 254
    assert shipped.count_tokens(longest) + 2 == shipped.max_length == 256
    shipped.encode([longest])
    with pytest.raises(InvalidSetting, match=r"text 1 .*257 tokens of at most 256"):
        shipped.encode(["short", longest + "word"])
    cut = shipped.encode([longest + "word"], truncate=True)
    np.testing.assert_allclose(cut, shipped.encode([longest]), atol=1e-6)


def test_one_text_is_not_a_list_of_characters(shipped: Embedder) -> None:
    with pytest.raises(InvalidSetting, match="give a list"):
        shipped.encode("text")


def test_progress_counts_every_text_once(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    Embedder.load(write_model(tmp_path)).encode(TEXTS * 300, lambda done, total: seen.append((done, total)))
    counts = [done for done, _ in seen]
    assert counts == sorted(counts)
    assert seen[-1] == (len(TEXTS) * 300, len(TEXTS) * 300)


def test_spans_are_read_in_their_text(shipped: Embedder) -> None:
    texts = ["The fee is £12. It is paid yearly.", "", "Hall"]
    spans = [[(0, 15), (16, 34), (15, 16)], [], [(0, 4)]]
    vectors, of_spans = shipped.encode_spans(texts, spans)
    np.testing.assert_allclose(vectors, shipped.encode(texts), atol=2e-5)
    assert [found.shape for found in of_spans] == [(3, 384), (0, 384), (1, 384)]
    np.testing.assert_allclose(np.linalg.norm(of_spans[0], axis=1), [1, 1, 0], atol=1e-6)
    alone = shipped.encode(["It is paid yearly."])[0]
    assert 0.3 < alone @ of_spans[0][1] < 0.99  # like the sentence alone, and yet not the same
    with pytest.raises(InvalidSetting, match="for each of 3 texts"):
        shipped.encode_spans(texts, spans[:1])


def test_micro_batches_hold_every_index_once_within_the_budget() -> None:
    lengths = np.random.default_rng(0).integers(1, 30, 500).tolist()
    batches = list(micro_batches(lengths, tokens=40))
    assert sorted(index for batch in batches for index in batch) == list(range(500))
    assert all(sum(lengths[index] for index in batch) <= 40 for batch in batches)
    assert list(micro_batches([50, 3], tokens=40)) == [[0], [1]]


def test_the_fingerprint_changes_with_the_weights_the_config_and_the_tokenizer(tmp_path: Path) -> None:
    first = Embedder.load(write_model(tmp_path / "a", seed=1)).fingerprint
    assert Embedder.load(write_model(tmp_path / "b", seed=1)).fingerprint == first
    assert Embedder.load(write_model(tmp_path / "c", seed=2)).fingerprint != first
    assert Embedder.load(write_model(tmp_path / "d", seed=1, layer_norm_eps=1e-6)).fingerprint != first


def test_what_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="all-MiniLM-L6-v2-q8_0"):
        Embedder.load("no-such-model")
    with pytest.raises(InvalidSetting, match="native, cuda, torch"):
        Embedder.load(ops="gpu")
    with pytest.raises(CorruptModel, match="vocab"):
        Embedder.load(write_model(tmp_path, vocab_size=10))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json", "sentence_bert_config.json"])
def test_one_flipped_bit_of_the_shipped_folder_is_found(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(hub.resolve(), folder)
    data = bytearray((folder / name).read_bytes())
    data[len(data) * 2 // 3] ^= 4
    (folder / name).write_bytes(data)
    with pytest.raises(CorruptModel, match=rf"{name}.*get the f"):
        Embedder.load(folder)


def test_torch_stays_out_and_is_named_when_asked_for() -> None:
    code = """
import sys
from ownlm.engine import Embedder
Embedder.load().encode(["text"])
assert "torch" not in sys.modules
sys.modules["torch"] = None
from ownlm.errors import MissingExtra
try:
    Embedder.load(ops="torch")
except MissingExtra as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "torch is not installed: pip install 'ownlm[train]'"
