"""What an answer may look like, family by family: the grammar admits it, and the parser takes it apart again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest
import tokenizer_kinds

from llm_fakes import noise_llm
from ownlm import LLM
from ownlm.engine.grammar import Grammar
from ownlm.serve.openai.answer_form import Form
from ownlm.serve.openai.reasoning import Reasoning, reasoning_of
from ownlm.serve.openai.spelling import BARRED, CLOSED, LISTED, NAMED, PLAIN, TAGGED, Spelling, spelling_of
from ownlm.serve.openai.tools import rules

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [("weather", CITY), ("now", None), ("nowhere", None)]
WEATHER, NOW, NOWHERE = ("weather", '{"city": "tool_call> }\\"{"}'), ("now", "{}"), ("nowhere", "{}")
SPELLINGS = {"tagged": TAGGED, "plain": PLAIN, "listed": LISTED, "named": NAMED, "barred": BARRED, "closed": CLOSED}
THOUGHTS = [None, Reasoning(begun=True), Reasoning(begun=False)]


@pytest.fixture(scope="module", params=["special", "text"])
def llm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    """``special``: the marks are special tokens of the model; ``text``: they are spelled, or ordinary added tokens."""
    folder = tmp_path_factory.mktemp(request.param)
    marks = ["[TOOL_CALLS]", "[ARGS]", "<|tool_call|>", "<|/tool_call|>", "<tool_call>", "</tool_call>", "</think>"]
    control = tokenizer_kinds.CONTROL + (marks if request.param == "special" else [])
    tokenizer_kinds.byte_level(folder, control=control)
    with noise_llm(folder) as llm:
        yield llm


def calls(spelling: Spelling, *wanted: tuple[str, str]) -> str:
    written = [spelling.opening(name) + arguments + spelling.close for name, arguments in wanted]
    return spelling.begin + (spelling.between or "").join(written) + spelling.end


def special(llm: LLM) -> dict[str, int]:
    return {llm.tokenizer.token(id_): id_ for id_ in llm.tokenizer.special_ids}


def admits(llm: LLM, source: str, text: str) -> bool:
    """Whether the text, by the model's own tokens, is a whole answer under the grammar."""
    matcher = llm.compile_grammar(Grammar.lark(source)).matcher()
    return all(matcher.accept(id_) for id_ in llm.tokenizer.encode(text)) and matcher.satisfied


def source_of(
    spelling: Spelling, choice: str, thoughts: Reasoning | None, marks: dict[str, int], **more: object
) -> str:
    begins = "<think>" if thoughts is not None and not thoughts.begun else ""
    start = "start: message" if thoughts is None else thoughts.start(marks)
    return start + "\n" + rules(spelling, TOOLS, choice, special=marks, not_first=begins, **more)


@pytest.mark.parametrize("thoughts", THOUGHTS, ids=["answer", "thinking", "may think"])
@pytest.mark.parametrize("choice", ["auto", "required"])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_grammar_admits_answers_and_nothing_else(llm, spelling, choice, thoughts) -> None:
    source = source_of(spelling, choice, thoughts, special(llm))
    before = {None: [""], True: ["hm {<tool </think>\n\n"], False: ["", "<think>\nhm {</think>\n\n"]}
    text, several = choice == "auto", spelling.between is not None
    for thought in before[thoughts and thoughts.begun]:

        def holds(answer: str, start: str = thought) -> bool:
            return admits(llm, source, start + answer)

        assert holds(calls(spelling, NOW)) and holds(calls(spelling, WEATHER)) and holds(calls(spelling, NOWHERE))
        assert holds(calls(spelling, WEATHER, NOW, NOWHERE)) == several
        assert holds("") == holds("Hello\n") == holds("a <tool b") == text
        if spelling.mark:
            assert holds("Let me see. " + calls(spelling, NOW)) == text
        assert not holds(calls(spelling, NOW) + "x") and not holds(calls(spelling, ("now", '{"a": 1}')))
        assert not holds(calls(spelling, ("other", "{}"))) and not holds(calls(spelling, NOW)[:-1] + "!")
    if thoughts is not None and thoughts.begun:
        assert not admits(llm, source, calls(spelling, NOW))


@pytest.mark.parametrize("spelling", [TAGGED, LISTED, NAMED], ids=["tagged", "listed", "named"])
def test_one_call_alone_where_one_is_asked_for(llm, spelling) -> None:
    source = source_of(spelling, "required", None, special(llm), parallel=False)
    assert admits(llm, source, calls(spelling, NOW)) and not admits(llm, source, calls(spelling, NOW, NOW))


def test_json_instead_of_text(llm) -> None:
    source = source_of(TAGGED, "auto", None, special(llm), answer={"type": "object", "required": ["a"]})
    assert admits(llm, source, '{"a": 1}') and admits(llm, source, calls(TAGGED, NOW))
    assert not admits(llm, source, "text") and not admits(llm, source, "{}")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_answers_are_taken_apart_however_they_come(spelling, size) -> None:
    nasty = ("weather", json.dumps({"city": f'}} "{spelling.mark}{spelling.end}', "n": [{"a": {}}]}))
    wanted = [nasty, NOW, NOWHERE] if spelling.between is not None else [nasty]
    for choice, thoughts in itertools.product(["auto", "required"], THOUGHTS):
        start = {None: "", True: "hm</thin </think>\n\n", False: " <think>hm</thin </think>\n"}[
            thoughts and thoughts.begun
        ]
        said = "Let me <tool see [ " if spelling.mark and choice == "auto" else ""
        form = Form(thoughts, spelling, tuple(name for name, _ in TOOLS), choice)
        assert parsed(form, start + said + calls(spelling, *wanted), size) == (
            "hm</thin " if thoughts else "", said, wanted,
        )  # fmt: skip
        if choice == "auto":
            text = "No <|tool_cal, [TOOL_CALL, <tool_cal"
            assert parsed(form, start + text, size) == ("hm</thin " if thoughts else "", text, [])


def parsed(form: Form, answer: str, size: int) -> tuple[str, str, list[tuple[str, str]]]:
    parser, thought, text = form.parser(), "", ""
    found: dict[int, list[str]] = {}
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    for piece in pieces:
        for part in parser.push(piece, last=piece is pieces[-1]):
            thought, text = thought + part.reasoning, text + part.text
            if part.call is not None:
                assert part.index not in found
                found[part.index] = [part.call.name, ""]
            if part.arguments:
                found[part.index][1] += part.arguments
    assert parser.called == bool(found)
    return thought, text, [(name, arguments) for name, arguments in found.values()]


def test_a_cut_call_is_given_as_far_as_it_came() -> None:
    form = Form(None, TAGGED, ("weather",), "auto")
    assert parsed(form, '<tool_call>\n{"name": "weather", "arguments": {"ci', 4) == ("", "", [("weather", '{"ci')])
    assert parsed(form, '<tool_call>\n{"name": "wea', 4) == ("", "", [])


@pytest.mark.parametrize(
    ("template", "spelling"),
    [
        ("{% if tools %}... <tool_call>\n", TAGGED),
        ('{"name": function name, "parameters": ...}', PLAIN),
        ('{{ "[TOOL_CALLS] [" }}', LISTED),
        ('{{ "[TOOL_CALLS]" + name + "[ARGS]" }}', NAMED),
        ("<|tool_call|>", BARRED),
        ("<|tool_call|>[]<|/tool_call|>", CLOSED),
    ],
)
def test_the_template_says_how_calls_are_spelled(template: str, spelling: Spelling) -> None:
    assert spelling_of(template) is spelling


def test_the_prompt_says_whether_a_thought_has_begun() -> None:
    template = "{{ '<think>' }} {{ '</think>' }}"
    assert reasoning_of("no thoughts", "x<think>\n") is None
    assert reasoning_of(template, "<|im_start|>assistant\n") == Reasoning(begun=False)
    assert reasoning_of(template, "<|im_start|>assistant\n<think>\n") == Reasoning(begun=True)
    assert reasoning_of(template, "<|im_start|>assistant\n<think>\n\n</think>\n\n") is None
