"""The same through everything that runs: a model of random weights, our kernels, engine and sampler, its claims parsed.

``test_random_answers`` holds the grammar alone, against a fresh distribution at every token.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ownlm import LLM
from ownlm.engine.grammar import Grammar
from ownlm.prompts.grounded import NOTHING, PROMPT, Grounded, Source
from ownlm.rag.generate.generator import LocalGenerator
from ownlm.rag.generate.grammar import grammar
from ownlm.rag.generate.parse import parse
from ownlm.rag.types import Passage

sys.path += [str(Path(__file__).parents[2]), str(Path(__file__).parents[2] / "tokenizer")]
from tiny_llm import CHATML, write_tiny_llm

TEXTS = [
    "The yearly fee is £84. The year runs from the day you join.\nConcessions: £42.",
    "Room: “Attic” | Seats: 12 | Fee: £9.50\nRoom: Hall | Seats: 80 | Fee: £31.00 [see notes]",
    "Open at nine. Closed on Sundays!",
]
ANSWERS, TOGETHER = 500, 20
SIGNS = {" ": 14.0, ".": 12.0, "[": 20.0, "“": 14.0, "”": 20.0}
"""What is added to the tokens of signs, or a text would hardly come to them."""


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    folder = write_tiny_llm(tmp_path_factory.mktemp("writer"), max_position_embeddings=4096)
    with LLM(folder, context=4096) as model:
        yield model


def _passages(texts: list[str]) -> list[Passage]:
    return [Passage(i, f"/d{i}", "", 90 * i, 90 * i + len(text), text, 1.0) for i, text in enumerate(texts)]


def _faults(llm: LLM, hole: tuple[str, str] = ("", "")) -> tuple[int, int, int]:
    """(faults, citations, quotations) in what the model writes. ``hole``: a piece of the grammar, and another."""
    signs = {id_: more for sign, more in SIGNS.items() for id_ in llm.tokenizer.encode(sign)}
    faults = cited = quoted = 0
    for first in range(0, ANSWERS, TOGETHER):
        texts = random.Random(first).sample(TEXTS, 1 + first // TOGETHER % len(TEXTS))
        source = grammar(texts).replace(*hole)
        asked = Grounded("What is the fee?", tuple(Source("", text) for text in texts))
        prompt = list(llm.render(PROMPT.messages(asked)).ids)
        started = []
        for seed in range(first, first + TOGETHER):
            params = llm.params(
                temperature=1.0, top_k=0, top_p=1.0, seed=seed, max_tokens=60, logit_bias=signs,
                grammar=Grammar.lark(source),
            )  # fmt: skip
            started += llm.start(prompt, params)
        for generation in started:
            for _ in generation:
                pass
            output = generation.output()
            found = parse(output.text, _passages(texts), finished=output.finish_reason == "stop", enforced=True)
            if found.text.startswith(NOTHING):
                continue
            quotes = re.findall("“([^”]*)” \\[(\\d+)\\]", found.text)
            numbers = [int(number) for number in re.findall(r"\[(\d+)\]", found.text)]
            faults += found.dropped + found.misnumbered + found.uncited + (found.text.count("“") != len(quotes))
            faults += sum(not 1 <= number <= len(texts) for number in numbers)
            faults += sum(quote not in texts[int(number) - 1] for quote, number in quotes if int(number) <= len(texts))
            cited, quoted = cited + len(numbers), quoted + len(quotes)
    return faults, cited, quoted


def test_500_answers_of_a_model_of_random_weights(llm: LLM) -> None:
    faults, cited, quoted = _faults(llm)
    assert faults == 0
    assert cited > 200 and quoted > 50, (cited, quoted)


@pytest.mark.parametrize("hole", [('"[1]"', '"[1]" | "[8]"'), ("The y", "Tho y")])
def test_a_grammar_with_a_hole_is_caught(llm: LLM, hole: tuple[str, str]) -> None:
    assert _faults(llm, hole)[0] > 0


def test_a_template_without_a_system_role_is_given_one_message(tmp_path: Path) -> None:
    folder = write_tiny_llm(tmp_path, max_position_embeddings=4096)
    refusing = "{{ raise_exception('System role not supported') if messages[0]['role'] == 'system' }}"
    (folder / "chat_template.jinja").write_text(refusing + CHATML)
    with LLM(folder, context=4096) as model:
        prompt = PROMPT.messages(Grounded("When?", (Source("", TEXTS[2]),)))
        written = LocalGenerator(model).write(prompt, [TEXTS[2]], 20, lambda piece: None)
        read = model.tokenizer.decode(written.prompt_ids or ())
    assert prompt[0]["content"] in read and prompt[1]["content"] in read
