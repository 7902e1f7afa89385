"""From a model's name to what the engine runs: files found, memory checked, weights packed, a cache made."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ownlm import hub
from ownlm.engine.defaults import folder_defaults, gguf_defaults
from ownlm.engine.loaded import Loaded
from ownlm.engine.model_runner import ModelRunner
from ownlm.errors import CorruptModel, InvalidSetting, NotFound, UnsupportedModel
from ownlm.hub.cache import Reference
from ownlm.model import checkpoint, memory
from ownlm.model import ops as sides
from ownlm.model.decoder_config import DecoderConfig
from ownlm.model.decoder_families import decoder_config
from ownlm.model.footprint import footprint
from ownlm.model.gguf import GgufFile
from ownlm.model.ops.choice import Choice, choose
from ownlm.model.prepared import prepare
from ownlm.tokenizer import ChatTemplate, Tokenizer

if TYPE_CHECKING:
    from ownlm.hub import Progress
    from ownlm.model.checkpoint import Checkpoint

BLOCK_SIZE = memory.BLOCK_SIZE
LEAST_CONTEXT = 2048  # below this a model is of little use: then memory is said to be too small
_SHARE = 0.5  # of the memory that weights leave, for keys and values, where nobody says how much
_SEVERAL = 4  # contexts that the cache has room for by default, so that requests run side by side and prompts stay
_GPU_STEPS = (4096, 1024)  # tokens of a step: fewer leave a GPU idle between launches
_CACHE_TOKENS = 1 << 16  # and no more tokens than this, or one context


def load(
    model: str | Path,
    *,
    context: int | None,
    cache_tokens: int | None,
    ops: str,
    kv_format: str | None = None,
    head: str = "exact",
    packed: bool = True,
    on_progress: Callable[[Progress], None] | None,
) -> Loaded:
    """See ``LLM.__init__``. ``packed``: weights packed before are mapped, others kept for the next time."""
    _check_count("context", context)
    _check_count("cache_tokens", cache_tokens)
    path = _found(model, on_progress)
    files = checkpoint.load(path, verify=False)
    raw = files.config()
    if raw.get("model_type") == "bert":
        raise UnsupportedModel(f"{path} is an encoder, which writes nothing: ownlm.Embedder loads it")
    config = decoder_config(raw, path)
    if ops == "auto" and kv_format in ("int8", "int4"):
        ops = "native"  # which alone has them
    least = min(context or LEAST_CONTEXT, config.max_position_embeddings)
    room = _room(str(model), config, files, ops, kv_format, head, least)
    side = sides.load(room.choice.ops, head=head, kv_format=kv_format)
    tokens, length, notes = room.plan(context, cache_tokens)
    tokenizer = files.load_tokenizer(path)
    if tokenizer.vocab_size > config.vocab_size:
        raise CorruptModel(
            f"{path}: the tokenizer has {tokenizer.vocab_size} ids, more than vocab_size ({config.vocab_size}): "
            "get the model's files again"
        )
    config = decoder_config(raw, path, length)
    made = prepare(side, config, path, files, pack=packed)
    runner = ModelRunner(
        side, config, made.tree, blocks=tokens // BLOCK_SIZE, max_positions=length, prepared=True,
        weights_key=files.identity,
    )  # fmt: skip
    first = files.files[0]
    defaults, remarks = gguf_defaults(first.metadata) if isinstance(first, GgufFile) else folder_defaults(path)
    return Loaded(
        name=_name(model, path),
        runner=runner,
        tokenizer=tokenizer,
        chat_template=_template(path, files, tokenizer),
        defaults=defaults,
        notes=(*room.choice.notes, *notes, *remarks),
        fingerprint=made.fingerprint,
        writing=made.writing,
        steps=_GPU_STEPS if room.choice.ops == "cuda" else (512, 128),
        path=path,
    )


def _found(model: str | Path, on_progress: Callable[[Progress], None] | None) -> Path:
    """Where the model is; a Hub id that is not here is pulled."""
    try:
        return hub.resolve(model)
    except NotFound:
        if isinstance(model, Path) or Reference.parse(model) is None:
            raise
        return hub.pull(model, on_progress=on_progress)


def _name(model: str | Path, path: Path) -> str:
    """What a person would call it: the Hub id, or the folder's or file's own name."""
    given = str(model)
    if Reference.parse(given) is not None and not Path(given).expanduser().exists():
        return given
    return path.resolve().stem if path.suffix == ".gguf" else path.resolve().name


def _template(path: Path, files: Checkpoint, tokenizer: Tokenizer) -> ChatTemplate | None:
    try:
        if files.tokenizer is None:
            return ChatTemplate.load(path, tokenizer)
        return ChatTemplate.from_gguf(files.tokenizer, tokenizer)
    except NotFound:
        return None


@dataclass(frozen=True, slots=True)
class _Room:
    """How much memory is there for keys and values, and how many tokens that is."""

    name: str
    config: DecoderConfig
    weights: int
    reserve: int
    choice: Choice
    kv_format: str

    @property
    def per_token(self) -> int:
        return memory.KVShape.of(self.config).bytes(1, cache_format=self.kv_format, block_size=1)

    def plan(self, context: int | None, cache_tokens: int | None) -> tuple[int, int, list[str]]:
        """(tokens of the cache, tokens of the longest text, remarks). Raises InvalidSetting where that does not fit."""
        own = self.config.max_position_embeddings
        if context is not None and context > own:
            raise InvalidSetting("context", context, f"the model was made for at most {own} tokens")
        if context is not None and cache_tokens is not None and cache_tokens < context:
            raise InvalidSetting("cache_tokens", cache_tokens, f"give at least the context, which is {context}")
        left = self.choice.free - self.weights - self.reserve
        fitting = max(0, int(left * _SHARE)) // self.per_token
        notes = []
        length = context or min(own, cache_tokens or own)
        if context is None and cache_tokens is None and length > fitting:
            length = max(min(own, LEAST_CONTEXT), fitting)
            notes.append(f"context: {length} tokens of the model's {own}, which is what memory leaves room for")
        tokens = cache_tokens or max(length, min(_SEVERAL * length, _CACHE_TOKENS, fitting))
        tokens = -(-tokens // BLOCK_SIZE) * BLOCK_SIZE
        memory.check(
            self.name, self.weights, tokens * self.per_token, tokens, there=self.choice.free, reserve=self.reserve,
            where=self.choice.where,
        )  # fmt: skip
        return tokens, length, notes


def _room(
    name: str, config: DecoderConfig, files: Checkpoint, ops: str, kv_format: str | None, head: str, least: int
) -> _Room:
    """Where the model computes, and what room is there for it. ``least``: tokens that it must have room for."""
    on_gpu = functools.cache(lambda: footprint(config, files.tensors, "cuda"))

    def needed() -> int:
        cache = memory.KVShape.of(config).bytes(least, cache_format=kv_format or memory.CACHE_FORMATS["cuda"])
        return on_gpu().weights + on_gpu().more + memory.GPU_RESERVE + cache

    choice = choose(ops, needed)
    taken = on_gpu() if choice.ops == "cuda" else footprint(config, files.tensors, choice.ops, head)
    reserve = memory.GPU_RESERVE if choice.ops == "cuda" else memory.RESERVE
    kept = kv_format or memory.CACHE_FORMATS[choice.ops]
    return _Room(name, config, taken.weights, reserve + taken.more, choice, kept)


def _check_count(name: str, value: int | None) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise InvalidSetting(name, value, "give a number of tokens, 1 or more")
