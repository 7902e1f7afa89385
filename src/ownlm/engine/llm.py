"""A language model: text in, text out.

    >>> with LLM("Qwen/Qwen2.5-0.5B-Instruct") as llm:                         # doctest: +SKIP
    ...     print(llm.chat([{"role": "user", "content": "Name a colour."}]))
    ...     for piece in llm.stream("Once upon a time", max_tokens=40):
    ...         print(piece.text, end="")

Everything may be called from several threads; requests share the engine's steps.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

from ownlm.engine.block_table import Owner
from ownlm.engine.draft_loading import load_draft
from ownlm.engine.engine import Engine
from ownlm.engine.generation import Generation, Output
from ownlm.engine.grammar import CompiledGrammar, Grammar
from ownlm.engine.grammar_cache import GrammarCache
from ownlm.engine.kv_open import OpenStore, open_store
from ownlm.engine.loaded import Loaded
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.speculate import check_speculate, speculator
from ownlm.engine.stats import EngineStats
from ownlm.errors import InvalidSetting, NotFound
from ownlm.tokenizer import Message
from ownlm.tokenizer.chat import Rendered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ownlm.engine.embedder import Embedder
    from ownlm.hub import Progress

Prompt = str | Sequence[int]
Messages = Sequence[Message | Mapping[str, Any]]
_WRITING = 60.0  # seconds that closing waits for packed weights
_TOGETHER = 256  # prompts of one call that are with the engine at a time


class LLM:
    """A model with its tokenizer, chat template, cache and engine.

    ``name``, ``path`` (its folder or GGUF file), ``context`` (tokens that prompt and answer may have together),
    ``defaults`` (sampling that the model's files ask for) and ``notes`` (what a user should know) describe it;
    ``chat_template`` is None where it has none.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        context: int | None = None,
        cache_tokens: int | None = None,
        ops: str = "auto",
        max_running: int = 64,
        max_waiting: int = 1024,
        kv_format: str | None = None,
        speculate: str = "lookup",
        draft: str | Path | None = None,
        store: bool | str | os.PathLike[str] | None = None,
        store_limit: int | None = None,
        head: str = "rescored",
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Load a folder, a GGUF file, a name that ``ownlm list`` shows, or a Hub id, which is pulled if it is not here.

        ``context``: None is the model's own, or what memory leaves. ``cache_tokens``: keys and values are kept for so
        many tokens, of all requests and of prompts that may come again. ``ops``: what computes; "auto" is a GPU
        that has room for the model ("cuda"), else the CPU ("native"); "torch" is exact and slow.
        ``max_running`` requests share a step, ``max_waiting`` more may wait. ``kv_format``: what keys and values are
        kept as; "bf16" (None, where the side has it), "int8" or "int4", which take a half and a quarter of its bytes
        and are read that much sooner behind a long text, or "f32". ``speculate``: "lookup" computes tokens
        ahead that the text so far suggests, "off" does not; answers are the same, quotations come faster.
        ``draft``: a small model of the same vocabulary that guesses where the text does not.
        ``store``: a folder where keys and values of prompts outlive the process, so that the next one that begins alike
        computes only the rest; True is ``kv`` in OWNLM_HOME, as the commands have it. It is not the default here: who
        calls a library decides what of their texts is written to disk. ``store_limit``: bytes that the folder may
        take, by default 4 GB or a tenth of the disk's free space.
        ``head``: "rescored" reads a large head of 8 bits or more by a 4-bit copy and computes the logits that lead
        again with the head's own rows, "exact" reads it whole; it is exact where log probabilities are
        asked for, or a grammar, bias or penalty may forbid the tokens that lead.

        Raises NotFound, CorruptModel, UnsupportedModel, or InvalidSetting if it does not fit into memory, with the
        numbers, before any weights are read.
        """
        from ownlm.engine.loading import load

        for name, value, least in (("max_running", max_running, 1), ("max_waiting", max_waiting, 0)):
            if type(value) is not int or value < least:
                raise InvalidSetting(name, value, f"give a number of requests, {least} or more")
        check_speculate(speculate)
        loaded = load(
            model, context=context, cache_tokens=cache_tokens, kv_format=kv_format, head=head, ops=ops,
            on_progress=on_progress,
        )  # fmt: skip
        drafting = None if draft is None else load_draft(draft, loaded, ops=ops, on_progress=on_progress)
        kept = open_store(loaded.runner, store, store_limit)
        self._begin(loaded, max_running, max_waiting, speculate, drafting, kept)

    @classmethod
    def of(
        cls,
        loaded: Loaded,
        *,
        max_running: int = 64,
        max_waiting: int = 1024,
        speculate: str = "lookup",
        draft: Loaded | None = None,
        store: bool | str | os.PathLike[str] | None = None,
        store_limit: int | None = None,
    ) -> Self:
        """One of parts at hand, such as a fake runner."""
        found = cls.__new__(cls)
        kept = open_store(loaded.runner, store, store_limit)
        found._begin(loaded, max_running, max_waiting, speculate, draft, kept)
        return found

    def _begin(
        self,
        loaded: Loaded,
        max_running: int,
        max_waiting: int,
        speculate: str,
        draft: Loaded | None,
        store: OpenStore,
    ) -> None:
        self.name, self.path = loaded.name, loaded.path
        self._fingerprint, self._writing = loaded.fingerprint, loaded.writing
        self.tokenizer, self.chat_template = loaded.tokenizer, loaded.chat_template
        self.defaults, self.notes = loaded.defaults, (*loaded.notes, *store.notes)
        self.vocab_size = loaded.runner.vocab_size
        self.engine = Engine(
            loaded.runner,
            eos_ids=loaded.tokenizer.eos_ids,
            max_running=max_running,
            max_waiting=max_waiting,
            step_tokens=loaded.steps[0],
            step_tokens_shared=loaded.steps[1],
            speculator=speculator(speculate, None if draft is None else draft.runner, self.vocab_size),
            store=store.store,
        )
        self.context = self.engine.context
        self._lock = threading.Lock()
        self._grammars = GrammarCache(self.tokenizer, self.vocab_size, self.engine.eos_ids)
        self._embedder: Embedder | None = None

    def chat(self, messages: Messages, tools: Sequence[Mapping[str, Any]] | None = None, **settings: Any) -> Output:
        """The assistant's next message. ``settings`` are those of ``SamplingParams``, and ``template_options``.

        Raises TemplateError or NotFound from the chat template, and what ``start`` raises.
        """
        return self.stream_chat(messages, tools, **settings).output()

    def stream_chat(
        self, messages: Messages, tools: Sequence[Mapping[str, Any]] | None = None, **settings: Any
    ) -> Generation:
        """``chat``, piece by piece."""
        options = settings.pop("template_options", {})
        return self._one(self.render(messages, tools, **options).ids, settings)

    @overload
    def generate(self, prompt: str, **settings: Any) -> Output: ...
    @overload
    def generate(self, prompt: Sequence[str] | Sequence[Sequence[int]], **settings: Any) -> list[Output]: ...
    def generate(self, prompt: Any, **settings: Any) -> Output | list[Output]:
        """What follows a prompt, a text or the ids of one; for a list of prompts, a list, computed together."""
        if isinstance(prompt, str) or _is_ids(prompt):
            return self.stream(prompt, **settings).output()
        if not isinstance(prompt, Sequence):
            raise InvalidSetting("prompt", prompt, "give a text, the ids of one, or a list of these")
        params = self.params(**settings)
        generations: list[Generation] = []
        done: list[Output] = []
        for each in prompt:
            if len(generations) - len(done) >= _TOGETHER:
                done.append(generations[len(done)].output())
            generations.append(self.start(self.encode(each), params)[0])
        return done + [generation.output() for generation in generations[len(done) :]]

    def stream(self, prompt: Prompt, **settings: Any) -> Generation:
        """``generate``, piece by piece."""
        return self._one(self.encode(prompt), settings)

    def embed(self, texts: Sequence[str], *, model: str | None = None) -> NDArray[np.float32]:
        """float32 [texts, dimension] of length 1, by an encoder: the one that ships, or ``model``.

        A model that writes has no vectors of its own that can be compared; encoders are made for it.
        """
        from ownlm.engine.embedder import Embedder

        if model is not None:
            return Embedder.load(model).encode(texts)
        with self._lock:
            if self._embedder is None:
                self._embedder = Embedder.load()
        return self._embedder.encode(texts)

    def params(self, **settings: Any) -> SamplingParams:
        """The model's defaults, then these. A ``grammar`` may be a ``Grammar``. Raises InvalidSetting."""
        grammar = settings.get("grammar")
        if isinstance(grammar, Grammar):
            settings["grammar"] = self.compile_grammar(grammar)
        known = SamplingParams.__dataclass_fields__
        for name in settings:
            if name not in known:
                raise InvalidSetting(name, settings[name], f"there is no such setting; there are {', '.join(known)}")
        merged = {**self.defaults, **settings}
        most, least = merged.get("max_tokens"), merged.get("min_tokens", 0)
        if "min_tokens" not in settings and isinstance(most, int) and isinstance(least, int) and least > most:
            merged["min_tokens"] = most  # the model's wish gives way to the request's
        return SamplingParams(**merged)

    def compile_grammar(self, grammar: Grammar) -> CompiledGrammar:
        """The grammar for this model's vocabulary; those used last are kept. Raises InvalidGrammar."""
        return self._grammars.compile(grammar)

    def render(self, messages: Messages, tools: Sequence[Mapping[str, Any]] | None = None, **options: Any) -> Rendered:
        """A conversation as the model reads it; ``options`` as in ``ChatTemplate.render``."""
        if self.chat_template is None:
            raise NotFound(
                f"{self.name} has no chat template: it continues text (generate), or give it one in its folder"
            )
        return self.chat_template.render(messages, tools, **options)

    def encode(self, prompt: Prompt) -> list[int]:
        """The ids of a prompt, with the special tokens that the model wants around a text; ids stay as they are."""
        if not isinstance(prompt, str):
            if not _is_ids(prompt):
                raise InvalidSetting("prompt", prompt, "give a text or a list of token ids")
            return list(prompt)
        ids = self.tokenizer.encode(prompt)
        if ids:
            return ids
        first = self.tokenizer.bos_id if self.tokenizer.bos_id is not None else self.tokenizer.eos_id
        return [] if first is None else [first]  # a text from its beginning

    def start(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        n: int = 1,
        *,
        skip_special: bool = True,
        priority: int = 0,
        owners: Iterable[Owner] = (),
    ) -> list[Generation]:
        """``n`` answers to one prompt, which is computed once. ``skip_special``: leave special tokens out of the text.

        Raises PromptTooLong, InvalidSetting, EngineBusy or EngineClosed.
        """
        params = self._special_stops(params)
        handles = self.engine.submit_many(prompt_ids, [params] * n, priority=priority, owners=owners)
        ends = self.engine.eos_ids | {*params.stop_token_ids}
        return [
            Generation(
                handle, self.tokenizer, prompt_ids, ends=ends, stop=params.stop, skip_special=skip_special,
                continues=params.grammar is not None, model=self,
            )
            for handle in handles
        ]  # fmt: skip

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 that identifies the weights; the first use may read their files."""
        return self._fingerprint()

    def stats(self) -> EngineStats:
        """What the engine holds and has done."""
        return self.engine.stats()

    def close(self) -> None:
        """Free the model; answers that are under way end with EngineClosed. Packed weights of a first load that are
        not on the disk yet are waited for, a moment."""
        self.engine.close()
        if self._writing is not None:
            self._writing.finish(_WRITING)
            self._writing = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _special_stops(self, params: SamplingParams) -> SamplingParams:
        """A stop string that is a special token stands in no text: that token is to stop."""
        tokenizer = self.tokenizer
        found = [id_ for stop in params.stop if (id_ := tokenizer.id_of(stop)) in tokenizer.special_ids]
        return replace(params, stop_token_ids=(*params.stop_token_ids, *found)) if found else params

    def __del__(self) -> None:
        # One that is dropped frees its memory; answers under way refer to it.
        if (engine := getattr(self, "engine", None)) is not None:
            engine.close()

    def _one(self, ids: Sequence[int], settings: dict[str, Any]) -> Generation:
        skip = settings.pop("skip_special", True)
        return self.start(ids, self.params(**settings), skip_special=skip)[0]


def _is_ids(value: object) -> bool:
    return isinstance(value, Sequence) and len(value) > 0 and all(type(id_) is int for id_ in value)
