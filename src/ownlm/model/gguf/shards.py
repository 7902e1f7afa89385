"""A GGUF model in several files: ``NAME-00001-of-00003.gguf`` and so on, the first with all of the metadata."""

from __future__ import annotations

import re
from pathlib import Path

from ownlm.errors import CorruptModel, InvalidSetting
from ownlm.model.gguf import GgufFile, read
from ownlm.model.safetensors import Tensor

_NAME = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
_MAX_SHARDS = 1000


def read_shards(path: Path, *, verify: bool = True) -> tuple[GgufFile, tuple[GgufFile, ...]]:
    """The model as one file, and the files it is in. CorruptModel if they do not belong together."""
    first = read(path, verify=verify)
    count = first.metadata.get("split.count", 1)
    if count in (0, 1):
        return first, (first,)
    match = _NAME.fullmatch(path.name)
    if type(count) is not int or not 1 < count <= _MAX_SHARDS or match is None or int(match[3]) != count:
        raise CorruptModel(
            f"{path} says that it is one of {count!r} files, which its name does not say: rename it back"
        )
    if int(match[2]) != 1:
        raise InvalidSetting("model", str(path), f"give the first of its files, {match[1]}-00001-of-{match[3]}.gguf")
    files = [first]
    files += [
        read(path.with_name(f"{match[1]}-{part:05}-of-{match[3]}.gguf"), verify=verify) for part in range(2, count + 1)
    ]
    tensors: dict[str, Tensor] = {}
    for part, file in enumerate(files):
        if file.metadata.get("split.no", 0) != part or file.metadata.get("split.count", count) != count:
            raise CorruptModel(f"{file.path} is not part {part + 1} of {count}: get the files again")
        twice = tensors.keys() & file.tensors.keys()
        if twice:
            raise CorruptModel(f"{file.path} holds {sorted(twice)[0]}, which an earlier part holds too")
        tensors |= file.tensors
    stated = first.metadata.get("split.tensors.count", len(tensors))
    if stated != len(tensors):
        raise CorruptModel(f"{path} and its parts hold {len(tensors)} tensors where {stated!r} are stated")
    whole = GgufFile(path, first.version, first.metadata, tensors, first.sha256)
    return whole, tuple(files)
