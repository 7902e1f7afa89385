"""One of the two models that the gate compares: its words, its settings, its weights, and what it computes."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ownlm import native
from ownlm.engine.defaults import folder_defaults, gguf_defaults
from ownlm.errors import InvalidSetting, ModelError, NotFound, OwnLMError
from ownlm.model import checkpoint
from ownlm.model.agreement import Read
from ownlm.model.checkpoint import Checkpoint
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import decoder_params
from ownlm.model.gguf import GgufFile
from ownlm.model.opened import WINDOW, check_memory, open_to_read
from ownlm.model.params import DecoderParams
from ownlm.model.safetensors import Tensor
from ownlm.tokenizer import ChatTemplate, Tokenizer
from ownlm.tokenizer.special import read_json


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A model that is in memory: the trainer's, adapters and all.

    ``folder`` has the tokenizer's files, the chat template and generation_config.json that it was trained with;
    ``config`` is what its config.json says; ``logits`` gives float32 [T, V] for int32 ids [T] of one text, and
    ``tensors`` the weights that it computes with (adapters added), by the names of the checkpoint.
    """

    folder: Path
    config: Mapping[str, Any]
    logits: Read
    tensors: Callable[[], Mapping[str, Tensor]]
    name: str = "the trainer's model"
    ops: str = "trainer"


@dataclass(kw_only=True)
class Side:
    """See the module; ``path`` is a model folder or GGUF file, or where a trainer's model has its tokenizer."""

    path: Path
    name: str
    ops: str
    raw: Mapping[str, Any]
    tensors: Callable[[], Mapping[str, Tensor]]
    read: Callable[[], Read]
    found: Checkpoint | None = None

    @cached_property
    def config(self) -> DecoderConfig:
        """As the forward asks it."""
        return decoder_config(self.raw, self.name, WINDOW)

    @cached_property
    def params(self) -> DecoderParams:
        """The stored weights. CorruptModel if they contradict the config."""
        return decoder_params(self.config, self.tensors())

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """None for a model that has none."""
        try:
            return Tokenizer.load(self.path) if self.found is None else self.found.load_tokenizer(self.path)
        except NotFound:
            return None

    @cached_property
    def template(self) -> ChatTemplate | None:
        """None for a model that has none."""
        if self.tokenizer is None:
            return None
        try:
            if self.found is None or self.found.tokenizer is None:
                return ChatTemplate.load(self.path, self.tokenizer)
            return ChatTemplate.from_gguf(self.found.tokenizer, self.tokenizer)
        except NotFound:
            return None

    @property
    def blocks(self) -> bool:
        """Whether weights are quantized."""
        return any(tensor.format for tensor in self.tensors().values())

    @cached_property
    def vector_format(self) -> str:
        """The coarsest type that vectors are kept in; the tree of parameters has them as float32."""
        found = {tensor.dtype.lower() for tensor in self.tensors().values() if len(tensor.shape) == 1}
        return next((name for name in ("bf16", "f16") if name in found), "f32")

    @property
    def is_gguf(self) -> bool:
        return self.found is not None and self.found.tokenizer is not None

    @property
    def generation(self) -> dict[str, Any]:
        """What generation_config.json says, but for who wrote it; of a GGUF file what serving takes from it."""
        if self.is_gguf:
            return self.sampling
        stated = read_json(self.path / "generation_config.json")
        return {
            name: value for name, value in stated.items() if name not in ("transformers_version", "_from_model_config")
        }

    @property
    def sampling(self) -> dict[str, Any]:
        """The settings of sampling that serving takes from the model's files."""
        first = self.found.files[0] if self.found is not None else None
        return (gguf_defaults(first.metadata) if isinstance(first, GgufFile) else folder_defaults(self.path))[0]


def trained(model: Trained) -> Side:
    """The side of a trainer's model."""
    return Side(
        path=model.folder, name=model.name, ops=model.ops, raw=model.config, tensors=cache(model.tensors),
        read=lambda: model.logits,
    )  # fmt: skip


def stored(path: Path, ops: str) -> Side:
    """The side of a model's files. Raises what ``checkpoint.load`` raises, checksums included."""
    found = checkpoint.load(path)

    def read() -> Read:
        return open_to_read(path, found, ops).read

    return Side(
        path=path, name=path.name, ops=ops, raw=found.config(), tensors=lambda: found.tensors, read=read, found=found
    )


def serving_ops() -> str:
    """The arithmetic for a candidate: native, or torch where the package runs from its source, without kernels."""
    try:
        native.isas()
    except OwnLMError:
        return "torch"
    return "native"


def reference_ops(reference: Path, candidate: Path) -> str:
    """The arithmetic for a reference: torch in float32, or native where torch is not there or has no room."""
    if importlib.util.find_spec("torch") is None:
        return "native"
    models = [(reference, checkpoint.load(reference, verify=False), "torch")]
    with contextlib.suppress(ModelError, NotFound):  # of which the gate will speak
        models.append((candidate, checkpoint.load(candidate, verify=False), serving_ops()))
    try:
        check_memory(models)
    except InvalidSetting:
        return "native"
    except ModelError:
        check_memory(models[:1])
    return "torch"
