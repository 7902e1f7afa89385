"""Whatever the model, a text under a grammar is one of the grammar's; what no text can meet is refused beforehand."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tokenizer_kinds

from ownlm.engine.grammar import CompiledGrammar, Grammar, GrammarVocabulary
from ownlm.engine.sampler import RequestSampling, Sampler
from ownlm.engine.sampling_params import SamplingParams
from ownlm.errors import InvalidGrammar, OwnLMError
from ownlm.tokenizer import Tokenizer
from random_schemas import random_schema

EXTRA = 9  # ids of a model beyond its tokenizer's


@pytest.fixture(scope="module", params=["byte-level", "sentencepiece"])
def vocabulary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> GrammarVocabulary:
    folder = tmp_path_factory.mktemp("tokenizer")
    if request.param == "byte-level":
        tokenizer_kinds.byte_level(folder)
    else:
        pytest.importorskip("sentencepiece")
        tokenizer_kinds.sentencepiece(folder, **tokenizer_kinds.SENTENCEPIECES["bpe"])
    tokenizer = Tokenizer.load(folder)
    return GrammarVocabulary(tokenizer, tokenizer.vocab_size + EXTRA, tokenizer.eos_ids)


def text_of(vocabulary: GrammarVocabulary, tokens: list[int], ends: frozenset[int], whole: bool = True) -> str:
    data = b"".join(vocabulary.tokens[token] for token in tokens if token not in ends)
    return data.decode() if whole else data.decode("utf-8", "replace")


def generate(
    vocabulary: GrammarVocabulary, grammar: CompiledGrammar | None, seed: int, limit: int = 300, **fields: Any
) -> tuple[str, bool]:
    """(text, whether it came to its end) of a model whose logits are noise, with some liking for what closes."""
    noise = np.random.default_rng(seed)
    closing = np.array([3.0 * any(c in b'"]}\n' for c in data) for data in vocabulary.tokens], np.float32)
    closing[list(vocabulary.ends)] = 3.0
    state = RequestSampling(SamplingParams(grammar=grammar, seed=seed, **fields), [1], vocabulary.ends, vocabulary.size)
    tokens: list[int] = []
    while len(tokens) < limit:
        tokens += state.forced(limit - len(tokens))
        if state.finished:
            return text_of(vocabulary, tokens, state.ends), True
        logits = (noise.normal(0, 2, vocabulary.size) + closing[: vocabulary.size]).astype(np.float32)
        (sampled,) = Sampler().sample(logits[None], [state])
        if sampled.error is not None:
            raise sampled.error
        tokens.append(sampled.token)
        if sampled.token in state.ends or state.finished:
            return text_of(vocabulary, tokens, state.ends, whole=grammar is not None), True
    return text_of(vocabulary, tokens, state.ends, whole=False), False


def schemas(count: int) -> Iterator[dict[str, Any]]:
    for seed in range(count):
        yield random_schema(random.Random(seed))


def test_json_always_validates(vocabulary: GrammarVocabulary) -> None:
    ended = refused = 0
    for seed, schema in enumerate(schemas(150)):
        try:
            compiled = Grammar.json_schema(schema).compile(vocabulary)
        except InvalidGrammar:
            refused += 1
            continue
        for attempt in range(2):
            text, whole = generate(vocabulary, compiled, 1000 * attempt + seed)
            if not whole:
                continue
            ended += 1
            jsonschema.validate(json.loads(text), schema, cls=jsonschema.Draft202012Validator)
    assert ended >= 150 and refused <= 30, (ended, refused)


def test_without_the_mask_almost_nothing_validates(vocabulary: GrammarVocabulary) -> None:
    found = 0
    for seed, _schema in enumerate(schemas(30)):
        text, _ = generate(vocabulary, None, seed)
        try:
            json.loads(text)
            found += 1
        except ValueError:
            pass
    assert found <= 3


@pytest.mark.parametrize("fields", [{"temperature": 0}, {"top_k": 3}, {"top_p": 0.2}, {"logit_bias": {5: 100, 6: 100}}])
def test_sampling_settings_do_not_break_a_grammar(vocabulary: GrammarVocabulary, fields: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "on": {"type": "boolean"}},
              "required": ["n", "on"], "additionalProperties": False}  # fmt: skip
    compiled = Grammar.json_schema(schema).compile(vocabulary)
    for seed in range(5):
        text, whole = generate(vocabulary, compiled, seed, presence_penalty=1.0, **fields)
        assert whole
        jsonschema.validate(json.loads(text), schema)


PATTERNS = [r"[a-c]{3}-\d{2,4}", r"(yes|no|perhaps)", r"é+ü", r"\{\}", r"a*", r"(?i)fox [0-9a-f]{8}"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_regular_expression_matches_the_whole_text(vocabulary: GrammarVocabulary, pattern: str) -> None:
    compiled = Grammar.regex(pattern).compile(vocabulary)
    for seed in range(10):
        text, whole = generate(vocabulary, compiled, seed)
        assert not whole or re.fullmatch(pattern, text), text


def test_a_lark_grammar_is_followed(vocabulary: GrammarVocabulary) -> None:
    compiled = Grammar.lark(r"""
        start: sum
        sum: product ("+" product)*
        product: NUMBER ("*" NUMBER)?
        NUMBER: /[1-9][0-9]?/
    """).compile(vocabulary)  # fmt: skip
    for seed in range(10):
        text, whole = generate(vocabulary, compiled, seed)
        assert not whole or eval(text) > 0


def test_colons_inside_a_line_are_no_rules(vocabulary: GrammarVocabulary) -> None:
    text = " ".join(f"word{number}:" for number in range(3000))
    compiled = Grammar.lark(f'start: %regex {{"substring_words": {json.dumps(text)}}}').compile(vocabulary)
    assert generate(vocabulary, compiled, 1)[0] in text


def test_a_choice_is_one_of_its_texts(vocabulary: GrammarVocabulary) -> None:
    texts = ["red", "reddish", 'quoted "x"\n', "grün"]
    compiled = Grammar.choice(texts).compile(vocabulary)
    assert {generate(vocabulary, compiled, seed)[0] for seed in range(40)} <= set(texts)
    with pytest.raises(InvalidGrammar, match="at least one"):
        Grammar.choice([])


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "strin"}, "strin"),
        ({"minLenght": 3}, "minLenght"),
        ({"properties": {"a": {"anyOf": [{"nullable": True}]}}}, "nullable"),
        ({"x-guidance": {"lenient": True}}, "x-guidance"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {"type": "string"}}, "not"),
        ({"if": {"type": "string"}, "then": {"minLength": 2}}, "if"),
        ({"type": "string", "format": "postcode"}, "postcode"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"$ref": "https://example.org/schema"}, "example.org"),
        ({"$ref": "#/$defs/none"}, "none"),
        (False, "nothing meets it"),
        ({"enum": []}, "empty"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "5"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "incompatible"),
        ({"type": "object", "required": ["a"], "additionalProperties": False}, "'a'"),
        ({"type": "array", "items": False, "minItems": 1}, "min"),
        ({"$ref": "#"}, "itself"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "itself"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "itself"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "itself"),
        ({"anyOf": [{"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1}]}, "itself"),
        ([1], "object"),
        ({"properties": {"a": 3}}, "no schema"),
    ],
    ids=str,
)
def test_a_schema_that_cannot_be_met_or_understood_is_refused(
    vocabulary: GrammarVocabulary, schema: Any, said: str
) -> None:
    with pytest.raises(InvalidGrammar) as caught:
        Grammar.json_schema(schema).compile(vocabulary)
    assert said in str(caught.value) and "\n" not in str(caught.value) and "<state>" not in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        True, {}, {"title": "x", "description": "y", "x-order": 3, "default": 1},
        {"type": "object", "properties": {"next": {"$ref": "#"}}},
        {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]},
        {"type": "array", "items": {"$ref": "#"}},
        {"$defs": {"minLenght": {"type": "string"}}, "properties": {"minLenght": {"$ref": "#/$defs/minLenght"}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_schema_that_can_be_met_is_taken(vocabulary: GrammarVocabulary, schema: Any) -> None:
    assert Grammar.json_schema(schema).compile(vocabulary).matcher().allowed().any()


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar.regex("("), Grammar.regex(r"[^\s\S]"), Grammar.regex(r"(a)\1"), Grammar.lark("start: nothing"),
        Grammar.lark(""), Grammar.lark("start: <|nothing|>"), Grammar.lark("start: " + "(" * 5000 + '"a"' + ")" * 5000),
        Grammar.lark("".join(f"r{i}: r{i + 1}\n" for i in range(9000))), Grammar.regex("a" * (1 << 19)),
        Grammar.json_schema({"enum": [f"value {i}" * 40 for i in range(2000)]}),
    ],
    ids=lambda grammar: f"{grammar.kind} {grammar.source[:20]!r}",
)  # fmt: skip
def test_a_grammar_that_is_none_is_one_line(vocabulary: GrammarVocabulary, grammar: Grammar) -> None:
    with pytest.raises(InvalidGrammar) as caught:
        grammar.compile(vocabulary)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_deep_grammars_do_not_end_the_process(vocabulary: GrammarVocabulary) -> None:
    schema: Any = {"type": "string"}
    for _ in range(2000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(InvalidGrammar):
        Grammar.json_schema(schema).compile(vocabulary)
    rules = "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(1900)) + 'r1900: "a"'
    Grammar.lark(rules).compile(vocabulary)
    chain = {f"r{i}": {"$ref": f"#/$defs/r{i + 1}"} for i in range(1900)} | {"r1900": {"type": "null"}}
    assert generate(vocabulary, Grammar.json_schema({"$defs": chain, "$ref": "#/$defs/r0"}).compile(vocabulary), 1) == (
        "null",
        True,
    )


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "multipleOf": 1_000_003},
        {"type": "number", "multipleOf": 0.1000003},
        {"type": "integer", "multipleOf": 10**4000 + 1},
        {"allOf": [{"type": "integer", "multipleOf": 997}, {"multipleOf": 991}]},
        {"$defs": {"a": {"multipleOf": 997}}, "type": "array", "items": {"$ref": "#/$defs/a", "multipleOf": 991}},
    ],
)
def test_multiples_of_much_are_refused_at_once(vocabulary: GrammarVocabulary, schema: dict[str, Any]) -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidGrammar, match="multipleOf"):
        Grammar.json_schema(schema).compile(vocabulary)
    assert time.monotonic() - begun < 2
    both = {"properties": {"a": {"multipleOf": 997}, "b": {"multipleOf": 991}, "c": {"multipleOf": 1000}}}
    Grammar.json_schema(both).compile(vocabulary)


def test_a_number_that_nothing_can_hold_is_refused(vocabulary: GrammarVocabulary) -> None:
    with pytest.raises(InvalidGrammar):
        Grammar.json_schema({"type": "integer", "maximum": 10**400}).compile(vocabulary)


def test_a_pattern_that_takes_too_much_is_given_up(vocabulary: GrammarVocabulary) -> None:
    """It may not hold up the step that other requests share."""
    try:
        matcher = Grammar.regex("(a{1000}){1000}").compile(vocabulary).matcher()
    except InvalidGrammar:
        return
    begun = time.monotonic()
    for _ in range(20):
        allowed = matcher.allowed()
        if matcher.error or not allowed.any():
            break
        matcher.accept(int(allowed.argmax()))
    assert time.monotonic() - begun < 4


def test_deep_recursion_has_a_stack_of_its_own() -> None:
    """Without the limits that come first: what the library does ten thousand calls deep ends no process."""
    code = """
import sys
sys.path += sys.argv[1:3]
import tempfile
from pathlib import Path
import tokenizer_kinds
from ownlm.engine import grammar
from ownlm.tokenizer import Tokenizer
tokenizer = Tokenizer.load(tokenizer_kinds.byte_level(Path(tempfile.mkdtemp())))
grammar.MAX_LARK_RULES = 10**6
vocabulary = grammar.GrammarVocabulary(tokenizer, tokenizer.vocab_size, tokenizer.eos_ids)
rules = "start: r0\\n" + "".join(f"r{i}: r{i + 1}\\n" for i in range(12000)) + 'r12000: "a"'
print(grammar.Grammar.lark(rules).compile(vocabulary).matcher().allowed().sum() > 0)
"""
    here = Path(__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-c", code.replace("\\\\n", "\\n"), str(here), str(here / "tokenizer")],
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout == "True\n", (found.returncode, found.stderr)


def test_a_stack_that_memory_does_not_have_is_asked_for_smaller(
    vocabulary: GrammarVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, refused = threading.Thread.start, []

    def poor(self: threading.Thread) -> None:
        if threading.stack_size() > 100 << 20:
            refused.append(self)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", poor)
    assert Grammar.regex("a").compile(vocabulary).matcher().allowed().any() and len(refused) == 1
    monkeypatch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("none")))
    with pytest.raises(OwnLMError, match="memory"):
        Grammar.regex("a").compile(vocabulary)
    assert threading.stack_size() == 0


def test_what_must_follow_is_spelled_as_the_tokenizer_spells(vocabulary: GrammarVocabulary) -> None:
    for text in ("the fox and", " over the lazy", "größer", "{", "\n\n", '"name": "', "漢字🦊"):
        ids = vocabulary(text)
        assert b"".join(vocabulary.tokens[id_] for id_ in ids) == text.encode()
        whole = vocabulary.tokenizer.encode("x\n" + text, add_special=False)
        assert len(ids) <= len(whole) and whole[len(whole) - len(ids) + 1 :] == ids[1:]


def test_a_token_that_is_not_admitted_is_noticed(vocabulary: GrammarVocabulary) -> None:
    compiled = Grammar.choice(["abc"]).compile(vocabulary)
    state = RequestSampling(SamplingParams(grammar=compiled), [1], vocabulary.ends, vocabulary.size)
    wrong = int(np.flatnonzero(~compiled.matcher().allowed())[-1])
    with pytest.raises(OwnLMError):
        state.advance(wrong)


def test_special_tokens_and_ids_beyond_the_tokenizer_never_follow(vocabulary: GrammarVocabulary) -> None:
    matcher = Grammar.regex(r"(?s).*").compile(vocabulary).matcher()
    allowed = set(np.flatnonzero(matcher.allowed()).tolist())
    special = set(vocabulary.tokenizer.special_ids)
    assert allowed & special == set(vocabulary.ends)
    assert max(allowed) < vocabulary.size - EXTRA


def test_min_tokens_give_way_to_the_end_of_the_grammar(vocabulary: GrammarVocabulary) -> None:
    compiled = Grammar.choice(["ab"]).compile(vocabulary)
    assert generate(vocabulary, compiled, 1, min_tokens=50, max_tokens=90) == ("ab", True)
    nothing = Grammar.regex("").compile(vocabulary)
    assert generate(vocabulary, nothing, 1, min_tokens=5, max_tokens=9) == ("", True)
    longer = Grammar.regex("a+").compile(vocabulary)
    text, whole = generate(vocabulary, longer, 1, min_tokens=20, max_tokens=90)
    assert not whole or len(text) >= 20


@pytest.mark.parametrize("embedded", [False, True])
def test_compact_json_is_spaced_as_python_spaces_it(vocabulary: GrammarVocabulary, embedded: bool) -> None:
    fields = {"b": {"type": "integer"}, "c": {"type": "boolean"}}
    item = {"type": "object", "properties": fields, "required": ["b", "c"], "additionalProperties": False}
    grammar = Grammar.json_schema({"type": "array", "items": item, "minItems": 2, "maxItems": 3}, compact=True)
    if embedded:
        grammar = Grammar.lark(f"start: {grammar.lark_rule()}")
    compiled = grammar.compile(vocabulary)
    for seed in range(10):
        text, whole = generate(vocabulary, compiled, seed)
        assert not whole or text == json.dumps(json.loads(text))


def test_a_grammar_ends_where_ends_are_ignored(vocabulary: GrammarVocabulary) -> None:
    compiled = Grammar.regex("a{1,3}").compile(vocabulary)
    for seed in range(6):
        text, whole = generate(vocabulary, compiled, seed, ignore_eos=True, logit_bias={vocabulary.ends[0]: 100})
        assert whole and text == "a"


def test_matchers_of_one_grammar_are_apart(vocabulary: GrammarVocabulary) -> None:
    compiled = Grammar.regex("ab|ba").compile(vocabulary)
    first, second = compiled.matcher(), compiled.matcher()
    a = vocabulary.tokenizer.id_of("a")
    assert a is not None and first.accept(a)
    assert second.allowed()[a] and not first.allowed()[a]


def test_forced_tokens_are_those_that_had_to_follow(vocabulary: GrammarVocabulary) -> None:
    schema = {"type": "object", "properties": {"a_long_name": {"type": "null"}}, "required": ["a_long_name"],
              "additionalProperties": False}  # fmt: skip
    compiled = Grammar.json_schema(schema).compile(vocabulary)
    steps = {}
    for use in (True, False):
        state = RequestSampling(SamplingParams(grammar=compiled, seed=1), [1], vocabulary.ends, vocabulary.size)
        tokens, samplings = [], 0
        while not state.finished:
            tokens += state.forced() if use else []
            if not state.finished:
                tokens.append(Sampler().sample(np.zeros((1, vocabulary.size), np.float32), [state])[0].token)
                samplings += 1
        text = text_of(vocabulary, tokens, state.ends)
        assert json.loads(text) == {"a_long_name": None} and state.generated == len(tokens)
        steps[use] = samplings
    assert steps[True] < steps[False]


def test_a_model_without_an_end_token_ends_when_nothing_may_follow(vocabulary: GrammarVocabulary) -> None:
    endless = GrammarVocabulary(vocabulary.tokenizer, vocabulary.size, ())
    text, whole = generate(endless, Grammar.regex("[ab]{4}").compile(endless), 3)
    assert whole and re.fullmatch("[ab]{4}", text)


@pytest.mark.parametrize(
    ("grammar", "admitted", "refused"),
    [
        (Grammar.json_schema({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"],
                              "additionalProperties": False}), '{"a": null}', '{"b": null}'),
        (Grammar.regex("a/b|c[d/]"), "a/b", "ab"),
        (Grammar.choice(["yes", "no"]), "no", "nay"),
        (Grammar.lark('start: A | B\nA: "{" "}"\nB: "x"'), "{}", "{"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)  # fmt: skip
def test_reasoning_is_free_and_what_follows_it_is_not(
    vocabulary: GrammarVocabulary, grammar: Grammar, admitted: str, refused: str
) -> None:
    compiled = grammar.after("</mind>").compile(vocabulary)

    def ends(text: str) -> bool:
        matcher = compiled.matcher()
        return all(matcher.accept(token) for token in vocabulary(text)) and matcher.satisfied

    assert ends(f"<mind>any {{ text </min\n</mind>\n\n{admitted}") and ends(f"</mind>{admitted}")
    assert not ends(f"x</mind>{refused}") and not ends(admitted) and not ends("x</mind>")


def test_reasoning_may_end_with_a_special_token(vocabulary: GrammarVocabulary) -> None:
    special = [id_ for id_ in vocabulary.special_token_ids if id_ not in vocabulary.ends]
    name = vocabulary.tokenizer.token(special[0]) if special else None
    if name is None or not name.startswith("<"):
        pytest.skip("no such token here")
    matcher = Grammar.choice(["no"]).after(name, special=True).compile(vocabulary).matcher()
    assert all(matcher.accept(token) for token in [*vocabulary("hm"), special[0], *vocabulary("no")])
    assert matcher.satisfied
