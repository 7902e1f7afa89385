"""What a pass of indexing has to do: the files under the roots, held against what the store remembers.

No file is opened here. A root that is not there is not a deletion, nor is a folder that cannot be listed, nor an
empty folder on another device than before (a mount point without its disk): their documents stay, with a note.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ownlm.errors import NotFound
from ownlm.rag.names import document_name
from ownlm.rag.store import FileState, Store
from ownlm.rag.store import files as store_files
from ownlm.rag.store.files import Indexed
from ownlm.rag.types import Skipped
from ownlm.rag.walk import Found, Unseen


@dataclass(frozen=True, slots=True)
class Task:
    """A file to read, as the walk saw it; ``known`` is the version that the store had."""

    path: Path
    name: str
    state: FileState
    known: Indexed | None


@dataclass(slots=True)
class Plan:
    """Tasks to do, documents to remove, and all that a report says without doing anything."""

    tasks: list[Task] = field(default_factory=list)
    unchanged: int = 0
    removals: dict[str, Indexed] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    devices: dict[str, int] = field(default_factory=dict)
    """Of roots that are new, or on another device than before."""
    names: list[str] = field(default_factory=list)


def plan(
    store: Store,
    roots: Sequence[Path],
    walk: Callable[[Iterable[Path]], Iterable[Found | Skipped]],
    recipe: str,
    version: str,
    cancelled: Callable[[], bool],
) -> Plan:
    """Walk the roots. Raises NotFound for a root that is neither there nor known to the store."""
    with store.reading() as connection:
        known = store_files.indexed(connection)
        refused = store_files.refused(connection)
        devices = store_files.roots(connection)
    made = Plan(names=[root_name(root) for root in roots])
    there = [root for root, name in zip(roots, made.names, strict=True) if _is_there(root, name, known, devices, made)]
    seen: set[str] = set()
    for found in walk(there):
        if cancelled():
            return made
        if isinstance(found, Skipped):
            made.skipped.append(found)
            continue
        if found.name in seen:
            continue
        seen.add(found.name)
        state, row, no = (
            FileState(found.size, found.mtime_ns, found.inode),
            known.get(found.name),
            refused.get(found.name),
        )
        if row is not None and row.state == state and row.recipe == recipe:
            made.unchanged += 1
        elif no is not None and no.state == state and no.version == version:
            made.skipped.append(Skipped(found.name, no.reason))
        else:
            made.tasks.append(Task(found.path, found.name, state, row))
    unseen = [skip.name for skip in made.skipped if isinstance(skip, Unseen)]
    walked = [root_name(root) for root in there]
    made.removals = {
        name: row
        for name, row in known.items()
        if name not in seen and _under(name, walked) and not _under(name, unseen)
    }
    made.forgotten = [
        name for name in refused if name not in seen and _under(name, walked) and not _under(name, unseen)
    ]
    return made


def root_name(root: Path) -> str:
    """The name of a root, as the names of the documents under it begin: links on the way to it are followed."""
    return document_name(os.path.realpath(root))


def _is_there(root: Path, name: str, known: dict[str, Indexed], devices: dict[str, int], made: Plan) -> bool:
    """Whether a root can be walked; else its documents stay, and a note says so."""
    held = sum(store_files.is_under(document, name) for document in known)
    try:
        status = root.stat()
        empty = root.is_dir() and not any(root.iterdir())
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        if isinstance(error, FileNotFoundError) and not held and name not in devices:
            raise NotFound(f"there is no file or folder {name}: check the path") from None
        made.notes.append(f"{name}: {reason}; its {held} indexed documents stay in the index")
        return False
    if empty and held and devices.get(name, status.st_dev) != status.st_dev:
        made.notes.append(f"{name} is empty and on another disk than before; its {held} indexed documents stay")
        return False
    if devices.get(name) != status.st_dev:
        made.devices[name] = status.st_dev
    return True


def _under(name: str, roots: Iterable[str]) -> bool:
    return any(store_files.is_under(name, root) for root in roots)
