from __future__ import annotations

import platform
import sys

import pytest

from ownlm import native
from ownlm.errors import InvalidSetting


def test_portable_is_always_there() -> None:
    assert native.isas()[0] == "portable"
    assert native.compiled()["portable"] == "yes"
    order = ["portable", "avx2", "avx_vnni", "avx512vl_vnni", "avx512_vnni", "avx512_bf16", "amx_int8"]
    order += ["neon_dotprod", "neon_i8mm"]
    assert list(native.compiled()) == order
    assert list(native.isas()) == [name for name in order if name in native.isas()]
    for name in native.isas():
        assert native.compiled()[name] == "yes"


def test_switching(isa: str) -> None:
    assert native.isa() == isa


def test_an_unknown_one_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"isa is 'sse9': give one of .*portable"):
        native.use_isa("sse9")


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="reads /proc/cpuinfo of x86")
def test_what_the_processor_has_is_used() -> None:
    with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
        flags = set(next(line for line in file if line.startswith("flags")).split())
    vnni = {"avx512_vnni", "avx512vl", "avx512bw", "avx512dq"}
    for name, needed in [
        ("avx2", {"avx2", "fma", "f16c"}),
        ("avx_vnni", {"avx2", "fma", "f16c", "avx_vnni"}),
        ("avx512vl_vnni", vnni),
        ("avx512_vnni", vnni),
        ("avx512_bf16", vnni | {"avx512_bf16"}),
        ("amx_int8", vnni | {"avx512_bf16", "amx_tile", "amx_int8"}),
    ]:
        assert (name in native.isas()) == (needed <= flags and native.compiled()[name] == "yes")
