"""The PEP 517 backend: scikit-build-core, after a look for a C++ compiler.

Without one CMake stops after a page of its own; here it is one line that says what to install.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import Any

import scikit_build_core.build as _build
from scikit_build_core.build import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_INSTALL = {
    "darwin": "xcode-select --install",
    "linux": "'apt install g++', 'dnf install gcc-c++' or 'pacman -S gcc'",
}


def _need_compiler() -> None:
    if sys.platform == "win32":  # Visual Studio is not on PATH; CMake finds it
        return
    chosen = shlex.split(os.environ.get("CXX", ""))[:1]
    if any(shutil.which(name) for name in chosen or ["c++", "g++", "clang++"]):
        return
    how = _INSTALL.get(sys.platform, "your system's package manager")
    missing = f"CXX is {chosen[0]!r}, which is not there" if chosen else "no C++ compiler found"
    raise SystemExit(f"ownlm: {missing}. Install g++ 11 or newer, or clang 14 or newer: {how}")


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    _need_compiler()
    return _build.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    _need_compiler()
    return _build.build_editable(wheel_directory, config_settings, metadata_directory)
