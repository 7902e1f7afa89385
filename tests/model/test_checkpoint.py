"""A model folder's tensors: whole, in shards, and consistent with its config."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ownlm.errors import CorruptModel, NotFound
from ownlm.model import checkpoint, safetensors
from ownlm.model.config import BertConfig
from ownlm.model.families import encoder_params
from tiny_bert import CONFIG, shapes, write_model

NAMES = sorted(shapes(CONFIG))


def shard(folder: Path) -> dict[str, str]:
    """Split a folder's weights in two, as the Hub does; return the weight map."""
    whole = checkpoint.load(folder).tensors
    where = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(NAMES)}
    for file in set(where.values()):
        part = {name: (whole[name].dtype, whole[name].array) for name in NAMES if where[name] == file}
        safetensors.write(folder / file, part)
    (folder / checkpoint.SINGLE).unlink()
    index(folder, where)
    return where


def index(folder: Path, where: object) -> None:
    (folder / checkpoint.INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))


def test_shards_hold_what_one_file_holds(tmp_path: Path) -> None:
    one = checkpoint.load(write_model(tmp_path / "one"))
    shard(write_model(tmp_path / "two"))
    two = checkpoint.load(tmp_path / "two")
    assert set(one.tensors) == set(two.tensors) == set(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(one.tensors[name].array, two.tensors[name].array)
    assert one.fingerprint() != two.fingerprint()


def test_an_index_that_disagrees_with_its_shards(tmp_path: Path) -> None:
    where = shard(write_model(tmp_path))
    for wrong, what in (
        ({**where, "extra": where[NAMES[0]]}, "disagree about extra"),
        ({name: file for name, file in where.items() if name != NAMES[3]}, f"disagree about {NAMES[3]}"),
        ({**where, NAMES[0]: where[NAMES[1]]}, f"disagree about {NAMES[0]}"),
        ({**where, NAMES[0]: "../other.safetensors"}, "no safetensors file of its own folder"),
        ({**where, NAMES[0]: "/etc/passwd"}, "no safetensors file of its own folder"),
        ({}, "damaged"),
        ([1], "damaged"),
        ({NAMES[0]: 1}, "damaged"),
    ):
        index(tmp_path, wrong)
        with pytest.raises(CorruptModel, match=what):
            checkpoint.load(tmp_path)
    index(tmp_path, {**where, NAMES[0]: "missing.safetensors"})
    with pytest.raises(NotFound, match=r"missing\.safetensors"):
        checkpoint.load(tmp_path)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no model\.safetensors"):
        checkpoint.load(tmp_path)


def test_the_fingerprint_follows_the_bytes(tmp_path: Path) -> None:
    first = checkpoint.load(write_model(tmp_path / "a", seed=1)).fingerprint()
    assert checkpoint.load(write_model(tmp_path / "b", seed=1)).fingerprint() == first
    assert checkpoint.load(write_model(tmp_path / "c", seed=2)).fingerprint() != first


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda found: found.pop("encoder.layer.1.output.dense.bias"), "encoder.layer.1.output.dense.bias is missing"),
        (
            lambda found: found.update({"encoder.layer.2.x": found[NAMES[0]]}),
            "does not know, such as encoder.layer.2.x",
        ),
        (lambda found: found.update({"bert." + NAMES[0]: found[NAMES[0]]}), "with and without"),
        (
            lambda found: found.update({"embeddings.LayerNorm.bias": ("F32", np.zeros(31, "f4"))}),
            r"has shape \(31,\); config.json implies \(32,\)",
        ),
        (
            lambda found: found.update({"encoder.layer.0.output.dense.weight": ("U8", np.zeros((32, 64), "u1"))}),
            r"\(U8\) has shape \(32, 64\); config.json implies \(32, 68\)",
        ),
        (
            lambda found: found.update({"encoder.layer.0.output.dense.weight": ("I8", np.zeros((32, 64), "i1"))}),
            "is I8: floating-point values were expected",
        ),
    ],
)
def test_weights_that_do_not_fit_the_config(tmp_path: Path, change: object, what: str) -> None:
    folder = write_model(tmp_path)
    found = {name: (tensor.dtype, tensor.array) for name, tensor in checkpoint.load(folder).tensors.items()}
    change(found)  # type: ignore[operator]
    safetensors.write(folder / checkpoint.SINGLE, found)
    with pytest.raises(CorruptModel, match=what):
        encoder_params(BertConfig.load(folder), checkpoint.load(folder).tensors)
