"""The rest of a line of Python. Editors ask by fill-in-the-middle tokens (``tokenizer.fim``); this is the chat form."""

from __future__ import annotations

from dataclasses import dataclass

from ownlm.prompts.template import Prompt


@dataclass(frozen=True, slots=True)
class Complete:
    """``code`` up to the cursor; the answer is what follows on that line.

    White space at its end may not reach a model, whose chat template may strip messages: compare answers stripped.
    """

    code: str


# The code comes last, so that the answer goes on where it stops.
PROMPT = Prompt("complete", "complete-1", Complete, "Complete the line of Python.\n\n{code}")
OTHERS = (
    Prompt(
        "complete", "complete-rules-1", Complete, "{code}",
        "You complete Python. The user's message ends in the middle of a line. Write the rest of that line, without "
        "what stands there already, and nothing else: no further line, no explanation, no code fence.",
    ),
)  # fmt: skip
