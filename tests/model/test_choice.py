"""Which side computes: never a surprise, and a reason wherever it is not what one might expect."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ownlm.errors import InvalidSetting
from ownlm.model import memory
from ownlm.model.ops import choice
from ownlm.model.ops.choice import Gpu, choose


def driver(monkeypatch: pytest.MonkeyPatch, there: bool, found: Gpu | str = "nothing") -> None:
    monkeypatch.setattr(choice, "has_driver", lambda: there)
    monkeypatch.setattr(choice, "gpu", lambda: found)


def test_a_gpu_with_room_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, True, Gpu("Some GPU", 8_000_000_000))
    made = choose("auto", lambda: 7_000_000_000)
    assert (made.ops, made.free, made.where) == ("cuda", 8_000_000_000, "on the GPU")
    assert made.notes == ("computed on the GPU, Some GPU",)


def test_a_gpu_without_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, True, Gpu("Some GPU", 8_000_000_000))
    made = choose("auto", lambda: 9_000_000_000)
    assert made.ops == "native" and "9.00 GB" in made.notes[0] and "8.00 GB of Some GPU" in made.notes[0]
    assert choose("cuda", lambda: 9_000_000_000).ops == "cuda", "who asks for it is told by the check of memory"


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, True, "torch is not installed: pip install 'ownlm[train]'")
    made = choose("auto", lambda: pytest.fail("no size matters"))
    assert made.ops == "native" and "pip install 'ownlm[train]'" in made.notes[0]


def test_without_a_driver_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, False)
    made = choose("auto", lambda: pytest.fail("no size matters"))
    assert (made.ops, made.notes) == ("native", ()) and made.free <= memory.available() * 1.5


@pytest.mark.parametrize("ops", ["native", "torch"])
def test_who_names_a_side_gets_it(ops: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, True, Gpu("Some GPU", 8_000_000_000))
    assert choose(ops, lambda: 0).ops == ops


def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, False, "torch finds no GPU")
    with pytest.raises(InvalidSetting, match="torch finds no GPU"):
        choose("cuda", lambda: 0)
    with pytest.raises(InvalidSetting, match="auto"):
        choose("abacus", lambda: 0)


def test_choosing_imports_no_torch_without_a_driver() -> None:
    code = """
import sys
from ownlm.model.ops import choice
choice.has_driver = lambda: False
choice.choose("auto", int)
sys.exit("torch" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
