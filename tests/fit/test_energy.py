"""Joules: counters as Linux shows them, their turning over, and watts that a user states."""

from __future__ import annotations

from pathlib import Path

import pytest

from ownlm.errors import InvalidSetting
from ownlm.fit.energy import meter


def zone(root: Path, name: str, label: str, microjoules: int, most: int | None = None) -> Path:
    folder = root / "powercap" / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(label + "\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    if most is not None:
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder / "energy_uj"


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 700_000)
    found = meter(root=tmp_path)
    assert found is not None and found.source == "RAPL"
    first.write_text("3000000\n")
    second.write_text("5500000\n")
    assert found.joules() == pytest.approx(2.5)
    first.write_text("4000000\n")
    assert found.joules() == pytest.approx(3.5)


def test_a_counter_that_turned_over(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 9_000_000, most=10_000_000)
    found = meter(root=tmp_path)
    assert found is not None
    counter.write_text("500000\n")
    assert found.joules() == pytest.approx(1.5)


def test_sockets_of_amd(tmp_path: Path) -> None:
    chip = tmp_path / "hwmon" / "hwmon3"
    chip.mkdir(parents=True)
    (chip / "name").write_text("amd_energy\n")
    for number, label in ((1, "Ecore000"), (9, "Esocket0")):
        (chip / f"energy{number}_label").write_text(label + "\n")
        (chip / f"energy{number}_input").write_text("100\n")
    found = meter(root=tmp_path)
    assert found is not None and found.source == "hwmon"
    (chip / "energy9_input").write_text("2000100\n")
    (chip / "energy1_input").write_text("9000100\n")
    assert found.joules() == pytest.approx(2.0)


def test_no_counter_is_no_meter(tmp_path: Path) -> None:
    assert meter(root=tmp_path) is None
    zone(tmp_path, "intel-rapl:0", "psys", 5)
    assert meter(root=tmp_path) is None


def test_stated_watts_go_by_the_clock(tmp_path: Path) -> None:
    now = [10.0]
    zone(tmp_path, "intel-rapl:0", "package-0", 5)
    found = meter(45.0, tmp_path, lambda: now[0])
    assert found is not None and found.source == "45 W as stated"
    now[0] = 12.0
    assert found.joules() == pytest.approx(90.0)


@pytest.mark.parametrize("watts", [0.0, -3.0, float("nan"), float("inf")])
def test_watts_must_be_watts(watts: float) -> None:
    with pytest.raises(InvalidSetting, match=r"--power is .*: give what the machine takes"):
        meter(watts)
