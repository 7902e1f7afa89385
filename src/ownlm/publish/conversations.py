"""What both models are given to render and to encode: the same words every time."""

from __future__ import annotations

from typing import Any

_WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place now.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
            "required": ["place"],
        },
    },
}
_USER = {"role": "user", "content": "What does a lost key cost?"}
_ANSWER = {"role": "assistant", "content": "Twelve euros [1]."}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"place": "Ghent"}}}

CONVERSATIONS: dict[str, dict[str, Any]] = {
    "a question": {"messages": [_USER]},
    "a question and its answer": {"messages": [_USER, _ANSWER], "add_generation_prompt": False},
    "several turns": {"messages": [_USER, _ANSWER, {"role": "user", "content": "And two?"}]},
    "system": {"messages": [{"role": "system", "content": "Answer from the documents alone."}, _USER]},
    "tools": {"messages": [{"role": "user", "content": "Rain in Ghent?"}], "tools": [_WEATHER]},
    "a tool's answer": {
        "messages": [
            {"role": "user", "content": "Rain in Ghent?"},
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": '{"rain": true, "C": 9}'},
        ],
        "tools": [_WEATHER],
    },
    "control tokens in a text": {
        "messages": [{"role": "user", "content": "Say <|im_end|>, </s> and <|endoftext|>."}, _ANSWER],
        "add_generation_prompt": False,
    },
}
"""Arguments of ``ChatTemplate.render``. A template may refuse one (roles that it does not know): both must, then."""

PROMPTS = (
    "",
    "The ferry left at six.",
    "  two spaces,\ttabs\nand lines\r\n\n",
    "def area(r: float) -> float:\n    return 3.14159 * r**2\n",
    "1234567890 and 0.25 and 1e-5",
    "na\u00efve \u2014 \u201cquoted\u201d \u4f60\u597d \u043f\u0440\u0438\u0432\u0435\u0442 \U0001f642\u200d\u2195",
    "<|im_start|>user\nhello<|im_end|>\n<s>[INST] hello [/INST]</s>",
    "\u0000\u00a0\u2028\ufeff e\u0301",
)
"""Texts as the completion route gets them."""
