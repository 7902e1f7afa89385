"""The tensors of a model by name: ``model.safetensors``, shards listed by an index, or one GGUF file.

Layout of the Hugging Face Hub: ``model.safetensors``, or ``model.safetensors.index.json`` whose ``weight_map``
says which ``model-0000i-of-0000n.safetensors`` holds each tensor. A GGUF file (or its shards) gives the same names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.errors import CorruptModel, NotFound
from ownlm.files import atomic_write
from ownlm.formats import FORMATS
from ownlm.model.config import read_json
from ownlm.model.gguf import GgufFile
from ownlm.model.gguf import config as gguf_config
from ownlm.model.gguf import tensors as gguf_tensors
from ownlm.model.gguf.shards import read_shards
from ownlm.model.safetensors import Tensor, TensorFile, read
from ownlm.model.safetensors import write as write_file
from ownlm.tokenizer import Tokenizer

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
_HEAD = 1 << 20


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every tensor of a model, mapped, by the Hugging Face layout's name; ``folder`` holds the other files."""

    folder: Path
    files: tuple[TensorFile | GgufFile, ...]
    tensors: Mapping[str, Tensor]
    gguf_config: Mapping[str, Any] | None = None
    tokenizer: Mapping[str, Any] | None = None
    """The ``tokenizer.*`` keys of a GGUF file; None for a folder, which has its own tokenizer files."""

    def config(self) -> dict[str, Any]:
        """What ``config.json`` says, or what a GGUF file's metadata amounts to."""
        return read_json(self.folder / "config.json") if self.gguf_config is None else dict(self.gguf_config)

    def load_tokenizer(self, path: Path) -> Tokenizer:
        """The tokenizer of the model at ``path``: of its folder's files, or of the vocabulary in the GGUF file."""
        return Tokenizer.load(path) if self.tokenizer is None else Tokenizer.from_gguf(self.tokenizer)

    def fingerprint(self) -> str:
        """Hex SHA-256 that identifies the bytes of all files (read again only if they carry no checksum)."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.path.name}\0{file.sha256 or _file_sha256(file.path)}\n".encode())
        return digest.hexdigest()

    def identity(self) -> str:
        """Hex SHA-256 that tells these files from any others without reading them whole: of each the checksum that it
        carries, else its name, size, time of last change and first MiB, where names and shapes of tensors stand."""
        digest = hashlib.sha256()
        for file in self.files:
            if file.sha256:
                digest.update(f"{file.sha256}\n".encode())
                continue
            stat = file.path.stat()
            digest.update(f"{file.path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
            with file.path.open("rb") as opened:
                digest.update(opened.read(_HEAD))
        return digest.hexdigest()


def is_gguf(path: Path) -> bool:
    """Whether a model's path is that of a GGUF file."""
    return path.suffix == ".gguf" and path.is_file()


def raw_config(path: Path) -> dict[str, Any]:
    """The config of a model folder or GGUF file, before any weights are looked at."""
    return gguf_config.config(read_shards(path, verify=False)[0]) if is_gguf(path) else read_json(path / "config.json")


def load(path: Path, *, verify: bool = True) -> Checkpoint:
    """Map the weights of a model folder or GGUF file; with ``verify``, checksums that files carry are compared.

    Raises NotFound if there are no weights, CorruptModel if a file or the index is damaged or inconsistent,
    UnsupportedModel for a GGUF file of a family or of tensor types that are not read here.
    """
    return _load_gguf(path, verify) if is_gguf(path) else _load_folder(path, verify)


def _load_gguf(path: Path, verify: bool) -> Checkpoint:
    whole, files = read_shards(path, verify=verify)
    config = gguf_config.config(whole)
    tensors = gguf_tensors.tensors(whole, gguf_config.architecture(whole), config)
    tokenizer = {key: value for key, value in whole.metadata.items() if key.startswith("tokenizer.")}
    return Checkpoint(path.parent, files, tensors, config, tokenizer)


def _load_folder(folder: Path, verify: bool) -> Checkpoint:
    if (folder / SINGLE).is_file():
        file = read(folder / SINGLE, verify=verify)
        return Checkpoint(folder, (file,), _with_formats(folder, file.tensors))
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
    tensors = {name: files[file].tensors[name] for name, file in where.items()}
    return Checkpoint(folder, tuple(files.values()), _with_formats(folder, tensors))


def write(
    folder: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> list[str]:
    """Write safetensors, as they are stored, into a folder; return the files' names.

    One file, or shards of ``shard_bytes`` at most (a larger tensor has one to itself) and their index, which is
    written last: until then a reader sees what was there before.
    """
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        if shards[-1] and size + tensor.array.nbytes > shard_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.array.nbytes
    count = len(shards)
    names = [SINGLE] if count == 1 else [f"model-{part:05}-of-{count:05}.safetensors" for part in range(1, count + 1)]
    for file, shard in zip(names, shards, strict=True):
        write_file(folder / file, {name: (tensor.dtype, tensor.array) for name, tensor in shard.items()}, metadata)
    if count == 1:
        (folder / INDEX).unlink(missing_ok=True)
        return names
    where = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
    total = sum(tensor.array.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    with atomic_write(folder / INDEX) as opened:
        opened.write(json.dumps(index, indent=2).encode())
    (folder / SINGLE).unlink(missing_ok=True)  # which would be read instead
    return names


def _with_formats(folder: Path, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Name the blocks in U8 tensors: ``quantization_config.format``, or what its ``tensors`` says of one by name."""
    if not (folder / "config.json").is_file():
        return tensors
    stated = read_json(folder / "config.json").get("quantization_config")
    if not isinstance(stated, dict) or stated.get("quant_method") != "ownlm":
        return tensors
    usual, single = stated.get("format"), stated.get("tensors") or {}
    if not isinstance(single, dict):
        raise CorruptModel(f"{folder / 'config.json'}: quantization_config.tensors is {single!r}, not an object")
    found = dict(tensors)
    for name, tensor in tensors.items():
        form = FORMATS.get(str(single.get(name, usual)))
        if tensor.dtype != "U8" or form is None:
            continue
        if not tensor.shape or tensor.shape[-1] % form.bytes:
            raise CorruptModel(f"tensor {name} has shape {tensor.shape}, no whole number of {form.name} blocks")
        found[name] = Tensor(name, tensor.dtype, tensor.array, form.name)
    return found


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
