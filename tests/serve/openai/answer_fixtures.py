"""A model that says exactly what it is told to, and functions that it may call."""

from __future__ import annotations

from pathlib import Path

from llm_fakes import EchoRunner, tokenizer
from ownlm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.tokenizer import ChatTemplate

THINKS = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<tool_call></tool_call><|im_end|>\n{% endif %}"
    "{% for message in messages %}{{ message.role }}\n{{ message.content }}{{ message.tool_calls }}<|im_end|>\n"
    "{% endfor %}{# </think> #}<|im_start|>"
)
HELLO = [{"role": "user", "content": "Hello"}]
CLOCK = {"type": "function", "function": {"name": "clock"}}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}},
}


def saying(folder: Path, text: str, template: str = THINKS, **limits: int) -> tuple[LLM, EchoRunner]:
    """A model that answers with one text."""
    tokens = tokenizer(folder)
    start, end = (tokens.id_of(mark) for mark in ("<|im_start|>", "<|im_end|>"))
    runner = EchoRunner(tokens.vocab_size, [*tokens.encode(text), end], start)
    loaded = Loaded(name="echo", runner=runner, tokenizer=tokens, chat_template=ChatTemplate(template, tokens))
    return LLM.of(loaded, **limits), runner
