"""A decoder's weights as a side of ``ops`` computes with them: mapped if they were packed before, else packed now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ownlm.errors import CorruptModel
from ownlm.model import checkpoint, packed
from ownlm.model.checkpoint import Checkpoint
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.ops.base import Ops
from ownlm.model.ops.native import NativeOps
from ownlm.model.ops.packs import Packs
from ownlm.model.packed_file import PackedFile
from ownlm.model.params import DecoderParams
from ownlm.model.safetensors import Deferred, hollow


@dataclass(frozen=True, slots=True)
class Prepared:
    """``tree``: what ``Ops.prepare`` gave. ``fingerprint`` identifies the weights, and reads files that state no
    checksum. ``writing``: the file of packed weights that is being made, if one is. ``source``: the one that they are
    mapped from, or None."""

    tree: DecoderParams
    fingerprint: Callable[[], str]
    writing: packed.Writing | None = None
    source: Path | None = None


def prepare(side: Ops, config: DecoderConfig, path: Path, files: Checkpoint, *, pack: bool = True) -> Prepared:
    """The weights of the model at ``path``, whose ``files`` are open, unverified.

    Packed weights of the very same files are mapped, and the files' own are not read; else these are verified and
    packed, and with ``pack`` written for the next time. Raises what ``checkpoint.load`` and ``decoder_params`` raise.
    """
    if not isinstance(side, NativeOps):
        return _fresh(side, config, path)
    found = packed.find(path, files) if pack else None
    if found is not None:
        try:
            return _mapped(side, config, files, found)
        except CorruptModel:
            packed.discard(found.path)
    packs = Packs()
    made = _fresh(side, config, path, packs)
    writing = packed.keep(path, files, packs.made) if pack else None
    return Prepared(made.tree, made.fingerprint, writing)


def _fresh(side: Ops, config: DecoderConfig, path: Path, packs: Packs | None = None) -> Prepared:
    files = checkpoint.load(path)
    params = decoder_params(config, files.tensors)
    tree = side.prepare(params, packs) if isinstance(side, NativeOps) else side.prepare(params)
    return Prepared(tree, files.fingerprint)


def _mapped(side: NativeOps, config: DecoderConfig, files: Checkpoint, found: PackedFile) -> Prepared:
    """Tensors that would be made anew of what is stored are not: what they become is in the file."""
    tensors = {name: hollow(t) if isinstance(t, Deferred) else t for name, t in files.tensors.items()}
    packs = Packs(found.entries)
    tree = side.prepare(decoder_params(config, tensors), packs)
    if any(not name.startswith("head") for name in packs.made):
        raise CorruptModel(f"{found.path} lacks weights of its model")
    return Prepared(tree, files.fingerprint, None, found.path)
