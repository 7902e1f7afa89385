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
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ownlm.engine import json_schema
from ownlm.engine.grammar_vocabulary import GrammarVocabulary as GrammarVocabulary
from ownlm.errors import InvalidGrammar, OwnLMError

Kind = Literal["json_schema", "regex", "lark"]
MAX_CHARACTERS = 1 << 18
MAX_LARK_RULES = 2000  # the library recurses from rule to rule
_STACKS = (256 << 20, 32 << 20)  # bytes of stack (address space) for that recursion; the less where memory is limited
# Space between JSON's tokens, bounded: a model that falls into endless blanks would never end.
_JSON_SPACE = r"[ \t\n\r]{1,64}"
_JSON_OPTIONS: dict[str, Any] = {"coerce_one_of": False, "whitespace_flexible": True, "whitespace_pattern": _JSON_SPACE}
_COMPACT = {"coerce_one_of": False, "whitespace_flexible": False, "key_separator": ": ", "item_separator": ", "}
_LIMITS = {"max_items_in_row": 10_000, "step_max_items": 200_000, "initial_lexer_fuel": 1_000_000,
           "step_lexer_fuel": 200_000, "verbose_errors": False}  # fmt: skip
_SHOWN = 300  # characters of a message of the library
_compiling = threading.Lock()


@dataclass(frozen=True, slots=True)
class Grammar:
    """``source`` in the language of ``kind``; the whole text must match it. ``compact``: JSON on one line."""

    kind: Kind
    source: str
    compact: bool = False

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | bool, *, compact: bool = False) -> Grammar:
        """JSON that validates against a schema (https://json-schema.org). Raises InvalidGrammar for a schema that
        nothing can meet, or that holds a keyword which cannot be enforced.

        ``compact``: spaced as ``json.dumps`` does it; a model has no choice of white space then.
        """
        checked = json_schema.checked(schema)
        return cls("json_schema", json.dumps(checked, ensure_ascii=False), compact)

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

    def after(self, end: str, *, special: bool = False) -> Grammar:
        """Any text up to and with ``end`` (a model's reasoning, to ``</think>`` say), white space, then this grammar.

        ``special``: ``end`` is a special token of the model, which no text can spell.
        """
        if special:
            begin = f"start: BEFORE {end} SPACE answer\nBEFORE: /(?s:.*)/"
        else:
            begin = f"start: before SPACE answer\nbefore[suffix={json.dumps(end)}]: /(?s:.*)/"
        return Grammar("lark", f"{begin}\nSPACE: /\\s*/\nanswer: {self.lark_rule()}\n")

    def lark_rule(self) -> str:
        """This grammar as the right side of a rule of a Lark grammar."""
        if self.kind == "json_schema":
            settings = {"x-guidance": self.json_options()}
            return f"%json {json.dumps(json.loads(self.source) | settings, ensure_ascii=False)}"
        if self.kind == "regex":
            import llguidance

            try:
                return f"/{llguidance.regex_to_lark(self.source, '')}/"
            except ValueError as error:
                raise InvalidGrammar("regex", self.source, _readable([str(error)])) from None
        return f"%lark {{\n{self.source}\n}}"

    def json_options(self) -> dict[str, Any]:
        """How the library is to space JSON."""
        return _COMPACT if self.compact else _JSON_OPTIONS

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
        if self.kind == "lark" and sum(":" in line for line in self.source.split("\n")) > MAX_LARK_RULES:
            raise InvalidGrammar(self.kind, self.source, f"at most {MAX_LARK_RULES} lines of rules are read")


class CompiledGrammar:
    """A grammar with a vocabulary. From any thread."""

    def __init__(self, grammar: Grammar, vocabulary: GrammarVocabulary) -> None:
        import llguidance

        self.grammar = grammar
        self.vocabulary = vocabulary
        matcher = llguidance.LLMatcher
        try:
            if grammar.kind == "json_schema":
                options: Any = {"lenient": False, **grammar.json_options()}
                source = matcher.grammar_from_json_schema(grammar.source, overrides=options)
            elif grammar.kind == "regex":
                source = matcher.grammar_from_regex(grammar.source)
            else:
                source = matcher.grammar_from_lark(grammar.source)
        except ValueError as error:  # a number that the library cannot hold
            raise InvalidGrammar(grammar.kind, grammar.source, _readable([str(error)])) from None
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
        return _readable([self._inner.get_error()]) if self._inner.is_error() else ""

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

    thread = _started(run)
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def _started(run: Callable[[], None]) -> threading.Thread:
    with _compiling:
        before = threading.stack_size()
        try:
            for size in _STACKS:
                threading.stack_size(size)
                thread = threading.Thread(target=run, name="ownlm-grammar")
                try:
                    thread.start()
                    return thread
                except RuntimeError:  # no room for such a stack
                    continue
        finally:
            threading.stack_size(before)
    raise OwnLMError("there is no memory left to compile a grammar: try again later")
