"""What the machine can do at most is measured in every instruction set, and told in the same units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ownlm import native
from ownlm.errors import InvalidSetting
from ownlm.native import machine


@pytest.fixture(params=native.isas())
def each_isa(request: pytest.FixtureRequest):
    before = native.isa()
    native.use_isa(request.param)
    yield request.param
    native.use_isa(before)


def test_figures_of_every_instruction_set(each_isa: str) -> None:
    found = machine.measure(0.01, buffer_bytes=1 << 20)
    assert found.isa == each_isa
    assert found.threads == native.threads()
    assert found.bandwidth > 0 and found.int8_ops > 0 and found.f32_ops > 0
    assert (found.bf16_ops is not None) == (each_isa in ("avx512_bf16", "amx_int8"))


def test_work_grows_with_rounds_and_threads() -> None:
    few, _ = native._load().probe_products("int8", 16)
    many, _ = native._load().probe_products("int8", 48)
    assert few > 0 and many == 3 * few


def test_reading_takes_any_length() -> None:
    for size in (0, 1, 63, 64, 257, (1 << 20) + 3):
        assert native._load().probe_read(np.ones(size, np.uint8)) >= 0


@pytest.mark.parametrize(("kind", "rounds"), [("int4", 1), ("int8", 0)])
def test_what_is_not_measured_is_named(kind: str, rounds: int) -> None:
    with pytest.raises(ValueError, match=r"kind is 'int4'|rounds is 0"):
        native._load().probe_products(kind, rounds)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_time_must_be_a_time(seconds: float) -> None:
    with pytest.raises(InvalidSetting, match=r"seconds is .*: give a time above 0"):
        machine.measure(seconds)


def test_largest_cache(tmp_path: Path) -> None:
    assert machine.largest_cache(tmp_path) == 0
    for index, size in enumerate(("32K", "1024K", "32M", "nonsense")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size + "\n")
    assert machine.largest_cache(tmp_path) == 32 << 20


def test_processor_has_a_name(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("processor\t: 0\nmodel name\t: Fast Chip 9000\n")
    assert machine.processor(told) == "Fast Chip 9000"
    assert machine.processor(tmp_path / "missing")
