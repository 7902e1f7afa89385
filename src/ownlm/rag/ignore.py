"""Which files are no documents: defaults with their reasons, and files of rules as gitignore(5) has them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

import pathspec

from ownlm.rag.readers.limits import Limits

# Why a file is left out -> patterns (gitignore syntax).
DEFAULTS: dict[str, tuple[str, ...]] = {
    "hidden": (".*",),
    "a folder that tools fill": (
        *(
            "node_modules/",
            "bower_components/",
            "__pycache__/",
            "site-packages/",
            "venv/",
            "virtualenv/",
            "*.egg-info/",
        ),
        *("__MACOSX/", "$RECYCLE.BIN/", "System Volume Information/", "lost+found/"),
    ),
    "may hold secrets": (
        *("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.gpg", "*.asc", "*.ppk", "*.ovpn"),
        *("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.env", "env.*.local", "htpasswd", "credentials.json"),
    ),
    "a lock file or what an editor left": (
        *("*.lock", "package-lock.json", "pnpm-lock.yaml", "go.sum", "*~", "~$*", "*.swp", "*.tmp", "*.bak", "*.part"),
        *("*.crdownload", "Thumbs.db", "desktop.ini", "*.orig", "*.rej", "*.min.js", "*.min.css", "*.map"),
    ),
    "a picture, sound or video": (
        *(
            "*.png",
            "*.jpg",
            "*.jpeg",
            "*.gif",
            "*.bmp",
            "*.tif",
            "*.tiff",
            "*.webp",
            "*.heic",
            "*.ico",
            "*.psd",
            "*.raw",
        ),
        *("*.svg", "*.mp3", "*.wav", "*.flac", "*.ogg", "*.m4a", "*.aac", "*.mp4", "*.mov", "*.avi", "*.mkv", "*.webm"),
    ),
    "an archive": (
        *("*.zip", "*.tar", "*.gz", "*.tgz", "*.bz2", "*.xz", "*.zst", "*.7z", "*.rar", "*.iso", "*.dmg", "*.jar"),
        *("*.whl", "*.deb", "*.rpm", "*.cab", "*.apk"),
    ),
    "a program, font or data of a program": (
        *("*.exe", "*.dll", "*.so", "*.so.*", "*.dylib", "*.o", "*.a", "*.lib", "*.obj", "*.class", "*.pyc", "*.pyo"),
        *("*.wasm", "*.bin", "*.ttf", "*.otf", "*.woff", "*.woff2", "*.db", "*.sqlite", "*.sqlite3", "*.parquet"),
        *("*.npy", "*.npz", "*.pkl", "*.safetensors", "*.gguf", "*.pt", "*.pth", "*.onnx", "*.h5"),
    ),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What is left out. ``defaults``: reasons and patterns; ``ignore_files``: names of files that hold patterns."""

    defaults: tuple[tuple[str, tuple[str, ...]], ...] = tuple(DEFAULTS.items())
    ignore_files: tuple[str, ...] = (".gitignore", ".ownlmignore")
    max_bytes: int = Limits().file_bytes


# Patterns in force: the folder they count from, what they are, and why each leaves a file out.
Specs = tuple[tuple[str, pathspec.GitIgnoreSpec, tuple[str, ...]], ...]


def reason_to_ignore(path: str, is_folder: bool, specs: Specs) -> str:
    """Why the last pattern that matches leaves a path out; empty when none does or one takes it back in."""
    reason = ""
    for base, patterns, why in specs:
        inside = path[len(base) :].lstrip(os.sep).replace(os.sep, "/")
        # pathspec works on text: bytes that are not UTF-8 match wildcards as any other sign does.
        result = patterns.check_file(inside + "/" if is_folder else inside)
        if result.include is not None and result.index is not None:
            reason = why[result.index] if result.include else ""
    return reason


def default_spec(base: str, rules: Rules) -> tuple[str, pathspec.GitIgnoreSpec, tuple[str, ...]]:
    """The defaults of ``rules`` as one set of patterns that counts from ``base``."""
    patterns = [(pattern, reason) for reason, patterns in rules.defaults for pattern in patterns]
    return base, spec(pattern for pattern, _ in patterns), tuple(reason for _, reason in patterns)


def spec(lines: Iterable[str]) -> pathspec.GitIgnoreSpec:
    """Patterns as gitignore(5) reads them."""
    return pathspec.GitIgnoreSpec.from_lines(lines)


def small_text(path: str) -> str:
    """An ignore file. It is a regular file of sensible size, or it is not used."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > 1 << 20:
            raise ValueError("it is not a regular file of less than 1 MiB")
        return file.read().decode("utf-8-sig", "surrogateescape")
