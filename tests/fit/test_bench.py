"""What ``bench`` finds of a small model: which figures, of how many rounds, and the shares and costs made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ownlm.cli import main
from ownlm.errors import InvalidSetting
from ownlm.fit import bench as subject
from ownlm.fit.bench import Workload, bench
from ownlm.fit.cost import Prices
from ownlm.fit.energy import Meter
from ownlm.fit.figures import Figure, limit
from ownlm.native import machine
from tiny_llm import write_tiny_llm

MACHINE = machine.Machine("Chip", "avx2", 2, bandwidth=1e9, int8_ops=4e9, f32_ops=2e9, bf16_ops=None)
SMALL = Workload(rounds=2, prompt=32, new=4, depth=64, streams=3, rows=4)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "measure", lambda: MACHINE)
    monkeypatch.setattr(machine, "largest_cache", lambda: 0)
    folder = tmp_path / "model"
    folder.mkdir()
    return write_tiny_llm(folder)


def test_every_figure_has_its_rounds(tiny: Path) -> None:
    said: list[str] = []
    report = bench(tiny, SMALL, ops="native", on_progress=said.append)
    rounds = {figure.name: len(figure.values) for figure in report.figures}
    assert rounds == {
        "load": 1, "first token": 2, "prefill of 32": 2, "decode at 32": 2, "decode at 64": 2, "3 answers at 32": 2,
        "4 rows in a step": 8,
    }  # fmt: skip
    assert all(value > 0 for figure in report.figures for value in figure.values)
    assert said[0] == "measuring the machine" and "answer behind 64 tokens, round 2 of 2" in said
    assert 0 < report.memory.table <= report.memory.head
    assert report.costs() == []


def test_shares_are_of_the_machine_that_was_measured(tiny: Path) -> None:
    report = bench(tiny, SMALL, ops="native")
    decode, prefill = report.figure("decode at 64"), report.figure("prefill of 32")
    assert decode is not None and prefill is not None and decode.share is not None and prefill.share is not None
    read = report.memory.layers + report.memory.head + 64 * report.memory.cache_per_token  # type: ignore[operator]
    assert decode.share == pytest.approx(decode.median * read / 1e9)
    assert (decode.limit, prefill.limit) == ("bandwidth", "f32")


def test_weights_in_the_cache_have_no_share_of_bandwidth(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "largest_cache", lambda: 1 << 30)
    report = bench(tiny, SMALL, ops="native")
    decode = report.figure("decode at 32")
    assert decode is not None and decode.share is None
    assert any("fit into the processor's cache" in note for note in report.notes)


def test_energy_is_shared_out_over_tokens(tiny: Path) -> None:
    ticks = iter(range(1000))
    metered = Meter("1 W as stated", _watts=1.0, _clock=lambda: float(next(ticks)))  # a second from look to look
    report = bench(tiny, SMALL, ops="native", meter=metered, prices=Prices(kilowatt_hour=3.6, hosted_input=1.0))
    prefill, decode = report.figure("prefill of 32"), report.figure("decode at 32")
    assert prefill is not None and decode is not None
    assert prefill.joules == pytest.approx(3 / (3 * 32))  # three prompts with the first
    assert decode.joules == pytest.approx(3 / (3 * 4))
    costs = {name: (here, hosted) for name, here, hosted in report.costs()}
    assert costs["decode at 32"] == (pytest.approx(0.25), None)
    assert costs["prefill of 32"] == (pytest.approx(0.03125), 1.0)


def test_a_context_that_is_too_short_is_said(tiny: Path) -> None:
    report = bench(tiny, Workload(rounds=1, prompt=32, new=4), ops="native")
    assert "decode at 8,192 is left out: the model's context is 512" in report.notes
    with pytest.raises(InvalidSetting, match=r"--depth is 500: give at most 476: the model's context is 512"):
        bench(tiny, Workload(rounds=1, prompt=32, new=4, depth=500), ops="native")
    with pytest.raises(InvalidSetting, match=r"--prompt is 500: with --tokens 4 it needs a context of 536"):
        bench(tiny, Workload(rounds=1, prompt=500, new=4), ops="native")


def test_no_room_for_a_long_text_is_said(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "DEEP", 128)
    real = subject.load

    def full(model: Path, *, context: int, **named: object) -> object:
        if context > 128:
            raise InvalidSetting("model", str(model), "it needs more than there is")
        return real(model, context=context, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(subject, "load", full)
    report = bench(tiny, Workload(rounds=1, prompt=32, new=4, streams=2, rows=4), ops="native")
    assert any("memory has no room" in note for note in report.notes)
    assert report.figure("decode at 128") is None and report.figure("decode at 32") is not None


def test_electricity_needs_a_meter(tiny: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"--electricity is 0.3: .*--power"):
        bench(tiny, SMALL, ops="native", prices=Prices(kilowatt_hour=0.3))


@pytest.mark.parametrize(("name", "value"), [("rounds", 0), ("new", 0), ("streams", 65), ("rows", 257), ("depth", 0)])
def test_workloads_are_checked(name: str, value: int) -> None:
    with pytest.raises(InvalidSetting, match=f"--{'tokens' if name == 'new' else name} is {value}: give 1"):
        Workload(**{name: value})


def test_a_median_and_its_spread() -> None:
    figure = Figure(name="x", unit="s", values=(3.0, 1.0, 2.0))
    assert (figure.low, figure.median, figure.high) == (1.0, 2.0, 3.0)


def test_limits_of_a_machine() -> None:
    assert [limit(MACHINE, name) for name in ("bandwidth", "int8", "bf16", "f32")] == [1e9, 4e9, 2e9, 2e9]


def test_the_command(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["bench", str(tiny), "--rounds", "1", "--prompt", "32", "--tokens", "4", "--streams", "2", "--depth", "64"]
    assert main([*words, "--power", "10", "--electricity", "0.3", "--price", "0.15/0.6"]) == 0
    out, err = capfd.readouterr()
    assert "on Chip, 2 threads, avx2" in out and "decode at 64" in out and "a million tokens of" in out
    assert "energy               by 10 W as stated" in out
    assert "measuring the machine" in err
    assert main([*words, "--json", "--kv-format", "int8"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert {figure["name"] for figure in document["figures"]} >= {"load", "first token", "decode at 32"}
    assert document["machine"]["bandwidth"] == 1e9
    assert document["kv_format"] == "int8" and document["memory"]["cache_per_token"] < 256  # bf16's


def test_the_command_refuses(tiny: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny), "--rounds", "0"]) == 2
    assert "--rounds is 0: give 1 to 1000" in capfd.readouterr().err
    assert main(["bench", str(tiny), "--price", "cheap"]) == 2
    assert "--price is 'cheap'" in capfd.readouterr().err
    assert main(["bench", str(tiny / "nowhere")]) == 2
