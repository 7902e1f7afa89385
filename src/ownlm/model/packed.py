"""Weights packed once, beside the model: which file holds them, and whether it is of these very model files.

The file's key is a hash of names, sizes, times of change and stated checksums of the model's files, of which no weight
is read: as ``make`` and ``rsync`` do it, since hashing 4 GB takes longer than a first token may. Only files that were
made under this ``OWNLM_HOME`` are used: packed weights are not verified when they are mapped, so one that comes along
with somebody's model must not take the place of the weights that are.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ownlm import native
from ownlm.errors import CorruptModel, InvalidSetting
from ownlm.home import data_home
from ownlm.hub.packed import all_packed, digits, places
from ownlm.model import packed_file
from ownlm.model.checkpoint import Checkpoint
from ownlm.model.packed_file import Entry, PackedFile

LEAST = 32 << 20
"""Bytes of packed weights that are worth a file; fewer are packed in less time than it takes to look for one."""
_ROOM = 1 << 30  # bytes that a disk keeps free
_SEAL = "packed.key"
_SECRET_BYTES = 32


def stamp(files: Checkpoint) -> list[list[Any]]:
    """Name, size, time of change and stated checksum of each of a model's weight files."""
    found = []
    for file in files.files:
        state = file.path.stat()
        found.append([file.path.name, state.st_size, state.st_mtime_ns, file.sha256])
    return found


def find(path: Path, files: Checkpoint) -> PackedFile | None:
    """The packed weights of a model, if they are there, whole and made here; a file that is not is removed."""
    if (secret := _secret()) is None:
        return None
    for place in _places(path, files):
        try:
            found = packed_file.read(place, secret)
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
    secret = _secret()
    if secret is None:
        return None
    size = sum(_bytes(entry) for entry in entries.values())
    before = stamp(files)
    about = {"model": path.name, "files": before}
    for place in _places(path, files):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(place.parent).free < size + _ROOM:
                continue
            mode = files.files[0].path.stat().st_mode & 0o777
            if not packed_file.write(place, about, entries, secret, stop=stop, mode=mode):
                return None
        except OSError:
            continue
        if stamp(files) != before:  # changed while they were written
            discard(place)
            return None
        for old in all_packed(path):
            if old.resolve() != place.resolve():
                discard(old)
        return place
    return None


def _places(path: Path, files: Checkpoint) -> list[Path]:
    return places(path, digits(json.dumps([native.layout(), stamp(files)])))


def _secret() -> bytes | None:
    """What files written here are sealed with, made when it is first needed; None without a home."""
    try:
        path = data_home() / _SEAL
        if not path.exists():
            _make_secret(path)
        found = path.read_bytes()
    except (InvalidSetting, OSError):
        return None
    return found if len(found) == _SECRET_BYTES else None


def _make_secret(path: Path) -> None:
    """Of two processes that make one, one does: a link does not replace what is there."""
    descriptor, name = tempfile.mkstemp(prefix=".packed.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(_SECRET_BYTES))
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        Path(name).unlink()


def _bytes(entry: Entry) -> int:
    if isinstance(entry, np.ndarray):
        return int(entry.nbytes)
    return sum(int(data.nbytes + scales.nbytes) for *_, data, scales in entry)
