"""A decoder in training: ``model/decoder.py`` over a tree of modules."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recomputed

from ownlm.errors import InvalidSetting
from ownlm.model import checkpoint
from ownlm.model import decoder as forward
from ownlm.model.block_policy import plain
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.decoder_weights import blank_params, decoder_params
from ownlm.model.params import DecoderLayer, DecoderParams, map_leaves
from ownlm.model.safetensors import Tensor as Stored
from ownlm.train.attention import block_mask
from ownlm.train.batch import TrainBatch
from ownlm.train.modules import Glu, Leaves, Projection, Stack, Table, storable
from ownlm.train.ops import Hidden, TrainOps
from ownlm.train.shape import flops_per_token

BLANK = ("qwen3", "llama", "qwen2", "mistral", "ownlm")
"""Families that a new model can be of."""


class Block(nn.Module):
    """One layer."""

    def __init__(self, ops: TrainOps, config: DecoderConfig, index: int, layer: DecoderLayer) -> None:
        super().__init__()
        self.ops, self.config, self.index, self.layer = ops, config, index, layer
        for field in dataclasses.fields(layer):
            _register(self, field.name, getattr(layer, field.name))

    def forward(self, x: Tensor, batch: TrainBatch) -> Tensor:
        y: Tensor = forward.block(self.ops, self.config, self.index, self.layer, x, batch, {})  # type: ignore[arg-type]
        return y


class Decoder(nn.Module):
    """Any supported decoder. ``raw`` is its config.json; ``recompute`` trades activations' memory for time."""

    recompute = False

    def __init__(
        self, raw: Mapping[str, Any], config: DecoderConfig, params: DecoderParams, stored: Mapping[str, Stored]
    ) -> None:
        super().__init__()
        self.raw, self.config, self.stored = dict(raw), config, dict(stored)
        self.ops = TrainOps()
        self.params: DecoderParams = map_leaves(params, Leaves())
        self.embed_tokens = self.params.embed_tokens
        _register(self, "positions", self.params.positions)
        self.blocks = nn.ModuleList(
            Block(self.ops, config, index, layer) for index, layer in enumerate(self.params.layers)
        )
        self.norm, self.head = self.params.norm, self.params.head

    @classmethod
    def fresh(cls, raw: Mapping[str, Any], seed: int) -> Decoder:
        """A new model of a config.json's shape. Raises InvalidSetting for a family that is only tuned here."""
        if raw.get("model_type") not in BLANK:
            raise InvalidSetting("model_type", raw.get("model_type"), f"new models are of: {', '.join(BLANK)}")
        config = decoder_config(raw, "the recipe's model")
        params, stored = blank_params(config)
        made = cls(raw, config, params, stored)
        made.initialize(seed)
        return made

    @classmethod
    def load(cls, path: Path, *, frozen: bool = False, context: int | None = None) -> Decoder:
        """A checkpoint's model. ``frozen`` keeps weights as they are stored (bfloat16, blocks) and trains none;
        ``context`` is the longest sequence (see ``decoder_config``)."""
        found = checkpoint.load(path)
        raw = found.config()
        stored = {name: _copy(tensor, frozen) for name, tensor in found.tensors.items()}
        config = decoder_config(raw, path, context)
        made = cls(raw, config, decoder_params(config, stored), stored)
        if frozen:
            made.requires_grad_(False)
        return made

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def place(self, device: torch.device) -> Decoder:
        """Move everything there."""
        self.to(device)
        self.ops.device = device
        return self

    def initialize(self, seed: int) -> None:
        """Normal weights of deviation 1 / sqrt(inputs); what adds to the residual stream starts at zero (Goyal et al.
        2017, arXiv:1706.02677), so that a new model begins as its embeddings."""
        source = torch.Generator().manual_seed(seed)
        adds = {id(block.layer.attention_output) for block in self.layers()}
        adds |= {id(block.layer.mlp_out) for block in self.layers()}
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, Stack | Glu | Table):
                    for part in _projections(module):
                        assert part.weight is not None
                        deviation = 0.02 if isinstance(module, Table) else 1 / math.sqrt(part.shape[1])
                        nn.init.normal_(part.weight, std=deviation, generator=source)
                        if id(module) in adds:
                            nn.init.zeros_(part.weight)
            tied = self.params.embed_tokens.projection
            for part in _projections(self.params.head):
                if part is tied:
                    nn.init.normal_(part.value().detach(), std=0.02, generator=source)
        for module in self.modules():
            if hasattr(module, "scale") and isinstance(module.scale, nn.Parameter):
                nn.init.ones_(module.scale)

    def layers(self) -> Iterator[Block]:
        """The blocks, typed."""
        for block in self.blocks:
            assert isinstance(block, Block)
            yield block

    def forward(self, batch: TrainBatch) -> Hidden:
        """What every token's logits are made of."""
        for layer in self.config.layers:
            if layer.rope is not None and id(layer.rope) not in batch.rotations:
                batch.rotations[id(layer.rope)] = self.ops.rotate_by(layer.rope, batch)
        if batch.ids.is_cuda and batch.mask is None:
            batch.mask = block_mask(batch)
        x = forward.embed(self.ops, self.config, self.params, batch)  # type: ignore[arg-type]
        for block in self.blocks:
            x = recomputed(block, x, batch, use_reentrant=False) if self.recompute else block(x, batch)
        hidden: Hidden = forward.unembed(self.ops, self.config, self.params, x, batch)  # type: ignore[arg-type]
        return hidden

    def projections(self) -> dict[str, list[Projection]]:
        """Of each linear layer of the blocks, by its name in the checkpoint, the projections that are its rows."""
        found: dict[str, list[Projection]] = {}
        for module in self.blocks.modules():
            if isinstance(module, Projection) and module.name:
                found.setdefault(module.name, []).append(module)
        return found

    def tensors(self) -> dict[str, Stored]:
        """The weights by their names in the checkpoint, as they are now."""
        for part in storable(self):
            part.store()
        return self.stored

    def count(self) -> int:
        """How many weights there are; a tied head counts once."""
        return sum(int(np.prod(tensor.weights_shape)) for tensor in self.stored.values())

    def flops_per_token(self, length: int) -> float:
        """Operations that training spends on a token of a text of ``length`` tokens: see ``shape.flops_per_token``."""
        return float(flops_per_token(self.config, length))


def _register(owner: nn.Module, name: str, value: Any) -> None:
    if isinstance(value, nn.Module):
        owner.add_module(name, value)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _register(owner, f"{name}_{field.name}", getattr(value, field.name))
    elif isinstance(value, tuple):
        owner.add_module(name, nn.ModuleList(value))


def _projections(module: nn.Module) -> list[Projection]:
    return [part for part in module.modules() if isinstance(part, Projection)]


def _copy(tensor: Stored, frozen: bool) -> Stored:
    """Writable; as it is stored if frozen, and float32 otherwise."""
    if frozen or (not tensor.format and tensor.dtype not in ("F16", "BF16", "F64")):
        return Stored(tensor.name, tensor.dtype, np.array(tensor.array), tensor.format)
    return Stored(tensor.name, "F32", np.array(plain(tensor).float32()))
