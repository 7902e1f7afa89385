"""Pulling a model from the Hugging Face Hub into the cache that ``huggingface_hub`` shares with other tools.

The library's own download begins a file anew when the process that loaded it ended; so weights are loaded here, into
a file beside the blob that the next pull goes on with, compared with the SHA-256 that the Hub records, and handed to
the library as a blob that is already there. A branch points to a commit only when all of its files are here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse

from ownlm.errors import CorruptModel, InvalidSetting, NotFound, OwnLMError
from ownlm.files import atomic_write
from ownlm.hub.cache import Reference, cache_folder, find, repository
from ownlm.hub.local import resolve
from ownlm.hub.select import select

_PARTIAL = ".ownlm-incomplete"
_NETWORK = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}
_CHUNK = 1 << 20
_RESERVE = 64 << 20  # bytes of disk that a pull leaves free


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes that are here of all that are pulled, and the file at hand."""

    file: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    size: int
    sha256: str | None  # None for small files, which the Hub keeps in git


def pull(name: str, *, revision: str | None = None, on_progress: Callable[[Progress], None] | None = None) -> Path:
    """Bring a model, ``ORG/NAME`` with ``@REVISION`` and ``:PART`` of a GGUF's name, into the cache; return its path.

    Files that are here already are not loaded again, a part of one is gone on with. Needs no network if the revision
    is a commit that is here. Raises NotFound (no such model or revision, or the Hub cannot be reached),
    UnsupportedModel (only pickles), InvalidSetting (several GGUF files and none chosen), CorruptModel (bytes that
    are not those the Hub records), OwnLMError (no room on the disk).
    """
    reference = Reference.parse(name)
    if reference is None:
        raise InvalidSetting("model", name, "give a Hub id, such as ORG/NAME, ORG/NAME@REVISION or ORG/NAME:Q4_K_M")
    if revision is not None:
        reference = Reference(reference.id, revision, reference.file)
    if len(reference.revision) == 40 and find(reference) is not None:
        try:
            return resolve(str(reference))
        except OwnLMError:  # another file of the same commit
            pass
    with _clear_errors(reference):
        commit, files = _listing(reference)
        chosen = select(reference.id, {file.name: file.size for file in files.values()}, reference.file)
        _check_room(reference, commit, [files[name] for name in chosen])
        total, done = sum(files[name].size for name in chosen), 0
        for name in chosen:
            at = done

            def report(here: int, name: str = name, at: int = at) -> None:
                if on_progress is not None:
                    on_progress(Progress(name, at + here, total))

            report(0)
            _load(reference.id, commit, files[name], report)
            done += files[name].size
        report(files[chosen[-1]].size)
    if reference.revision != commit:
        with atomic_write(repository(reference.id) / "refs" / reference.revision) as file:
            file.write(commit.encode())
    return resolve(str(reference))


def endpoint() -> str:
    """The Hub's address."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _listing(reference: Reference) -> tuple[str, dict[str, _File]]:
    from huggingface_hub import HfApi

    info = HfApi(endpoint=endpoint()).model_info(reference.id, revision=reference.revision, files_metadata=True)
    files = {}
    for sibling in info.siblings or ():
        lfs = sibling.lfs
        digest = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
        files[sibling.rfilename] = _File(sibling.rfilename, sibling.size or 0, digest)
    if not info.sha:
        raise NotFound(f"{endpoint()} names no commit of {reference.id}: try again later")
    return info.sha, files


def _check_room(reference: Reference, commit: str, files: list[_File]) -> None:
    snapshot = repository(reference.id) / "snapshots" / commit
    missing = sum(file.size for file in files if not (snapshot / file.name).is_file())
    for file in files:
        partial = _partial(reference.id, file)
        missing -= partial.stat().st_size if partial is not None and partial.is_file() else 0
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if missing + _RESERVE > free:
        raise OwnLMError(
            f"{reference} needs {missing / 1e9:.2f} GB more in {cache}, which has {free / 1e9:.2f} GB free: "
            "make room (ownlm list, ownlm rm) or set HF_HUB_CACHE to another disk"
        )


def _partial(id_: str, file: _File) -> Path | None:
    return None if file.sha256 is None else repository(id_) / "blobs" / (file.sha256 + _PARTIAL)


def _load(id_: str, commit: str, file: _File, report: Callable[[int], None]) -> None:
    from huggingface_hub import hf_hub_download

    if (repository(id_) / "snapshots" / commit / file.name).is_file():
        return
    if file.sha256 is not None and not (repository(id_) / "blobs" / file.sha256).is_file():
        _load_blob(id_, commit, file, report)
    with _quiet():
        hf_hub_download(id_, file.name, revision=commit, cache_dir=cache_folder(), endpoint=endpoint())


def _load_blob(id_: str, commit: str, file: _File, report: Callable[[int], None]) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get

    partial = _partial(id_, file)
    assert partial is not None and file.sha256 is not None
    partial.parent.mkdir(parents=True, exist_ok=True)
    url = hf_hub_url(id_, file.name, revision=commit, endpoint=endpoint())
    where = get_hf_file_metadata(url, endpoint=endpoint()).location
    headers = _utils().build_hf_headers()
    if urlparse(where).netloc != urlparse(url).netloc:
        headers.pop("authorization", None)  # the token is for the Hub, not for the store it points to
    partial.touch()
    with partial.open("r+b") as opened, _quiet():
        here = min(opened.seek(0, os.SEEK_END), file.size)
        opened.truncate(here)
        opened.seek(here)
        if here < file.size:
            counted: Any = _Counted(opened, report)
            http_get(where, counted, resume_size=here, headers=headers, expected_size=file.size)
    with partial.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        partial.unlink()
        raise CorruptModel(f"{file.name} of {id_} came with other bytes than the Hub records: pull it again")
    partial.replace(partial.with_name(file.sha256))


class _Counted:
    """A file that tells how far it is written."""

    def __init__(self, file: IO[bytes], report: Callable[[int], None]) -> None:
        self._file, self._report = file, report

    def write(self, data: bytes) -> int:
        """Write, and report the position."""
        written = self._file.write(data)
        self._report(self._file.tell())
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def _quiet() -> Iterator[None]:
    """The library's own progress bars off: ours counts all files."""
    utils = _utils()
    if utils.are_progress_bars_disabled():
        yield
        return
    utils.disable_progress_bars()
    try:
        yield
    finally:
        utils.enable_progress_bars()


def _utils() -> Any:
    return import_module("huggingface_hub.utils")


@contextmanager
def _clear_errors(reference: Reference) -> Iterator[None]:
    """The library's errors as ours, in one line with a remedy."""
    from huggingface_hub import errors

    try:
        yield
    except OwnLMError:
        raise
    except errors.GatedRepoError:
        raise NotFound(
            f"{reference.id} is gated: accept its terms at {endpoint()}/{reference.id} and set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise NotFound(
            f"{endpoint()} has no model {reference.id}, or it is private: check the name, or set HF_TOKEN"
        ) from None
    except errors.RevisionNotFoundError:
        raise NotFound(
            f"{reference.id} has no revision {reference.revision!r}: see {endpoint()}/{reference.id}"
        ) from None
    except Exception as error:
        if isinstance(error, PermissionError) or getattr(error, "errno", None) == 28:
            raise OwnLMError(
                f"{cache_folder()} cannot be written ({error}): set HF_HUB_CACHE to another folder"
            ) from None
        network = type(error).__module__.partition(".")[0] in _NETWORK or isinstance(error, OSError)
        if not network:
            raise
        detail = " ".join(str(error).split())[:160]
        raise NotFound(
            f"{endpoint()} cannot be reached, or broke off ({detail or type(error).__name__}): "
            f"what came so far is kept; run the same command again, or give a model that is here (ownlm list)"
        ) from None
