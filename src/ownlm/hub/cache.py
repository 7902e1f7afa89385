"""The cache that ``huggingface_hub`` keeps and that other tools share: found here without importing the library.

CACHE/models--ORG--NAME/refs/main                 the commit that the branch was at
                       /snapshots/COMMIT/FILE     links to
                       /blobs/ETAG                the files' bytes
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

# What the Hub admits; a name never begins with a dot, so that none leads out of the cache.
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}"
_REFERENCE = re.compile(rf"(?P<id>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9_][\w./\-]{{0,127}}))?(?::(?P<file>.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FOLDER = "models--"
MAIN = "main"


@dataclass(frozen=True, slots=True)
class Reference:
    """A model on the Hub: its id, a revision, and a part of a GGUF file's name.

    >>> Reference.parse("org/name@v1:Q4_K_M")
    Reference(id='org/name', revision='v1', file='Q4_K_M')
    """

    id: str
    revision: str = MAIN
    file: str | None = None

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """The reference that a text is, or None."""
        match = _REFERENCE.fullmatch(text)
        if match is None or ".." in match["id"] or "--" in match["id"] or ".." in (match["revision"] or ""):
            return None
        return cls(match["id"], match["revision"] or MAIN, match["file"])

    def __str__(self) -> str:
        revision = "" if self.revision == MAIN else f"@{self.revision}"
        return self.id + revision + (f":{self.file}" if self.file else "")


@dataclass(frozen=True, slots=True)
class Cached:
    """A model in the cache: all of it (``folder``) and the files of one commit (``snapshot``)."""

    id: str
    commit: str
    folder: Path
    snapshot: Path


def cache_folder() -> Path:
    """Where the Hub's cache is, by the same variables as ``huggingface_hub``."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def repository(id_: str) -> Path:
    """The folder of a model in the cache, whether or not it is there."""
    return cache_folder() / (_FOLDER + id_.replace("/", "--"))


def find(reference: Reference) -> Cached | None:
    """The commit of a revision (a branch, a tag, or a commit itself) if its files are here and whole."""
    folder = repository(reference.id)
    commit = _commit(folder, reference.revision)
    if commit is None:
        return None
    snapshot = folder / "snapshots" / commit
    whole = snapshot.is_dir() and not missing_shards(snapshot)
    return Cached(reference.id, commit, folder, snapshot) if whole else None


def cached() -> list[Cached]:
    """Every model in the cache: the commit of its main branch or, without one, each that is there."""
    found = []
    for folder in sorted(cache_folder().glob(f"{_FOLDER}*--*")):
        id_ = folder.name.removeprefix(_FOLDER).replace("--", "/", 1)
        main = find(Reference(id_))
        if main is not None:
            found.append(main)
            continue
        for snapshot in sorted((folder / "snapshots").glob("*")):
            if snapshot.is_dir() and not missing_shards(snapshot):
                found.append(Cached(id_, snapshot.name, folder, snapshot))
    return found


def missing_shards(snapshot: Path) -> list[str]:
    """Weights that an index names and that are not here: a pull was interrupted."""
    index = snapshot / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [index.name]
    return sorted(str(name) for name in names if not (snapshot / str(name)).is_file())


def _commit(folder: Path, revision: str) -> str | None:
    if _COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (folder / "refs" / revision).read_text("utf-8", errors="replace").strip()
    except OSError:
        return None
    return commit if _COMMIT.fullmatch(commit) else None
