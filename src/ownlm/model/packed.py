"""Weights packed once, beside the model: which file holds them, and whether it is of these very model files.

``model-KEY.packed`` in a model folder, ``STEM-KEY.packed`` beside a GGUF file, or below ``OWNLM_HOME/packed`` where the
model's own place cannot be written. KEY is a hash of names, sizes and times of change of the model's files, of which no
byte is read: as ``make`` and ``rsync`` do it, since hashing 4 GB takes longer than a first token may.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ownlm import native
from ownlm.errors import CorruptModel, InvalidSetting
from ownlm.home import data_home
from ownlm.model import packed_file
from ownlm.model.checkpoint import Checkpoint
from ownlm.model.packed_file import Entry, PackedFile

SUFFIX = ".packed"
LEAST = 32 << 20
"""Bytes of packed weights that are worth a file; fewer are packed in less time than it takes to look for one."""
_ROOM = 1 << 30  # bytes that a disk keeps free


def stamp(files: Checkpoint) -> list[list[Any]]:
    """Name, size and time of change of each of a model's weight files."""
    found = []
    for file in files.files:
        state = file.path.stat()
        found.append([file.path.name, state.st_size, state.st_mtime_ns])
    return found


def places(path: Path, files: Checkpoint) -> list[Path]:
    """Where the packed weights of the model at ``path`` may be: beside it, or below ``OWNLM_HOME``."""
    key = _hash([native.layout(), stamp(files)])
    folder, stem = (path, "model") if path.is_dir() else (path.parent, path.stem)
    found = [folder / f"{stem}-{key}{SUFFIX}"]
    if (home := _home()) is not None:
        found.append(home / f"{_own(path)}{key}{SUFFIX}")
    return found


def _home() -> Path | None:
    try:
        return data_home() / "packed"
    except InvalidSetting:  # it cannot be made: whoever needs it says so
        return None


def _own(path: Path) -> str:
    """How the names of a model's files begin in a folder that all models share."""
    return f"{path.stem}-{_hash([str(path.resolve())])}-"


def find(path: Path, files: Checkpoint) -> PackedFile | None:
    """The packed weights of a model, if they are there and whole; a file that is not is removed."""
    for place in places(path, files):
        try:
            found = packed_file.read(place)
            if found.about.get("files") != stamp(files):
                raise CorruptModel(f"{place} is of other files")
            return found
        except CorruptModel:
            discard(place)
        except OSError:
            continue
    return None


def discard(place: Path) -> None:
    """Remove a file that cannot be used; one that cannot be removed is passed over by what is written beside it."""
    with suppress(OSError):
        place.unlink()


def others(path: Path) -> list[Path]:
    """Every file of packed weights beside the model at ``path``, and those below ``OWNLM_HOME``, whatever their key."""
    folder, stem = (path, "model") if path.is_dir() else (path.parent, path.stem)
    found = [file for file in folder.glob(f"*{SUFFIX}") if _stem(file) == stem]
    if (home := _home()) is not None:
        found += [file for file in home.glob(f"*{SUFFIX}") if file.name.startswith(_own(path))]
    return found


@dataclass(frozen=True, slots=True)
class Writing:
    """Packed weights on their way to the disk, on a thread of their own."""

    thread: threading.Thread
    stopped: threading.Event

    def finish(self, seconds: float | None = None) -> bool:
        """Wait until they are there; after so many seconds give up, with nothing of them left, and return False."""
        self.thread.join(seconds)
        done = not self.thread.is_alive()
        self.stopped.set()
        self.thread.join()
        return done


def keep(path: Path, files: Checkpoint, entries: Mapping[str, Entry]) -> Writing | None:
    """Write packed weights in the background; None if they are few. A disk that is full or closed goes without."""
    if sum(_bytes(entry) for entry in entries.values()) < LEAST:
        return None
    stopped = threading.Event()
    thread = threading.Thread(target=write, args=(path, files, entries, stopped), name="ownlm-packed", daemon=True)
    thread.start()
    return Writing(thread, stopped)


def write(
    path: Path, files: Checkpoint, entries: Mapping[str, Entry], stop: threading.Event | None = None
) -> Path | None:
    """Write packed weights beside the model or else below ``OWNLM_HOME``, and remove those of earlier files.

    Returns where; None if there is no room for them, or they cannot be written.
    """
    size = sum(_bytes(entry) for entry in entries.values())
    before = stamp(files)
    about = {"model": path.name, "files": before, "fingerprint": files.fingerprint()}
    for place in places(path, files):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(place.parent).free < size + _ROOM:
                continue
            if not packed_file.write(place, about, entries, stop, mode=files.files[0].path.stat().st_mode & 0o777):
                return None
        except OSError:
            continue
        if stamp(files) != before:  # changed while they were written
            discard(place)
            return None
        for old in others(path):
            if old.resolve() != place.resolve():
                discard(old)
        return place
    return None


def _bytes(entry: Entry) -> int:
    if isinstance(entry, np.ndarray):
        return int(entry.nbytes)
    return sum(int(data.nbytes + scales.nbytes) for *_, data, scales in entry)


def _stem(file: Path) -> str:
    """What stands before the key.

    >>> _stem(Path("llama-7b-0123456789abcdef.packed"))
    'llama-7b'
    """
    return file.stem.rpartition("-")[0]


def _hash(value: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
