"""Blocks of a cache that leave it and come back, and the key under which they may."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from ownlm.model import checkpoint
from ownlm.model import ops as sides
from ownlm.model.batch import Batch
from ownlm.model.cache_key import cache_key
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.opened import OpenDecoder

pytest.importorskip("torch")
pytest.importorskip("transformers")
sys.path.append(str(Path(__file__).parent))
from decoder_support import folder, side, text


def opened(ops: str) -> OpenDecoder:
    path = folder("qwen3")
    found = checkpoint.load(path)
    config = decoder_config(found.config(), path)
    return OpenDecoder(side(ops), config, decoder_params(config, found.tensors), blocks=12, weights_key=found.identity)


def next_logits(model: OpenDecoder, ids: np.ndarray, done: int, table: list[int]) -> np.ndarray:
    """Logits of the tokens behind the first ``done``, which the blocks of ``table`` hold."""
    places = np.arange(done, len(ids), dtype=np.int32)
    blocks = np.array(table, np.int32)
    return model.step(
        Batch(
            ids=ids[done:], positions=places, cu_seqlens=np.array([0, len(places)], np.int32),
            lengths=np.array([len(ids)], np.int32), block_tables=blocks[None],
            slots=(blocks[places // 16] * 16 + places % 16).astype(np.int32),
            rows=np.array([len(places) - 1], np.int32),
        )
    )  # fmt: skip


@pytest.mark.parametrize("ops", sides.SIDES)
def test_a_text_goes_on_from_blocks_that_another_process_could_have_computed(ops: str) -> None:
    ids = text(1)[:50]
    first, second = opened(ops), opened(ops)
    assert first.cache_key == second.cache_key != ""
    expected = first.read(ids)[-1:]
    kept = first.read_blocks([0, 1, 2])
    assert kept.shape == (3, first.block_bytes)
    second.write_blocks([7, 2, 9], kept)
    assert np.array_equal(second.read_blocks([9]), kept[2:])
    assert np.allclose(next_logits(second, ids, 48, [7, 2, 9, 4]), expected, atol=0 if ops == "native" else 1e-5)


def test_a_key_depends_on_all_that_blocks_depend_on() -> None:
    path = folder("qwen3")
    config = decoder_config(checkpoint.raw_config(path), path)
    turned = dataclasses.replace(
        config,
        layers=tuple(
            dataclasses.replace(
                layer,
                rope=layer.rope
                and dataclasses.replace(layer.rope, inverse_frequencies=layer.rope.inverse_frequencies / 2),
            )
            for layer in config.layers
        ),
    )
    usual = ("weights", config, "native avx2", "bf16", 16)
    others = [
        ("other", config, "native avx2", "bf16", 16),
        ("weights", turned, "native avx2", "bf16", 16),
        ("weights", dataclasses.replace(config, norm_eps=2 * config.norm_eps), "native avx2", "bf16", 16),
        ("weights", config, "native portable", "bf16", 16),
        ("weights", config, "native avx2", "f32", 16),
        ("weights", config, "native avx2", "bf16", 32),
    ]
    assert cache_key(*usual) == cache_key(*usual)
    assert len({cache_key(*each) for each in [usual, *others]}) == 7
    assert cache_key("", *usual[1:]) == ""


def test_files_are_told_apart_without_being_read(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for each in folders:
        shutil.copytree(folder("qwen3"), each)
    first, second = (checkpoint.load(each).identity() for each in folders)
    if checkpoint.load(folders[0]).files[0].sha256 is not None:
        assert first == second
    weights = folders[0] / checkpoint.SINGLE
    os.utime(weights, ns=(1, 1))
    again = checkpoint.load(folders[0]).identity()
    assert again == checkpoint.load(folders[0]).identity()
    os.utime(weights, ns=(2, 2))
    found = checkpoint.load(folders[0])
    assert (found.identity() == again) == (found.files[0].sha256 is not None)
