"""A chat with a model that answers slowly, for the tests to type into. Arguments: a folder, what it says."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tokenizer")]
from llm_fakes import echo_llm
from ownlm.cli.conversation import Conversation

llm, runner = echo_llm(Path(sys.argv[1]), sys.argv[2])
step = runner.step


def slowly(batch):
    time.sleep(0.05)
    return step(batch)


runner.step = slowly
with llm:
    Conversation(llm, {}).run()
print("ended", file=sys.stderr)
