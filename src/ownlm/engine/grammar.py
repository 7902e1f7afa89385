"""What a text must match: a grammar, compiled for a vocabulary, and followed token by token.

``Grammar`` (what is asked; belongs to nobody) -> ``CompiledGrammar`` (with one tokenizer; shared by requests) ->
``Matcher`` (of one request). The parsing is llguidance's (https://github.com/guidance-ai/llguidance): each step it
says which of all tokens may follow.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ownlm.engine import json_schema
from ownlm.errors import InvalidGrammar

if TYPE_CHECKING:
    from ownlm.tokenizer import Tokenizer

Kind = Literal["json_schema", "regex", "lark"]
MAX_CHARACTERS = 1 << 18
MAX_LARK_RULES = 2000  # the library recurses from rule to rule
_STACK = 256 << 20  # bytes of stack (address space) for that recursion
# Space between JSON's tokens, bounded: a model that falls into endless blanks would never end.
_JSON_SPACE = r"[ \t\n\r]{1,64}"
_JSON_OPTIONS = {"lenient": False, "coerce_one_of": False, "whitespace_flexible": True,
                 "whitespace_pattern": _JSON_SPACE}  # fmt: skip
_LIMITS = {"max_items_in_row": 10_000, "step_max_items": 200_000, "initial_lexer_fuel": 5_000_000,
           "step_lexer_fuel": 1_000_000, "verbose_errors": False}  # fmt: skip
_SHOWN = 300  # characters of a message of the library
_compiling = threading.Lock()


@dataclass(frozen=True, slots=True)
class Grammar:
    """``source`` in the language of ``kind``; the whole text must match it."""

    kind: Kind
    source: str

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | bool) -> Grammar:
        """JSON that validates against a schema (https://json-schema.org). Raises InvalidGrammar for a schema that
        nothing can meet, or that holds a keyword which cannot be enforced."""
        checked = json_schema.checked(schema)
        return cls("json_schema", json.dumps(checked, ensure_ascii=False))

    @classmethod
    def json_object(cls) -> Grammar:
        """Any JSON object."""
        return cls("json_schema", '{"type": "object"}')

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """A regular expression in the syntax of Rust's ``regex``: no look-around, no back-references."""
        return cls("regex", pattern)

    @classmethod
    def lark(cls, source: str) -> Grammar:
        """A context-free grammar in llguidance's form of Lark; its first rule is ``start``."""
        return cls("lark", source)

    @classmethod
    def choice(cls, texts: Iterable[str]) -> Grammar:
        """One of these texts.

        >>> Grammar.choice(["yes", "no"]).source
        'start: "yes" | "no"'
        """
        quoted = [json.dumps(text, ensure_ascii=True) for text in texts]
        if not quoted:
            raise InvalidGrammar("choice", [], "give at least one text")
        return cls("lark", f"start: {' | '.join(quoted)}")

    def compile(self, vocabulary: GrammarVocabulary) -> CompiledGrammar:
        """Ready for a tokenizer. Raises InvalidGrammar: not of its language, or matched by no text of the model."""
        self._check_size()
        return _with_stack(lambda: CompiledGrammar(self, vocabulary))

    def _check_size(self) -> None:
        if not isinstance(self.source, str):
            raise InvalidGrammar(self.kind, self.source, "give a text")
        if len(self.source) > MAX_CHARACTERS:
            raise InvalidGrammar(
                self.kind, self.source, f"it has {len(self.source)} characters, at most {MAX_CHARACTERS} are read"
            )
        if self.kind == "lark" and self.source.count(":") > MAX_LARK_RULES:
            raise InvalidGrammar(self.kind, self.source, f"at most {MAX_LARK_RULES} rules are read")


class GrammarVocabulary:
    """A tokenizer's bytes as the parser wants them. Takes a second for a large vocabulary: make it once a model.

    ``ends`` are the tokens that end a text; they may follow wherever the grammar is satisfied. ``size`` is the
    model's vocabulary, which may be larger than the tokenizer's; ids beyond that never follow.
    """

    def __init__(self, tokenizer: Tokenizer, size: int, ends: Iterable[int]) -> None:
        import llguidance

        self.size = size
        self.tokenizer = tokenizer
        self._literal = tokenizer.literal(tokenizer.special_ids)
        self.ends = tuple(sorted(ends))
        known = min(size, tokenizer.vocab_size)
        # A model without such a token: one beyond its vocabulary stands for the end.
        inner = self.ends or (size,)
        self.tokens = [tokenizer.token_bytes(id_) if tokenizer.token(id_) else b"" for id_ in range(known)]
        self.tokens += [b""] * (size + (not self.ends) - known)
        if not self.ends:
            self.tokens[size] = b"<|the end|>"
        self.eos_token_id = inner[0]
        self.bos_token_id = None
        self.special_token_ids = sorted({id_ for id_ in tokenizer.special_ids if id_ < size} | set(inner))
        special = set(self.special_token_ids)
        plain = [(data, id_) for id_, data in enumerate(self.tokens) if data and id_ not in special]
        self._ids = dict(reversed(plain))
        self._longest = max(map(len, self._ids), default=0)
        self.is_tokenizer_wrapper = True
        self.inner = llguidance.LLTokenizer(self, n_vocab=len(self.tokens), eos_token=list(inner))  # type: ignore[arg-type]

    def __call__(self, text: str | bytes) -> list[int]:
        """The parser's way to spell, in the midst of a text, what must follow."""
        data = text.encode() if isinstance(text, str) else text
        for before in ("", "\n"):  # some tokenizers put a space before any beginning
            spelled, offsets = self._literal.encode_with_offsets(
                before + data.decode("utf-8", "replace"), continued=True
            )
            ids = [id_ for id_, (start, _) in zip(spelled, offsets, strict=True) if start >= len(before)]
            if b"".join(self.tokens[id_] for id_ in ids) == data:
                return ids
        return self._spelled_greedily(data)

    def _spelled_greedily(self, data: bytes) -> list[int]:
        """By the longest token each; what no token begins is left out, as the parser's own way does."""
        found: list[int] = []
        while data:
            size = next((n for n in range(min(len(data), self._longest), 0, -1) if data[:n] in self._ids), 0)
            if size:
                found.append(self._ids[data[:size]])
            data = data[size or 1 :]
        return found


class CompiledGrammar:
    """A grammar with a vocabulary. From any thread."""

    def __init__(self, grammar: Grammar, vocabulary: GrammarVocabulary) -> None:
        import llguidance

        self.grammar = grammar
        self.vocabulary = vocabulary
        matcher = llguidance.LLMatcher
        if grammar.kind == "json_schema":
            source = matcher.grammar_from_json_schema(grammar.source, overrides=_JSON_OPTIONS)  # type: ignore[arg-type]
        elif grammar.kind == "regex":
            source = matcher.grammar_from_regex(grammar.source)
        else:
            source = matcher.grammar_from_lark(grammar.source)
        limits = llguidance.LLParserLimits(**_LIMITS)  # type: ignore[arg-type]
        wrong, messages = matcher.validate_grammar_with_warnings(source, vocabulary.inner, limits=limits)
        if wrong or messages:
            raise InvalidGrammar(grammar.kind, grammar.source, _readable(messages))
        self._start = matcher(vocabulary.inner, source, limits=limits, log_level=0)
        first = self.matcher()
        if not first.allowed().any() or first.error:
            raise InvalidGrammar(grammar.kind, grammar.source, first.error or "no text of this model's tokens meets it")

    def matcher(self) -> Matcher:
        """A new one, at the beginning of a text."""
        return Matcher(self._start.deep_copy(), self.vocabulary)


class Matcher:
    """Where a text stands in its grammar. Of one request, in one thread at a time."""

    def __init__(self, inner: Any, vocabulary: GrammarVocabulary) -> None:
        self._inner = inner
        self._size = vocabulary.size
        self._ends = frozenset(vocabulary.ends)
        self._bits = np.zeros(-(-len(vocabulary.tokens) // 32), np.int32)

    @property
    def error(self) -> str:
        """Why no text can go on or end here; empty if one can."""
        if self._inner.is_error():
            return _readable([self._inner.get_error()])
        return "no text meets it" if self._inner.is_stopped() and not self._inner.is_accepting() else ""

    @property
    def satisfied(self) -> bool:
        """Whether the text may end here."""
        return bool(self._inner.is_accepting())

    @property
    def finished(self) -> bool:
        """Whether the text can only end here."""
        return bool(self._inner.is_stopped()) and not self.error

    def allowed(self) -> NDArray[np.bool_]:
        """bool [vocabulary]: which tokens may follow, those that end the text among them where it may end."""
        self._inner.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        return np.unpackbits(self._bits.view(np.uint8), count=self._size, bitorder="little").view(np.bool_)

    def accept(self, token: int) -> bool:
        """Go on with a token; False if the grammar does not admit it."""
        if self._inner.is_stopped():
            return token in self._ends and not self.error
        return bool(self._inner.consume_token(token))

    def forced(self, limit: int | None = None) -> list[int]:
        """Go on with the tokens that must follow, and return them: at most ``limit``."""
        if limit == 0 or self._inner.is_stopped():
            return []
        tokens: list[int] = self._inner.compute_ff_tokens()[:limit]
        return tokens[: self._inner.try_consume_tokens(tokens)] if tokens else []


def _readable(messages: list[str]) -> str:
    """The library's message as one line, without the parser's state."""
    whole = " ".join("; ".join(messages).replace("<non-verbose/>", "").split("<state>")[0].split())
    return (whole if len(whole) <= _SHOWN else whole[:_SHOWN] + "...") or "it is not understood"


def _with_stack(work: Callable[[], CompiledGrammar]) -> CompiledGrammar:
    """Run where deep recursion has room: grammars come from strangers."""
    done: list[CompiledGrammar] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:  # raised again below
            failed.append(error)

    with _compiling:
        before = threading.stack_size(_STACK)
        try:
            thread = threading.Thread(target=run, name="ownlm-grammar")
            thread.start()
        finally:
            threading.stack_size(before)
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
