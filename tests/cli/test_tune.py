"""``ownlm tune`` from a model and a file of examples to a model that is served."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / part) for part in ("train", "model", ".")]
import torch
from tiny_families import save
from tuning_support import TALK, write_lines, write_tokenizer

from ownlm.cli import main
from ownlm.model import checkpoint
from ownlm.model.opened import open_to_read
from ownlm.train.batch import Row, collate
from ownlm.train.decoder import Decoder
from ownlm.train.peft_files import load_adapters
from ownlm.train.tune import Wishes, tuning

torch.set_num_threads(1)
ROWS = [
    {"messages": [{"role": "user", "content": f"when is {n}?"}, {"role": "assistant", "content": f"at {n} and nine"}]}
    for n in range(30)
]
PAIRS = [{"messages": TALK[:1], "chosen": f"the gate {n}", "rejected": f"nobody {n}"} for n in range(20)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = save(tmp_path_factory.mktemp("made") / "tiny", "qwen3", vocab_size=304, max_position_embeddings=128)
    return write_tokenizer(folder)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "chat.jsonl", ROWS)


def tuned(capsys: pytest.CaptureFixture[str], *words: Any) -> Path:
    code = main(["tune", *map(str, words)])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return Path(shown.out.splitlines()[0]).parent


def losses(run: Path) -> list[float]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "step" in row]


def served(folder: Path) -> np.ndarray:
    ids = np.arange(5, 25, dtype=np.int32)
    return open_to_read(folder, checkpoint.load(folder), "torch").read(ids)


@pytest.mark.parametrize("method", ["lora", "dora", "qlora", "full"])
def test_a_model_learns_and_is_served(
    method: str, model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tuned(
        capsys, model, data, "--method", method, "--out", tmp_path / "run", "--length", 64, "--rate", 0.02, "--batch", 6
    )
    assert run == tmp_path / "run"
    found = losses(run)
    assert found[-1] < 0.7 * found[0]
    assert "parity" in " ".join(path.name for path in (run / "model").iterdir())
    if method == "full":
        assert not (run / "adapter").exists()
        return
    base = run / "base-q4_0" if method == "qlora" else model
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["use_dora"] is (method == "dora")
    there = Decoder.load(base, frozen=True)
    load_adapters(there, run / "adapter")
    ids = np.arange(5, 25)
    with torch.no_grad():
        adapted = there(collate([Row(ids, ids)])).logits().numpy()
    np.testing.assert_allclose(served(run / "model"), adapted, atol=1e-4)


def test_preferences_are_learnt(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_lines(tmp_path / "pairs.jsonl", PAIRS)
    for method in ("lora", "full"):
        out = tmp_path / method
        run = tuned(capsys, model, data, "--method", method, "--out", out, "--rate", 0.01, "--epochs", 4, "--batch", 3)
        found = losses(run)
        assert found[0] == pytest.approx(np.log(2), abs=0.01)
        assert found[-1] < 0.5
        last = json.loads([line for line in (run / "metrics.jsonl").read_text().splitlines() if '"step"' in line][-1])
        assert last["preferred"] > 0.9


def test_rounded_at_the_end(model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tuned(capsys, model, data, "--method", "full", "--qat", "q4_0", "--out", tmp_path / "run", "--batch", 8)
    assert json.loads((run / "model" / "recipe.json").read_text())["quantization"]["to"] == "q4_0"
    assert main(["quantize", str(run / "model"), "--to", "q4_0", "--out", str(tmp_path / "q4")]) == 0


def test_what_was_not_said_is_worked_out(model: Path, data: Path, tmp_path: Path) -> None:
    made = tuning(model, (data,), "x", tmp_path, Wishes())
    assert made.length == 128
    assert made.schedule.steps * made.batch == pytest.approx(3 * made.notes["rows"], abs=made.batch)
    assert made.name == "x"


BAD: list[tuple[list[str], str]] = [
    (["--method", "ia3"], "--method is 'ia3'"),
    (["--length", "999"], "--length is 999: the model's context holds 128"),
    (["--rank", "0"], "--rank is 0"),
    (["--rate", "-1"], "--rate is -1.0"),
    (["--qat", "q2_k"], "q4_0, q8_0"),
    (["--length", "9"], "line 1 is"),
    (["--beta", "0.2"], "--beta is 0.2: it is for pairs"),
    (["--rank", "4", "--method", "full"], "--rank is 4: method full has no adapters"),
]


@pytest.mark.parametrize(("words", "said"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line(
    words: list[str], said: str, model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", str(model), str(data), "--out", str(tmp_path / "run"), *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("ownlm: ")
    assert said in error


def test_a_tokenizer_that_is_not_the_models(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = write_tokenizer(save(tmp_path / "small", "qwen3"))
    assert main(["tune", str(small), str(data), "--out", str(tmp_path / "run")]) == 1
    assert "the tokenizer has 300 ids, the model 96" in capsys.readouterr().err


def test_a_bad_file_is_named(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rows, said in (([*ROWS[:3], {"messages": []}], "line 4"), ([], "has no line")):
        path = write_lines(tmp_path / "bad.jsonl", rows)
        assert main(["tune", str(model), str(path), "--out", str(tmp_path / "run")]) == 2
        assert said in capsys.readouterr().err


def test_long_examples_are_left_out_and_counted(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"messages": [{"role": "user", "content": "when? " * 40}, ROWS[0]["messages"][1]]}
    path = write_lines(tmp_path / "chat.jsonl", [*ROWS[:6], long])
    words = [str(model), str(path), "--out", str(tmp_path / "run"), "--leave-out-long", "--epochs", "1"]
    assert main(["tune", *words]) == 0
    assert "left out 1 example" in capsys.readouterr().err
