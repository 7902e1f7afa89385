"""Files that were dropped on the page: kept under ``$OWNLM_HOME/uploads``, each under a plain name."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ownlm.files import atomic_write
from ownlm.rag.names import document_path
from ownlm.serve.problem import Problem
from ownlm.serve.schema import UploadBody

MAX_NAME_BYTES = 180
_NOT_IN_NAMES = re.compile(r'[<>:"|?*]')
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def safe_name(given: str) -> str:
    """The last part of what a browser calls a file, as a plain name that every system can hold.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\\\mine\\\\Plan?.md"), safe_name(".bashrc"), safe_name("nul.txt")
    ('passwd', 'Plan_.md', 'bashrc', '_nul.txt')

    Raises Problem when nothing is left.
    """
    name = given.replace("\\", "/").rsplit("/", 1)[-1]
    name = unicodedata.normalize("NFC", name)
    # Control, format (such as right-to-left override), surrogate, private and unassigned characters.
    name = "".join(" " if character.isspace() else character for character in name)
    name = "".join(character for character in name if unicodedata.category(character)[0] != "C")
    name = _NOT_IN_NAMES.sub("_", name).strip(" .")
    if not name:
        raise Problem(400, f"name is {given!r}: no file name is left of it", code="invalid_value", param="name")
    if _WINDOWS_DEVICE.match(name):
        name = f"_{name}"
    stem, suffix = _split(name)
    room = MAX_NAME_BYTES - len(suffix.encode())
    return stem.encode()[:room].decode("utf-8", "ignore").rstrip(" .") + suffix


def _split(name: str) -> tuple[str, str]:
    suffix = PurePosixPath(name).suffix
    return (name.removesuffix(suffix), suffix) if 0 < len(suffix.encode()) <= 16 else (name, "")


def decode(content: str, limit: int) -> bytes:
    """The bytes that base64 spells. Raises Problem when it is not base64, empty, or over ``limit`` bytes."""
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Problem(
            400, f"content_base64 is not base64: {error}", code="invalid_value", param="content_base64"
        ) from error
    if not data:
        raise Problem(422, "the file is empty", code="unreadable_document", param="content_base64")
    if len(data) > limit:
        message = f"the file has {len(data)} bytes; at most {limit} are taken"
        raise Problem(413, message, code="file_too_large", param="content_base64")
    return data


class Uploads:
    """A folder of files that the page added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def holds(self, name: str) -> bool:
        """Whether the document of this name is a file in the folder."""
        return document_path(name).parent == self.folder

    def discard(self, name: str) -> None:
        """Delete the file of the document of this name, if it is in the folder."""
        if self.holds(name):
            document_path(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def adding(self, body: UploadBody, limit: int) -> Iterator[Path]:
        """Store the file for the time of the block, and keep it when the block ends well.

        Otherwise what was there before is there again: the old version, or nothing.
        """
        data = decode(body.content_base64, limit)
        path = self._place(safe_name(body.name), data, body.if_exists)
        before = path.read_bytes() if path.exists() else None
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(path, data, before)
        try:
            yield path
        except BaseException:
            if before is None:
                path.unlink(missing_ok=True)
            else:
                self._write(path, before, data)
            raise

    def _write(self, path: Path, data: bytes, before: bytes | None) -> None:
        if data != before:  # an unchanged file keeps its times, so that it is not indexed again
            with atomic_write(path) as file:
                file.write(data)

    def _place(self, name: str, data: bytes, if_exists: str) -> Path:
        path = self.folder / name
        if if_exists == "replace" or not path.exists() or path.read_bytes() == data:
            return path
        if if_exists == "refuse":
            message = f"a file named {name} was added before with other content: replace it, or keep both"
            raise Problem(409, message, code="document_exists", param="name")
        stem, suffix = _split(name)
        number = 2
        while (path := self.folder / f"{stem} ({number}){suffix}").exists() and path.read_bytes() != data:
            number += 1
        return path
