"""Bytes and operations of a token, counted by hand for a small model."""

from __future__ import annotations

from pathlib import Path

from ownlm.fit.traffic import resident, traffic
from ownlm.model import checkpoint
from ownlm.model import ops as sides
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from tiny_llm import HIDDEN, INNER, LAYERS, write_tiny_llm

KEPT = HIDDEN // 2  # two key-value heads of four


def test_a_dense_model_in_floats(tmp_path: Path) -> None:
    write_tiny_llm(tmp_path)
    files = checkpoint.load(tmp_path)
    config = decoder_config(files.config(), tmp_path)
    prepared = sides.load("native").prepare(decoder_params(config, files.tensors))
    found = traffic(prepared, 0, 100)
    weights = LAYERS * HIDDEN * (2 * HIDDEN + 2 * KEPT + 3 * INNER)
    head = config.vocab_size * HIDDEN
    assert found.operations == 2 * weights
    assert found.head_operations == 2 * head
    assert found.layers == 4 * weights
    assert 4 * head <= found.head < 4 * (head + 16 * HIDDEN)  # rows are padded to 16
    assert found.kind == "f32"
    assert found.decode_bytes(7, 3) == found.layers + found.head + 2100
    kept = resident(prepared)
    assert (kept.layers, kept.head, kept.table) == (found.layers, found.head, 4 * head)


def test_a_rescored_head_reads_its_copy(tmp_path: Path) -> None:
    write_tiny_llm(tmp_path)
    files = checkpoint.load(tmp_path)
    config = decoder_config(files.config(), tmp_path)
    exact, rescored = (
        sides.load("native", head=head, rescore_from=1).prepare(decoder_params(config, files.tensors))
        for head in ("exact", "rescored")
    )
    assert traffic(rescored, 0, 0).head < traffic(exact, 0, 0).head / 6  # 4.5 bits for 32
    assert traffic(rescored, 0, 0).layers == traffic(exact, 0, 0).layers
    rows = 4 * config.vocab_size * HIDDEN
    assert resident(rescored).head == traffic(rescored, 0, 0).head + rows
