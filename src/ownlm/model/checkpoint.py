"""The tensors of a model folder by name: one ``model.safetensors``, or shards listed by an index.

Layout of the Hugging Face Hub: ``model.safetensors``, or ``model.safetensors.index.json`` whose ``weight_map``
says which ``model-0000i-of-0000n.safetensors`` holds each tensor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ownlm.errors import CorruptModel, NotFound
from ownlm.model.safetensors import Tensor, TensorFile, read

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every tensor of a model folder, mapped, by the checkpoint's own name."""

    folder: Path
    files: tuple[TensorFile, ...]
    tensors: Mapping[str, Tensor]

    def fingerprint(self) -> str:
        """Hex SHA-256 that identifies the bytes of all files (read again only if they carry no checksum)."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.path.name}\0{file.sha256 or _file_sha256(file.path)}\n".encode())
        return digest.hexdigest()


def load(folder: Path, *, verify: bool = True) -> Checkpoint:
    """Map the weights in ``folder``; with ``verify``, checksums that files carry are compared.

    Raises NotFound if there are no weights, CorruptModel if a file or the index is damaged or inconsistent.
    """
    if (folder / SINGLE).is_file():
        file = read(folder / SINGLE, verify=verify)
        return Checkpoint(folder, (file,), file.tensors)
    if not (folder / INDEX).is_file():
        raise NotFound(
            f"{folder} has no {SINGLE}: give a model folder in the Hugging Face layout with safetensors weights"
        )
    where = _weight_map(folder / INDEX)
    files = {name: read(folder / name, verify=verify) for name in sorted(set(where.values()))}
    held = [name for file in files.values() for name in file.tensors]
    wrong = sorted(set(where).symmetric_difference(held) | {n for n, f in where.items() if n not in files[f].tensors})
    if wrong or len(held) != len(where):
        about = wrong[0] if wrong else "a tensor that two of them hold"
        raise CorruptModel(f"{folder / INDEX} and the shards disagree about {about}: get the files again")
    return Checkpoint(folder, tuple(files.values()), {name: files[file].tensors[name] for name, file in where.items()})


def _weight_map(path: Path) -> dict[str, str]:
    try:
        where = json.loads(path.read_bytes())["weight_map"]
        if not where or not all(isinstance(file, str) for file in where.values()):
            raise ValueError("weight_map is not a table of names")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptModel(f"{path} is damaged ({error}): get the file again") from None
    for file in where.values():
        if Path(file).name != file or "\\" in file or not file.endswith(".safetensors"):
            raise CorruptModel(f"{path} names {file!r}, which is no safetensors file of its own folder")
    return dict(where)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
