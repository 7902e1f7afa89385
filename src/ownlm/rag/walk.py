"""Finding documents under folders: what is read, what is not, and why not.

Rules in the order in which they are asked, the last that matches decides, as in gitignore(5): the defaults below,
then ``.gitignore`` and ``.ownlmignore`` of each folder from the root down. ``!pattern`` takes a file back in. A root
that names a file is read whatever the rules say: it was asked for by name.

Links are not followed below a root: what a link leads to is read in its own place, or lies outside what was asked
for. Pipes, sockets and devices are never opened. Order is by name, as bytes, so that runs repeat.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ownlm.errors import NotFound
from ownlm.rag.ignore import DEFAULTS, Rules, Specs, default_spec, reason_to_ignore, small_text, spec
from ownlm.rag.names import document_name, document_path
from ownlm.rag.readers.limits import size_in_words
from ownlm.rag.types import Skipped

__all__ = ["DEFAULTS", "Found", "Rules", "Skipped", "Unseen", "document_name", "document_path", "walk"]


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read. ``name`` is the document's name; times and identity are as ``lstat`` gave them."""

    path: Path
    name: str
    size: int
    mtime_ns: int
    inode: int
    device: int


@dataclass(frozen=True, slots=True)
class Unseen(Skipped):
    """A folder or file that could not be looked at: what was indexed of it or under it is not to be removed."""


def walk(
    roots: Iterable[str | os.PathLike[str]], rules: Rules | None = None, *, missing_ok: bool = False
) -> Iterator[Found | Skipped]:
    """Every file under ``roots`` (files or folders), each once, or why it is left out.

    A root that is not there raises NotFound, before anything is found; with ``missing_ok`` it is ``Unseen``: a
    missing folder is not a deletion (a drive may be unplugged).
    """
    rules = rules or Rules()
    paths = [Path(os.path.abspath(root)) for root in roots]  # noqa: PTH100 (resolve would follow links in names)
    if not missing_ok:
        for path in paths:
            if not os.path.lexists(path):
                raise NotFound(f"{document_name(path)} does not exist: name a file or a folder that is there")
    return _Walk(rules).run(paths)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder on the way down."""

    path: str
    specs: Specs


class _Walk:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.seen: set[str] = set()

    def run(self, roots: list[Path]) -> Iterator[Found | Skipped]:
        for root in roots:
            try:
                status = root.stat()
            except OSError as error:
                yield Unseen(document_name(root), _why(error))
                continue
            if stat.S_ISDIR(status.st_mode):
                # A root may be reached through a link; below it none is followed.
                path = os.path.realpath(root)
                yield from self._folder(path, (default_spec(path, self.rules),))
            else:
                yield from self._file(os.path.realpath(root), status)

    def _folder(self, top: str, specs: Specs) -> Iterator[Found | Skipped]:
        stack = [_Folder(top, specs)]
        while stack:
            folder = stack.pop()
            if folder.path in self.seen:
                continue
            self.seen.add(folder.path)
            try:
                with os.scandir(folder.path) as entries:
                    found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                yield Unseen(document_name(folder.path), _why(error))
                continue
            current, problems = self._with_ignore_files(folder, {entry.name for entry in found})
            yield from problems
            below: list[_Folder] = []
            for entry in found:
                yield from self._entry(entry, current, top, below)
            stack.extend(reversed(below))

    def _entry(
        self, entry: os.DirEntry[str], folder: _Folder, top: str, below: list[_Folder]
    ) -> Iterator[Found | Skipped]:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError as error:
            yield Unseen(document_name(entry.path), _why(error))
            return
        is_folder = stat.S_ISDIR(status.st_mode)
        reason = reason_to_ignore(entry.path, is_folder, folder.specs)
        if reason:
            yield Skipped(document_name(entry.path), reason)
        elif stat.S_ISLNK(status.st_mode):
            yield Skipped(document_name(entry.path), _link(entry.path, top))
        elif is_folder and _is_mount_point_of_kernel(entry.path):
            yield Skipped(document_name(entry.path), "a folder of the system's")
        elif is_folder:
            below.append(_Folder(entry.path, folder.specs))
        else:
            yield from self._file(entry.path, status)

    def _file(self, path: str, status: os.stat_result) -> Iterator[Found | Skipped]:
        if path in self.seen:
            return
        self.seen.add(path)
        name = document_name(path)
        if not stat.S_ISREG(status.st_mode):
            yield Skipped(name, f"{_kind(status.st_mode)}, not a file")
        elif status.st_size > self.rules.max_bytes:
            limit = size_in_words(self.rules.max_bytes)
            yield Skipped(name, f"has {size_in_words(status.st_size)}, more than the limit of {limit}")
        else:
            yield Found(Path(path), name, status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev)

    def _with_ignore_files(self, folder: _Folder, names: set[str]) -> tuple[_Folder, list[Skipped]]:
        """The folder with the patterns that its own ignore files add."""
        specs = list(folder.specs)
        problems: list[Skipped] = []
        for file in self.rules.ignore_files:
            if file not in names:
                continue
            path = os.path.join(folder.path, file)  # noqa: PTH118 (names that are not UTF-8, and speed)
            try:
                lines = small_text(path).splitlines()
                specs.append((folder.path, spec(lines), (f"left out by {file}",) * len(lines)))
            except (OSError, ValueError) as error:
                why = _why(error) if isinstance(error, OSError) else str(error)
                problems.append(Skipped(document_name(path), f"its rules were not used: {why}"))
        return _Folder(folder.path, tuple(specs)), problems


def _link(path: str, top: str) -> str:
    """What a symbolic link leads to, as a reason not to follow it."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        if not os.path.lexists(path):
            return "is gone"
        return "a link that leads to itself" if error.errno == errno.ELOOP else "a link that leads nowhere"
    if Path(path).is_relative_to(target):
        return "a link to a folder above it"
    if Path(target).is_relative_to(top):
        return "a link to what is read in its own place"
    return f"a link out of the folder, to {document_name(target)}: name that to have it read"


def _kind(mode: int) -> str:
    for test, words in (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISLNK, "a link"),
    ):
        if test(mode):
            return words
    return "something else"


def _is_mount_point_of_kernel(path: str) -> bool:
    """/proc, /sys and /dev hold no documents, and reading them can hang."""
    return sys.platform == "linux" and path in ("/proc", "/sys", "/dev")


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "is not there"
    return f"cannot be looked at: {(error.strerror or type(error).__name__).lower()}"
